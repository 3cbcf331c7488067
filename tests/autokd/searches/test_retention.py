import os
import signal
import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import count, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inline_searches import rows, run

from autokd.database.store import Store
from autokd.errors import DivergedError
from autokd.evaluation.task import EvaluationTask, checkpoints, weights_file
from autokd.searches.problem import Problem
from autokd.searches.retention import Retention, find_surplus, remove_surplus
from autokd.searches.trial_record import TrialRecord, trial_records

MakeRecord = Callable[..., TrialRecord]
Pretend = Callable[..., None]
COSTS = ("params", "macs", "activation_bytes", "model_bytes")
SEARCH = {"trials": 6, "training": {"rungs": [1, 3]}, "optimizer": {"name": "random", "pruner": "halving"}}


@pytest.fixture
def ended(make_record: MakeRecord) -> list[TrialRecord]:
    """Complete and pruned trials of one student, whose accuracies and costs often coincide."""
    rng = np.random.default_rng(0)

    def record(number: int) -> TrialRecord:
        reached = [[accuracy] for accuracy in rng.integers(1, 9, size=1 + number % 2) / 9]
        record = make_record(number, reached, "pruned")
        (student,) = record.students
        costs = dict(zip(COSTS, rng.integers(1, 5, size=4).tolist(), strict=True))
        named = [replace(row, key=f"t{number}-{row.rung}") for row in record.evaluations]
        return replace(record, students=(replace(student, **costs),), evaluations=tuple(named))

    return [record(number) for number in range(40)]


def longest(record: TrialRecord) -> str:
    return record.evaluations[-1].key


def kept(retention: Retention, records: list[TrialRecord]) -> set[str]:
    """Keys of the longest trainings whose weights stay."""
    _, removed = retention.end(records)
    return {longest(record) for record in records if weights_file(retention.folder, longest(record)) not in removed}


def test_weights_stay_exactly_of_the_students_that_are_best_within_some_limits(ended: list[TrialRecord]) -> None:
    ranked = sorted(ended, key=lambda record: (-len(record.evaluations), -record.best_value, record.trial.number))
    best = set()
    for limits in product(range(1, 5), repeat=len(COSTS)):
        fitting = (
            longest(record)
            for record in ranked
            if all(getattr(record.students[0], cost) <= limit for cost, limit in zip(COSTS, limits, strict=True))
        )
        best.add(next(fitting, ""))
    assert kept(Retention(Path(), keeps_sources=False), ended) == best - {""}


def test_trials_that_end_one_by_one_leave_what_those_that_end_at_once_do(ended: list[TrialRecord]) -> None:
    at_once, one_by_one = Retention(Path(), keeps_sources=False), Retention(Path(), keeps_sources=False)
    removed = [{*one_by_one.end([record])[1]} for record in reversed(ended)]
    assert set.union(*removed) == {*at_once.end(ended)[1]}


def test_with_warm_starts_the_longest_training_of_every_student_stays(ended: list[TrialRecord]) -> None:
    assert kept(Retention(Path(), keeps_sources=True), ended) == set(map(longest, ended))


def test_a_reference_keeps_the_weights_of_its_longest_training_and_no_checkpoint(ended: list[TrialRecord]) -> None:
    record = replace(ended[1], trial=replace(ended[1].trial, reference="resnet"))
    needless, surplus = Retention(Path(), keeps_sources=False).end([record])
    assert {*needless} == {*checkpoints(Path(), "t1-0"), *checkpoints(Path(), "t1-1")}
    assert surplus == [weights_file(Path(), "t1-0")]


def writing(task: EvaluationTask) -> None:
    """Writes the files of an evaluation, for `pretend`."""
    for file in (task.checkpoint, task.weights, task.correct, task.result):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_a_finished_search_keeps_results_and_the_weights_of_whom_best_may_choose(
    make_problem: Any, make_store: Any, pretend: Pretend
) -> None:
    problem = make_problem(**SEARCH)
    store = make_store(problem)
    pretend(writing)
    run(problem, store)
    records = [*trial_records(store, 1).values()]
    chosen = kept(Retention(problem.evaluations, keeps_sources=False), records)
    left = files(problem.evaluations)
    assert {name for name in left if "weights" in name} == {str(weights_file(Path(), key)) for key in chosen}
    assert not {name for name in left if "checkpoint" in name}
    assert len([name for name in left if "result" in name]) == len(store.evaluations(1))


def test_a_trial_that_failed_keeps_everything(make_problem: Any, make_store: Any, pretend: Pretend) -> None:
    def failing(task: EvaluationTask) -> None:
        writing(task)
        if task.rung == 1:
            raise DivergedError("no")

    problem = make_problem(**SEARCH | {"trials": 2})
    store = make_store(problem)
    pretend(failing)
    run(problem, store)
    before = files(problem.evaluations)
    assert {row.state for row in store.trials(1)} == {"failed"}
    remove_surplus(store, 1, Retention.of(problem))
    assert files(problem.evaluations) == before
    assert len([name for name in before if "checkpoint" in name]) == 2


def test_files_of_others_are_never_looked_at(make_problem: Any, make_store: Any, pretend: Pretend) -> None:
    problem = make_problem(**SEARCH)
    store = make_store(problem)
    pretend(writing)
    run(problem, store)
    own = problem.evaluations / store.evaluations(1)[0].key.split("-")[0]
    elsewhere = problem.evaluations / ("0" * 24)
    mine = [own / "notes.txt", own / "checkpoint.safetensors.bak", own / ".notes.part", elsewhere / "best.safetensors"]
    elsewhere.mkdir()
    parts = [own / ".tmpAbC123", own / ".weights-0.safetensors.abcd1234.part"]
    for file in (*mine, *parts):
        file.touch()
    assert find_surplus(store, 1, Retention.of(problem)) == ([], [], parts)


@pytest.fixture
def forked() -> Callable[[Callable[[], None]], int]:
    """Runs a function in a child process, and returns the signal that killed it, or 0."""

    def call(function: Callable[[], None]) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads of others, which the child does not need
            child = os.fork()
        if child:
            return os.WTERMSIG(os.waitpid(child, 0)[1])
        try:
            function()
        finally:
            os._exit(0)

    return call


def killed_at(turn: int) -> Callable[..., None]:
    """A `Path.unlink` that kills its process at one of its calls: before it removes the file, or afterwards."""
    turns, unlink = count(), Path.unlink

    def unlinked(path: Path, missing_ok: bool = False) -> None:
        for act in (lambda: None, lambda: unlink(path, missing_ok)):
            act()
            if next(turns) == turn:
                os.kill(os.getpid(), signal.SIGKILL)

    return unlinked


def test_a_search_killed_at_any_removal_goes_on_to_the_same_rows_and_files(
    make_problem: Any, make_store: Any, pretend: Pretend, forked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = make_problem(**SEARCH)
    pretend(writing)
    whole = make_store(problem)
    run(problem, whole)
    for turn in count(0, 7):
        other = replace(problem, home=tmp_path / f"home {turn}")
        where = str(make_store(other).engine.url.database)

        def begin(other: Problem = other, where: str = where, turn: int = turn) -> None:
            monkeypatch.setattr(Path, "unlink", killed_at(turn))
            run(other, Store(where))

        if forked(begin) != signal.SIGKILL:
            break
        with Store(where) as store:
            run(other, store)
            assert rows(store) == rows(whole)
        assert files(other.evaluations) == files(problem.evaluations)
    assert turn > 50  # so many acts are part of the removals
