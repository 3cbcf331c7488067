from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autokd.config.objectives import AGAINST, Against
from autokd.searches.pareto import pareto_fronts
from autokd.searches.problem import Problem
from autokd.searches.students import TrainedStudent


@pytest.fixture
def candidates(make_problem: Any, make_record: Any) -> list[TrainedStudent]:
    """Sixty students of three lengths of training, with ties; the shortest is a lower rung."""
    problem: Problem = make_problem()
    rng = np.random.default_rng(0)
    found = []
    for number in range(60):
        record = make_record(number, [[0.5]])
        params, macs, activations, model = rng.integers(1, 8, 4).tolist()
        final, epochs = ((False, 1.0), (False, 3.0), (True, 9.0))[number % 3]
        row = replace(record.students[0], params=params, macs=macs, activation_bytes=activations, model_bytes=model)
        row = replace(row, purpose="final" if final else "search")
        metrics = {"accuracy": float(rng.integers(0, 10)) / 10}
        evaluation = replace(record.evaluations[0], epochs=epochs, metrics=metrics)
        found.append(TrainedStudent(problem, record.trial, row, evaluation, Path("weights")))
    return found


def dominates(first: TrainedStudent, second: TrainedStudent, against: Against) -> bool:
    ours, theirs = ((each.metrics["accuracy"], -each.cost(against)) for each in (first, second))
    return ours != theirs and all(mine >= other for mine, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("against", AGAINST)
def test_the_fronts_are_those_of_a_brute_force(candidates: list[TrainedStudent], against: Against) -> None:
    expected: set[tuple[float, float, int]] = set()
    for length in (3.0, 9.0):
        group = [each for each in candidates if each.evaluation.epochs == length]
        best = [each for each in group if not any(dominates(other, each, against) for other in group)]
        expected |= {(length, each.metrics["accuracy"], each.cost(against)) for each in best}
    found = pareto_fronts(candidates, against)
    points = [(each.evaluation.epochs, each.metrics["accuracy"], each.cost(against)) for each in found]
    assert len(points) == len(set(points))
    assert set(points) == expected


def test_the_longest_trainings_come_first_and_in_each_front_accuracy_grows_with_size(
    candidates: list[TrainedStudent],
) -> None:
    found = [
        (-each.evaluation.epochs, each.cost("params"), each.metrics["accuracy"]) for each in pareto_fronts(candidates)
    ]
    assert found == sorted(found)


def test_there_is_no_front_without_students() -> None:
    assert pareto_fronts([]) == []


def test_the_front_of_two_costs_is_that_of_a_brute_force(candidates: list[TrainedStudent]) -> None:
    group = [each for each in candidates if each.evaluation.epochs == 3.0]
    points = {(-each.metrics["accuracy"], each.cost("macs"), each.cost("params")) for each in group}
    best = {p for p in points if not any(q != p and all(a <= b for a, b in zip(q, p, strict=True)) for q in points)}
    found = [each for each in pareto_fronts(candidates, "macs", "params") if not each.is_final]
    assert {(-each.metrics["accuracy"], each.cost("macs"), each.cost("params")) for each in found} == best
