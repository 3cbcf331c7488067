"""Searches in the process of a test, and what they leave behind."""

from dataclasses import asdict
from typing import Any

from autokd.database.lease import acquire, release
from autokd.database.rows import EvaluationRow, StudentRow, TrialRow
from autokd.database.store import Store
from autokd.searches.controller import Controller
from autokd.searches.dispatcher import Dispatcher
from autokd.searches.problem import Problem
from workers.base import Executor
from workers.inline import InlineExecutor

__all__ = ["rows", "run"]


def run(problem: Problem, store: Store, executor: Executor | None = None) -> None:
    """The whole search, or as far as it comes."""
    lease = acquire(store, problem.config.name)
    try:
        Controller(store, lease, problem, Dispatcher(store, lease, executor or InlineExecutor())).run()
    finally:
        release(store, lease)


def rows(store: Store, *unstable: str) -> list[dict[str, Any]]:
    """Everything recorded of the first search, but clocks and further columns that differ between equal runs."""
    tables: list[TrialRow | StudentRow | EvaluationRow] = [*store.trials(1), *store.students(1), *store.evaluations(1)]
    left_out = {"created_at", "finished_at", *unstable}
    return [{key: value for key, value in asdict(row).items() if key not in left_out} for row in tables]
