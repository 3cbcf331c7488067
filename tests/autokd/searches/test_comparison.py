from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from statistics import NormalDist, variance

import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import t

from autokd.database.lease import Lease, acquire
from autokd.database.store import Store
from autokd.evaluation.task import EvaluationResult, EvaluationTask, correct_file
from autokd.searches.comparison import Comparison, compare
from autokd.searches.controller import Controller
from autokd.searches.dispatcher import Dispatcher
from autokd.searches.problem import Problem
from autokd.searches.references import references_to_retrain
from autokd.searches.retraining import Retraining, trainings
from autokd.searches.students import (
    leading_students,
    reference_students,
    trained_references,
    trained_students,
    with_architectures,
)
from autokd.searches.trial_record import search_records
from workers.inline import InlineExecutor

pytestmark = pytest.mark.usefixtures("with_references")

N = 200  # samples of a split
Z = NormalDist().inv_cdf(0.975)


@pytest.fixture
def problem(make_problem: Callable[..., Problem]) -> Problem:
    return make_problem(
        trials=2,
        training={"rungs": [1, 2]},
        optimizer={"name": "random", "pruner": "none"},
        final={"epochs": 7, "students": 3},
        references={"names": ["resnet", "mobilenetv2"], "final": "all"},
    )


@pytest.fixture
def store(problem: Problem, make_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch) -> Store:
    """A finished search whose students got random samples right, more after longer trainings."""

    def evaluate(task: EvaluationTask) -> EvaluationResult:
        generator = torch.Generator().manual_seed(int(task.trajectory[:12], 16) + task.rung)
        correct = {part: torch.rand(N, generator=generator) < 0.6 for part in ("validation", "test")}
        task.correct.parent.mkdir(parents=True, exist_ok=True)
        save_file(correct, task.correct)
        of_part = {part: hits.double().mean().item() for part, hits in correct.items()}
        metrics = {"accuracy": of_part["validation"], "training_cross_entropy": 1.0}
        tested = {"test_accuracy": of_part["test"]} if task.context.is_tested else {}
        return EvaluationResult(task.key, metrics | tested, 1.0)

    monkeypatch.setattr("autokd.searches.dispatcher.evaluate", evaluate)
    monkeypatch.setattr("autokd.searches.dispatcher.missing_outputs", lambda context: [])
    store = make_store(problem)
    lease = acquire(store, 1)
    Controller(store, lease, problem, Dispatcher(store, lease, InlineExecutor())).run()
    return store


def retrain(problem: Problem, store: Store, trial: int = 0) -> None:
    lease = Lease(1, store.search(1).lease_token)
    _, recorded = search_records(store, 1)
    references = references_to_retrain(recorded, problem.config.references, trial)
    dispatcher = Dispatcher(store, lease, InlineExecutor())
    Retraining(store, lease, problem, dispatcher, [store.trials(1)[trial]], references).run()


def mcnemar(problem: Problem, store: Store, split: str, purpose: str) -> tuple[float, float]:
    """Difference and standard error in closed form, from the table of discordant samples."""
    best = trained_students(problem, store, 1)[0]
    rivals = [one for one in trained_references(problem, store, 1) if one.row.purpose == purpose]
    rival = max(rivals, key=lambda one: one.metrics["accuracy"])
    ours, theirs = (load_file(correct_file(problem.evaluations, one.evaluation.key))[split] for one in (best, rival))
    more, less = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    return (more - less) / N, sqrt(more + less - (more - less) ** 2 / N) / N


def test_a_reference_has_a_searched_and_a_retrained_student_of_which_the_longer_training_counts(
    problem: Problem, store: Store
) -> None:
    retrain(problem, store)
    found = [(student.trial.reference, student.is_final) for student in reference_students(problem, store, 1)]
    assert sorted(found) == [(name, is_final) for name in ("mobilenetv2", "resnet") for is_final in (False, True)]
    assert all(student.is_final for student in trained_references(problem, store, 1))


def test_students_read_without_architectures_or_of_one_trial_are_among_all(problem: Problem, store: Store) -> None:
    retrain(problem, store)
    students = trained_students(problem, store, 1)
    everyone = [*students, *reference_students(problem, store, 1)]
    leading = with_architectures(store, 1, leading_students(problem, store, 1))
    assert leading == [one for one in everyone if one in leading]
    trial = store.trial_ids(1)[0]
    assert trained_students(problem, store, 1, [trial]) == [one for one in students if one.trial.id == trial]


