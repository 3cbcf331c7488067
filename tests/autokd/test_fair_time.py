"""The length that follows from a measured speed is exact: what was decided holds, whatever is measured later."""

import shutil
from pathlib import Path

import pytest

import autokd
from autokd.errors import InterruptedSearchError
from autokd.evaluation.evaluate import evaluate
from autokd.searches import pace
from autokd.searches.result import SearchResult
from autokd.training.checkpoint import save_checkpoint
from autokd.training.loop import TrainingState


@pytest.fixture
def result(tmp_path: Path) -> SearchResult:
    """A search of one trial on the first samples of digits."""
    return autokd.search(
        teacher="autokd.recipes.teachers:digits",
        weights="autokd.recipes:digits.safetensors",
        data="digits",
        budget={"params": 1_500},
        space="sequential",
        trials=1,
        training={"rungs": [0.5], "views": 1, "batch_size": 64, "precision": "float32"},
        references={"names": "none"},
        final={"epochs": 3, "seconds": 1000, "families": 1},
        workers={"engine": "inline", "count": 1},
        home=tmp_path,
    )


@pytest.mark.slow  # a search and two trainings
def test_a_training_that_was_killed_ends_as_one_that_was_not_on_however_slow_a_machine(
    result: SearchResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "slowest_epoch", lambda *arguments: 355.0)  # 2.1 epochs fit, and the validations
    saved: list[float] = []

    def kill(state: TrainingState, path: Path) -> None:
        save_checkpoint(state, path)
        saved.append(state.epochs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("autokd.evaluation.evaluate.save_checkpoint", kill)
        with pytest.raises(InterruptedSearchError):
            result.train()
    monkeypatch.setattr(pace, "slowest_epoch", lambda *arguments: 900.0)  # one epoch would fit now
    (student,) = result.train()
    resumed = student.weights.read_bytes()
    task = result.problem.task(student.trial, student.row, rung=0)
    shutil.rmtree(student.weights.parent)
    assert evaluate(task).metrics == student.metrics
    assert (saved, task.epochs) == ([1.0], 2.1)
    assert task.weights.read_bytes() == resumed
