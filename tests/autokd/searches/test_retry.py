from collections.abc import Callable
from typing import Any

import pytest
from inline_searches import rows, run

from autokd.database.errors import LeaseHeld
from autokd.database.lease import acquire
from autokd.database.store import Store
from autokd.errors import DivergedError
from autokd.evaluation.task import EvaluationTask
from autokd.searches.problem import Problem
from autokd.searches.retry import reopen
from workers.errors import WorkerLost

Pretend = Callable[..., None]


@pytest.fixture
def problem(make_problem: Callable[..., Problem]) -> Problem:
    return make_problem(trials=3, training={"rungs": [1, 3]}, optimizer={"name": "random", "pruner": "none"})


@pytest.fixture
def failed(problem: Problem, make_store: Any, pretend: Pretend) -> Store:
    """A search whose three trials failed at rung 1: a worker was lost, its disk failed, the training diverged."""
    causes: dict[int, Exception] = {}
    errors = [WorkerLost("it died"), OSError(5, "Input/output error"), DivergedError("no")]

    def fail(task: EvaluationTask) -> None:
        if task.rung == 1:
            if task.seed not in causes:
                causes[task.seed] = errors[len(causes)]
            raise causes[task.seed]

    store: Store = make_store(problem)
    pretend(fail)
    run(problem, store)
    pretend()
    return store


def test_what_failed_tells_whose_fault_it_was(failed: Store) -> None:
    found = [(row.fault, row.reason) for row in failed.evaluations(1) if row.state == "failed"]
    assert found == [
        ("worker", "it died (3 times)"),
        ("worker", "OSError: [Errno 5] Input/output error"),
        ("trial", "DivergedError: no"),
    ]


def test_trials_that_their_workers_failed_are_opened_again_and_end_once(failed: Store, problem: Problem) -> None:
    assert [record.trial.number for record in reopen(failed, "first")] == [0, 1]
    assert failed.search("first").status == "interrupted"
    assert [trial.state for trial in failed.trials(1)] == ["running", "running", "failed"]
    run(problem, failed)
    assert [trial.state for trial in failed.trials(1)] == ["complete", "complete", "failed"]
    assert [trial.finish_order for trial in failed.trials(1)] == [3, 4, 2]
    before = failed.search("first")
    assert reopen(failed, "first") == []
    assert failed.search("first") == before


def test_a_search_all_of_whose_failures_were_retried_has_the_rows_of_one_without_failures(
    failed: Store, problem: Problem, make_store: Any
) -> None:
    reopen(failed, "first", of_their_own=True)
    run(problem, failed)
    whole = make_store(problem)
    run(problem, whole)
    unlike = ("opened_after", "finish_order")
    assert rows(failed, *unlike) == rows(whole, *unlike)


def test_trials_of_a_search_that_runs_are_not_opened_again(failed: Store) -> None:
    acquire(failed, "first")
    with pytest.raises(LeaseHeld):
        reopen(failed, "first")
    assert {trial.state for trial in failed.trials(1)} == {"failed"}
