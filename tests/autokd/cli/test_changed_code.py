"""Teachers, spaces and methods that are edited between two commands: no result of one is taken for the other's."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from autokd.recipes import teachers
from autokd.teachers.process_cache import forget_files

WEIGHTS = Path(teachers.__file__).with_name("digits.safetensors")
TEACHER = """
from autokd.recipes.teachers import ResidualTeacher

class Shifted(ResidualTeacher):
    def forward(self, images):
        return super().forward(images + 0.0)

def teacher():
    return Shifted(1, 10, (16, 32, 64))
"""
SPACE = """
from optuna.distributions import IntDistribution
from search_spaces.design.dimensions import Dimension
from search_spaces.spaces.nago import Nago

class Space(Nago):
    # as it was
    pass
"""
MORE = """
    dimensions = {**Nago.dimensions, "extra": Dimension(IntDistribution(1, 3))}
"""
METHOD = """
from autokd.distillation.methods.kd import KD

class Method(KD):
    pass
"""

Search = Callable[..., Any]


@pytest.fixture
def write() -> Callable[[str, str], None]:
    """Writes a module of the user's, and forgets what was made from it, as another process would."""

    def write(name: str, text: str) -> None:
        Path(f"{name}.py").write_text(text)
        sys.modules.pop(name, None)
        forget_files()

    return write


@pytest.fixture
def run(invoke: Any, tiny: tuple[str, ...], tmp_path: Path) -> Search:
    """Runs a command with the home of the test; "search" begins a tiny one with further settings."""

    def run(verb: str, *settings: str) -> Any:
        changes = [word for setting in settings for word in ("--set", setting)]
        options = (*tiny, *changes) if verb == "search" else tuple(changes)
        return invoke(verb, "digits", *options, "--home", tmp_path / "home")

    return run


def test_a_teacher_whose_code_changed_teaches_nobody(run: Search, write: Callable[[str, str], None]) -> None:
    write("my_teacher", TEACHER)
    assert run("search", "teacher.factory=my_teacher:teacher").code == 0
    write("my_teacher", TEACHER.replace("0.0", "3.0"))
    for outcome in (run("resume", "trials=4"), run("train")):
        assert outcome.code == 2
        assert "its weights are the same, but not its code. Bring that back to go on with a search" in outcome.err
    write("my_teacher", TEACHER)
    assert run("resume", "trials=4").code == 0


def test_a_teacher_whose_weights_were_overwritten_is_not_measured(run: Search) -> None:
    Path("weights.safetensors").write_bytes(WEIGHTS.read_bytes())
    assert run("search", "teacher.weights=weights.safetensors").code == 0
    save_file({name: value + 0.01 for name, value in load_file(WEIGHTS).items()}, "weights.safetensors")
    for outcome in (run("train"), run("resume")):
        assert (outcome.code, outcome.out) == (2, "")
        assert "teacher autokd.recipes.teachers:digits changed since the search began: its digest is" in outcome.err
    Path("weights.safetensors").unlink()
    assert run("resume").code == 2  # also where nothing is left to be trained


def test_a_space_with_other_dimensions_makes_no_sense_of_recorded_trials(
    run: Search, write: Callable[[str, str], None]
) -> None:
    write("my_space", SPACE)
    assert run("search", "space.name=my_space:Space").code == 0
    write("my_space", SPACE + MORE)
    for outcome in (run("resume", "trials=4"), run("families")):
        assert outcome.code == 2
        assert outcome.err == (
            "autokd: 'my_space:Space' was edited since the search began and has other dimensions now ('extra': new): "
            "bring the code back, or begin a new search.\n"
        )
    write("my_space", SPACE)
    assert run("resume", "trials=4").code == 0


@pytest.mark.parametrize(
    ("module", "text", "setting", "what"),
    [
        ("my_space", SPACE, "space.name=my_space:Space", "space 'my_space:Space'"),
        ("my_method", METHOD, "distillation.method=my_method:Method", "distillation method 'my_method:Method'"),
    ],
)
def test_code_of_ones_own_that_was_edited_is_told(
    run: Search, write: Callable[[str, str], None], module: str, text: str, setting: str, what: str
) -> None:
    line = f"{what} was edited since the search began: trials of before and after may not compare\n"
    write(module, text)
    outcome = run("search", setting)
    assert (outcome.code, line in outcome.out) == (0, False)
    write(module, f"{text}\n# edited\n")
    outcome = run("resume", "trials=4")
    assert (outcome.code, line in outcome.out) == (0, True), outcome
