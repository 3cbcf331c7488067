import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

Reported = Mapping[tuple[str, int], Mapping[str, float]]
Call = Callable[..., tuple[int, Reported]]


@pytest.fixture
def call(load_script: Callable[[Path], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs the script, whose trainings take no time: how many there were, and what is reported."""
    module = load_script(Path(__file__).with_name("run.py"))
    trained: list[object] = []
    reported: list[Reported] = []

    def evaluate(task: object) -> SimpleNamespace:
        trained.append(task)
        return SimpleNamespace(metrics={"test_accuracy": 0.8})

    def show(rows: object, done: Reported, *others: object) -> None:
        reported.append(done)

    replaced: dict[str, Any] = dict.fromkeys(("_context", "_student", "_task", "_speeds"), lambda *given: None)
    replaced |= {"missing_outputs": lambda context: (), "evaluate": evaluate, "_print": show}
    for name, function in replaced.items():
        monkeypatch.setattr(module, name, function)

    def called(*words: str) -> tuple[int, Reported]:
        trained.clear()
        fixed = ["run.py", "--results", str(tmp_path / "lines.jsonl"), "--methods", "kd", "--seeds", "1"]
        monkeypatch.setattr(sys, "argv", [*fixed, *words])
        module.main()
        return len(trained), reported[-1]

    return called


def test_trainings_of_another_length_or_subset_are_others(call: Call) -> None:
    for words in ((), ("--epochs", "2"), ("--subset", "100")):
        n_trained, reported = call(*words)
        assert (n_trained, set(reported)) == (2, {("plain training", 0), ("kd", 0)})
        assert call(*words)[0] == 0
    n_trained, reported = call("--seeds", "2")
    assert (n_trained, len(reported)) == (2, 4)


def test_a_line_whose_writer_was_killed_is_trained_again(call: Call, tmp_path: Path) -> None:
    call()
    file = tmp_path / "lines.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    n_trained, reported = call()
    assert (n_trained, len(reported)) == (1, 2)
    assert call()[0] == 0
