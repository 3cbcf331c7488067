"""A state that its own writes keep up to date, compared with one that reads all rows after each of them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from measured_progress import measure_progress
from simulated_searches import SimulatedDispatcher

from autokd.core.seeds import derive
from autokd.database.lease import acquire, release
from autokd.database.store import Store
from autokd.errors import DivergedError
from autokd.evaluation.task import EvaluationResult, EvaluationTask
from autokd.searches.controller import Controller
from autokd.searches.problem import Problem
from autokd.searches.progress import read_progress
from autokd.searches.state import SearchState
from autokd.searches.study import GrowingStudy
from autokd.searches.trial_record import search_records

TPE = {"name": "tpe", "signal": "accuracy"}
TWO_OBJECTIVES = {"name": "random", "objectives": ["accuracy", "macs"]}
OURS = {"name": "trust-region", "options": {"n_startup_trials": 3}}
THREE_RUNGS = {"rungs": [1, 3, 9]}


def evaluate(task: EvaluationTask) -> EvaluationResult:
    """A result that follows from the task; one in seven fails, and others take from 1 to 100 seconds."""
    draw = derive(task.key)
    if draw % 7 == 0:
        raise DivergedError(f"draw {draw % 2}")
    accuracy = draw / 2**63
    metrics = {"accuracy": accuracy, "training_cross_entropy": 1 - accuracy, "balanced_accuracy": accuracy}
    return EvaluationResult(task.key, {**metrics, "absent_classes": 0.0}, 0.1 + draw % 100)


def simulate(problem: Problem, store: Store, look: Callable[[SearchState], None]) -> None:
    """Run a search on five simulated workers, and call a function with its state after all that is recorded."""
    lease = acquire(store, 1)
    dispatcher = SimulatedDispatcher(store, lease, 5, evaluate)
    controller = Controller(store, lease, problem, dispatcher)
    dispatcher.on_change = lambda: look(controller.state)
    try:
        controller.run()
    finally:
        release(store, lease)


def seen(state: SearchState) -> dict[str, Any]:
    """What decisions see of a state."""
    return {
        "running": state._running,
        "references": state.references,
        "ended": sorted(record.trial.number for record in state.ended),
        "n_trials": state.n_trials,
        "worker_seconds": state.worker_seconds,
        "studies": [told(study) for study in (state.proposer._proposed_from, state.proposer._pruned_by)],
    }


def told(study: GrowingStudy) -> dict[str, Any]:
    """All that a study's storage holds but the study's name, which is drawn."""
    return {key: value for key, value in vars(study._storage._studies[0]).items() if key != "name"}


@pytest.mark.slow  # reads all rows after each write
@pytest.mark.usefixtures("with_references")
@pytest.mark.parametrize(
    "sections",
    [
        {"trials": 10},
        {"trials": 4, "students_per_trial": 3},
        {"trials": 6, "optimizer": TPE, "training": {**THREE_RUNGS, "warm_start": True}},
        {"trials": 6, "optimizer": TWO_OBJECTIVES, "budget": {"params": 4_000, "macs": 200_000}},
    ],
    ids=["one student", "three students", "another sampler and warm starts", "two objectives"],
)
def test_the_state_is_after_every_write_what_all_rows_tell(make_problem, make_store, sections):
    problem = make_problem(**({"training": THREE_RUNGS} | sections))
    store = make_store(problem)
    search, looks = store.search(1), 0

    def compare(state: SearchState) -> None:
        nonlocal looks
        looks += 1
        read = SearchState.read(problem, store, 1)
        assert seen(state) == seen(read)
        trials, references = search_records(store, 1)
        progress = state.progress(search)
        assert progress == measure_progress(search, trials.values(), references)
        from_sums = read_progress(store, search)
        assert replace(from_sums, seconds_left=None) == replace(progress, seconds_left=None)
        assert from_sums.seconds_left == pytest.approx(progress.seconds_left)

    simulate(problem, store, compare)
    assert looks > 2 * problem.config.trials
    assert "failed" in {trial.state for trial in store.trials(1)}


@pytest.mark.slow  # fits a Gaussian process for each of two proposals after each write
def test_our_sampler_proposes_after_every_write_what_it_proposes_from_all_rows(make_problem, make_store):
    problem = make_problem(trials=8, optimizer=OURS, training=THREE_RUNGS)
    store = make_store(problem)

    def compare(state: SearchState) -> None:
        number, read = state.n_trials, SearchState.read(problem, store, 1)
        assert state.proposer.propose(number) == read.proposer.propose(number)

    simulate(problem, store, compare)
