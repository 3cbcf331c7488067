"""The command `teach`: a teacher is trained, interrupted, continued, and teaches in a search at once."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from autokd.config.toml import read_config
from autokd.recipes.catalogue import recipe_path
from autokd.training.checkpoint import save_checkpoint
from autokd.training.loop import TrainingState

Written = Callable[..., Path]
QUICK = ("--set", "data.subset=400", "--set", "workers.count=1", "--set", "workers.device=cpu")


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes the digits recipe as a file, by default without weights of its teacher."""

    def write(with_weights: bool = False, **changes: str) -> Path:
        text = recipe_path("digits").read_text()
        if not with_weights:
            text = text.replace('weights = "autokd.recipes:digits.safetensors"\n', "").replace("floor = 0.97\n", "")
        for old, new in changes.items():
            text = text.replace(old, new)
        (tmp_path / "search.toml").write_text(text)
        return tmp_path / "search.toml"

    return write


def pasted(out: str) -> dict[str, object]:
    """The TOML at the end of what the command prints."""
    return tomllib.loads(out.partition("For the section [teacher] of a search:\n")[2])


def test_the_trained_teacher_teaches_in_a_search_at_once(
    invoke, written: Written, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    file = written()
    outcome = invoke("teach", file, tmp_path / "teachers", "--epochs", 6, "--checkpoints", *QUICK)
    assert (outcome.code, outcome.err) == (0, "")
    lines = pasted(outcome.out)
    assert lines["weights"] == "teachers/teacher-6.safetensors"
    assert lines["checkpoints"] == [f"teachers/epoch-0{epoch}.safetensors" for epoch in range(1, 7)]
    text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in lines.items())
    file.write_text(file.read_text().replace("[teacher]\n", f"[teacher]\n{text}\n"))
    searched = invoke("search", file, *tiny, *QUICK, "--home", tmp_path / "home", "-o", "json")
    assert searched.code == 0, searched.err
    recorded = json.loads((tmp_path / "teachers" / "teacher-6.json").read_text())["validation"]
    assert json.loads(searched.out)["teacher_metrics"] == pytest.approx(recorded, abs=1e-5)


def test_a_teacher_with_weights_gets_the_new_ones_as_an_alternative(invoke, written: Written, tmp_path: Path) -> None:
    file = written(with_weights=True)
    outcome = invoke("teach", file, tmp_path / "teachers", "--epochs", 1, *QUICK)
    assert pasted(outcome.out) == {"alternatives": ["teachers/teacher-1.safetensors"]}
    other = invoke("teach", "digits", "here", "--epochs", 1, *QUICK)
    assert pasted(other.out) == {"alternatives": [str(Path("here/teacher-1.safetensors").resolve())]}


def test_the_lines_stay_the_same_once_they_are_pasted(invoke, written: Written, tmp_path: Path) -> None:
    file = written()
    first = invoke("teach", file, tmp_path, "--epochs", 1, *QUICK)
    file.write_text(file.read_text().replace("[teacher]\n", '[teacher]\nweights = "teacher-1.safetensors"\n'))
    read_config(file)
    again = invoke("teach", file, tmp_path, "--epochs", 1, "--force", *QUICK)
    assert pasted(again.out) == pasted(first.out) == {"weights": "teacher-1.safetensors"}


def test_json_has_files_lines_and_figures(invoke, tmp_path: Path) -> None:
    outcome = invoke("teach", "digits", tmp_path, "--epochs", 2, "--seed", 4, *QUICK, "-o", "json")
    answer = json.loads(outcome.out)
    assert answer["files"] == {
        "weights": str(tmp_path / "teacher-2.safetensors"),
        "figures": str(tmp_path / "teacher-2.json"),
        "checkpoints": [],
    }
    assert answer["toml"] == [f'alternatives = ["{tmp_path / "teacher-2.safetensors"}"]']
    assert answer["settings"]["seed"] == 4
    assert "epoch 2 of 2" in outcome.err


def test_an_interruption_leaves_with_exit_code_4_and_the_same_command_goes_on(
    invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("teach", "digits", tmp_path, "--epochs", 3, *QUICK)

    def interrupted(state: TrainingState, path: Path) -> None:
        save_checkpoint(state, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr("autokd.teachers.training.save_checkpoint", interrupted)
        outcome = invoke(*words)
    assert outcome.code == 4
    assert outcome.err == (
        "autokd: the teacher's training was interrupted after 1 of 3 epochs; the same command goes on.\n"
    )
    outcome = invoke(*words)
    assert outcome.code == 0
    assert "epoch 1 of 3" not in outcome.out
    assert "epoch 2 of 3" in outcome.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("digits", "out"), "Missing option '--epochs'"),
        (("digits", "out", "--epochs", "0"), "'--epochs': Input should be greater than or equal to 1"),
        (("digits", "out", "--epochs", "1000000"), "'--epochs': Input should be less than or equal to 100000"),
        (("digits", "out", "--epochs", "1", "--seed", "-1"), "'--seed': Input should be greater than or equal to 0"),
        (("digit", "out", "--epochs", "1"), "there is no recipe 'digit'"),
        (("digits", "out", "--epochs", "1", "--set", "data.source=letters"), "data.source must be one of"),
        (
            ("digits", "out", "--epochs", "1", "--set", "teacher={onnx = 'net.onnx'}"),
            "only the module of teacher.factory can be trained, but the teacher is given by teacher.onnx.",
        ),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(invoke, words: tuple[str, ...], message: str) -> None:
    outcome = invoke("teach", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("autokd: ")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err
    assert not Path("out").exists()