def test_after_the_search_students_are_compared_by_validation_samples(problem: Problem, store: Store) -> None:
    found = compare(problem, store, 1, trained_students(problem, store, 1)[0])
    assert found is not None
    assert (found.split, found.epochs) == ("validation", 2)
    difference, error = mcnemar(problem, store, "validation", "search")
    assert (found.difference, found.margin) == (pytest.approx(difference), pytest.approx(Z * error))


def test_after_retraining_they_are_compared_by_test_samples_with_the_spread_of_trainings(
    problem: Problem, store: Store
) -> None:
    retrain(problem, store)
    students = trained_students(problem, store, 1)
    found = compare(problem, store, 1, students[0])
    assert found is not None
    assert (found.split, found.epochs) == ("test", 7)
    difference, error = mcnemar(problem, store, "test", "final")
    finals = [student.metrics["test_accuracy"] for student in students if student.is_final]
    variances = error**2, 2 * variance(finals)
    freedom = sum(variances) ** 2 / (variances[1] ** 2 / (len(finals) - 1))  # Welch and Satterthwaite
    assert found.difference == pytest.approx(difference)
    assert found.margin == pytest.approx(t(freedom).ppf(0.975) * sqrt(sum(variances)))


def test_references_are_retrained_once_with_their_searched_architecture(problem: Problem, store: Store) -> None:
    retrain(problem, store)
    retrain(problem, store)
    searched = {record.trial.reference: record.students[0].digest for record in search_records(store, 1)[1]}
    finals = trained_references(problem, store, 1)
    assert {one.trial.reference: one.row.digest for one in finals} == searched
    assert all(one.is_final and "test_accuracy" in one.metrics for one in finals)
    names = [training.name for training in trainings(problem, store, 1)]
    assert sorted(names) == [
        *(f"reference {name}" for name in sorted(map(str, searched))),
        *(f"trial 0, student {k}" for k in range(3)),
    ]
    assert not {one.trial.reference for one in trained_students(problem, store, 1)} - {None}


def binomial(*accuracies: float) -> float:
    """Half-width of the interval of a difference of two accuracies, each of samples of its own."""
    return Z * sqrt(sum(p * (1 - p) for p in accuracies) / N)


def test_without_the_samples_of_one_of_them_both_accuracies_have_the_binomial_error(
    problem: Problem, store: Store
) -> None:
    best = trained_students(problem, store, 1)[0]
    correct_file(problem.evaluations, best.evaluation.key).unlink()
    found = compare(problem, store, 1, best)
    assert found is not None
    rival = trained_references(problem, store, 1)[0]
    assert found.margin == pytest.approx(binomial(best.metrics["accuracy"], rival.metrics["accuracy"]))


def test_without_the_samples_of_both_their_number_is_that_of_the_split(problem: Problem, store: Store) -> None:
    for file in problem.evaluations.rglob("correct-*"):
        file.unlink()
    best, rival = trained_students(problem, store, 1)[0], trained_references(problem, store, 1)[0]
    told = replace(problem, facts=replace(problem.facts, samples={"train": 9, "validation": N, "test": 9}))
    found, unknown = compare(told, store, 1, best), compare(problem, store, 1, best)
    assert found is not None
    assert found.margin == pytest.approx(binomial(best.metrics["accuracy"], rival.metrics["accuracy"]))
    assert unknown is not None
    assert unknown.margin is None


def test_a_student_that_was_retrained_alone_is_compared_as_searched(problem: Problem, store: Store) -> None:
    lease = Lease(1, store.search(1).lease_token)
    Retraining(store, lease, problem, Dispatcher(store, lease, InlineExecutor()), [store.trials(1)[0]]).run()
    best = trained_students(problem, store, 1)[0]
    found = compare(problem, store, 1, best)
    assert best.is_final
    assert found is not None
    assert (found.split, found.epochs) == ("validation", 2)


@pytest.mark.parametrize(
    ("difference", "margin", "line"),
    [
        (
            0.0061,
            0.004,
            "better than the best reference trained as long (resnet) by 0.61 ± 0.40 points (test, 26 epochs)",
        ),
        (
            0.0061,
            0.007,
            "not better than the best reference trained as long (resnet): +0.61 ± 0.70 points (test, 26 epochs)",
        ),
        (-0.0061, None, "not better than the best reference trained as long (resnet): -0.61 points (test, 26 epochs)"),
        (0.0061, None, "not better than the best reference trained as long (resnet): +0.61 points (test, 26 epochs)"),
    ],
)
def test_better_is_said_only_beyond_the_margin(difference: float, margin: float | None, line: str) -> None:
    assert str(Comparison("resnet", "test", 26.0, difference, margin)) == line
