"""Evaluations that are killed, and go on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autokd.evaluation import evaluate as evaluation
from autokd.evaluation.evaluate import evaluate
from autokd.evaluation.task import EvaluationTask
from autokd.training.checkpoint import load_weights, save_checkpoint

__all__ = ["Stopped", "assert_killed_is_unbroken", "stopping_after", "weights_of"]


def weights_of(task: EvaluationTask) -> dict[str, list[Any]]:
    """The weights that an evaluation kept, by name."""
    return {name: tensor.tolist() for name, tensor in load_weights(task.weights).items()}


class Stopped(BaseException):
    """Stands for a killed process: nothing catches it."""


def stopping_after(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill the process as soon as it has written its n-th checkpoint."""
    saved: list[int] = []
    save = save_checkpoint

    def save_and_stop(state: Any, path: Path) -> None:
        save(state, path)
        saved.append(state.step)
        if len(saved) == n:
            raise Stopped

    monkeypatch.setattr(evaluation, "save_checkpoint", save_and_stop)


def assert_killed_is_unbroken(task: EvaluationTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """Killed after its n-th checkpoint, an evaluation ends as one that was not, in another folder."""
    unbroken = replace(task, folder=tmp_path / "unbroken")
    expected = evaluate(unbroken).metrics
    with monkeypatch.context() as patch:
        stopping_after(n, patch)
        with pytest.raises(Stopped):
            evaluate(task)
    assert not task.result.exists()
    assert evaluate(task).metrics == expected
    assert weights_of(task) == weights_of(unbroken)
