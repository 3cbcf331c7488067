from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from autokd.database.rows import EvaluationTotals, SearchRow
from autokd.searches.axes import search_cost, three_axes
from autokd.searches.problem import Problem
from autokd.searches.students import TrainedStudent
from autokd.searches.trial_record import TrialRecord

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TEACHER: dict[str, Any] = {
    "teacher_params": 8_000,
    "teacher_nonzero_params": 8_000,
    "teacher_macs": 20_000,
    "teacher_activation_bytes": 3_000,
    "teacher_model_bytes": 32_000,
    "teacher_metrics": {"accuracy": 0.8, "auroc": 0.9},
    "samples": {"train": 100, "validation": 10, "test": 20},
}


@pytest.fixture
def problem(make_problem: Callable[..., Problem]) -> Problem:
    problem = make_problem(training={"rungs": [1, 2], "views": 2, "schedule": "cosine"})
    return replace(problem, facts=replace(problem.facts, **TEACHER))


@pytest.fixture
def search(problem: Problem) -> SearchRow:
    """With the teacher's test accuracy, as `train` records it."""
    facts = {"teacher_test_metrics": {"accuracy": 0.5}}
    return SearchRow(1, "first", "finished", 0, {}, "digest", facts, NOW, NOW, 0, None, None, None, None)


def student_of(problem: Problem, record: TrialRecord, **metrics: float) -> TrainedStudent:
    row = replace(record.students[0], params=2_000, macs=5_000, activation_bytes=1_000, model_bytes=8_000)
    evaluation = replace(record.evaluations[-1], metrics=metrics)
    return TrainedStudent(problem, record.trial, row, evaluation, Path("weights"))


def test_student_and_teacher_have_the_same_figures_and_their_ratio(
    problem: Problem, search: SearchRow, make_record: Any
) -> None:
    student = student_of(problem, make_record(0, [[0.6]]), accuracy=0.6, nonzero_params=1_000, test_accuracy=0.6)
    axes = three_axes(student, search)
    assert axes["effectiveness"]["relative_accuracy"] == pytest.approx(75)
    assert axes["test_effectiveness"]["relative_accuracy"] == pytest.approx(120)
    assert axes["effectiveness"]["teacher"]["auroc"] == 0.9
    assert axes["effectiveness"]["student"]["auroc"] is None  # an older version did not measure it
    ratios = {"params": 4, "nonzero_params": 8, "model_bytes": 4, "activation_bytes": 3, "memory_bytes": 35 / 9}
    assert axes["lightness"]["compression"] == pytest.approx(ratios)
    assert axes["computation"] == {"student": {"macs": 5_000}, "teacher": {"macs": 20_000}, "ratio": {"macs": 4}}


def test_what_is_unknown_of_the_teacher_has_no_ratio(problem: Problem, search: SearchRow, make_record: Any) -> None:
    unknown: dict[str, Any] = {name: None for name in TEACHER if name not in ("teacher_metrics", "samples")}
    problem = replace(problem, facts=replace(problem.facts, **unknown))
    axes = three_axes(student_of(problem, make_record(0, [[0.6]]), accuracy=0.6), search)
    assert set(axes["lightness"]["compression"].values()) == {None}
    assert "test_effectiveness" not in axes


def test_a_search_costs_its_trainings_and_the_teachers_views_and_splits(problem: Problem) -> None:
    totals = EvaluationTotals(seconds=4.0, images=300, live_teacher_images=14, n_tested=0)
    cost = search_cost(problem, totals)
    assert cost == {"worker_seconds": 4.0, "images": 300, "teacher_images": 2 * 100 + 10 + 14}
    final_views = set(problem.retraining_context.outputs_needed) - set(problem.context.outputs_needed)
    extra = sum(100 if key.view is not None else 20 for key in final_views)
    assert search_cost(problem, replace(totals, n_tested=1))["teacher_images"] == cost["teacher_images"] + extra


def test_what_full_length_trainings_once_read_stays_counted(problem: Problem) -> None:
    totals = EvaluationTotals(seconds=4.0, images=300, live_teacher_images=14, n_tested=1)
    counted = replace(problem, facts=replace(problem.facts, stored_images=5_000))
    assert search_cost(counted, totals)["teacher_images"] == 5_000 + 14


def test_pruning_the_teacher_is_part_of_what_a_search_costs(make_problem: Any) -> None:
    problem = make_problem(teacher={"factory": "a:b", "pruning": {"shares": [0.36]}})
    totals = EvaluationTotals(seconds=2.0, images=100, live_teacher_images=0, n_tested=0)
    before = search_cost(problem, totals)
    for rounds in (1, 2):
        problem.pruned.write_result(rounds, seconds=3.0, images=50)
        problem.pruned.weights(rounds).touch()
    after = search_cost(problem, totals)
    assert (after["images"], after["worker_seconds"]) == (before["images"] + 100, before["worker_seconds"] + 6.0)


def test_counts_that_an_older_version_did_not_record_are_unknown(problem: Problem) -> None:
    cost = search_cost(problem, EvaluationTotals(2.0, images=None, live_teacher_images=None, n_tested=0))
    assert cost == {"worker_seconds": 2.0, "images": None, "teacher_images": None}
