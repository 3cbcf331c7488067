"""A trial with its students and evaluations, as recorded."""

import math
import statistics
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from autokd.database.reading import Reader
from autokd.database.rows import EvaluationRow, StudentRow, TrialRow

__all__ = [
    "AT_ONCE",
    "TrialRecord",
    "each_record",
    "latest_references",
    "reference_records",
    "search_records",
    "trial_records",
]

AT_ONCE = 1000  # trials that are read at once


@dataclass(frozen=True)
class TrialRecord:
    """A trial, its students and their evaluations.

    Attributes:
        trial: The trial.
        students: Its students drawn for the search, by replicate.
        evaluations: Their evaluations.
    """

    trial: TrialRow
    students: tuple[StudentRow, ...]
    evaluations: tuple[EvaluationRow, ...]

    @property
    def failure(self) -> str | None:
        """Reason of the first failed evaluation."""
        return next((row.reason or "unknown" for row in self.evaluations if row.state == "failed"), None)

    @property
    def is_workers_fault(self) -> bool:
        """Whether only workers are to blame for its failed evaluations, of which there are some."""
        faults = {row.fault for row in self.evaluations if row.state == "failed"}
        return faults == {"worker"}

    @property
    def running(self) -> list[EvaluationRow]:
        """Evaluations that are running."""
        return [row for row in self.evaluations if row.state == "running"]

    @cached_property
    def values(self) -> dict[int, float]:
        """Mean validation accuracy of all students at each rung that all of them reached."""
        return self.means("accuracy")

    @property
    def best_value(self) -> float:
        """The value at the highest rung reached; -inf before the first rung."""
        return self.values[max(self.values)] if self.values else -math.inf

    @cached_property
    def seconds(self) -> Fraction:
        """Time that its evaluations took in their workers, exactly, so that sums do not depend on their order."""
        return sum((Fraction(row.seconds) for row in self.evaluations if row.seconds is not None), Fraction())

    def with_row(self, row: TrialRow | StudentRow | EvaluationRow) -> "TrialRecord":
        """The record after one of its rows was written."""
        if isinstance(row, TrialRow):
            return replace(self, trial=row)
        if isinstance(row, StudentRow):
            drawn = (each for each in self.students if each.id != row.id)
            return replace(self, students=_by_replicate([*drawn, row]))
        others = (each for each in self.evaluations if each.id != row.id)
        return replace(self, evaluations=_by_rung([*others, row]))

    def accuracies(self, rung: int) -> list[float]:
        """Validation accuracy of each student that reached a rung, by replicate."""
        complete = {row.student_id: row for row in self.evaluations if row.rung == rung and row.state == "complete"}
        found = [complete[student.id].metrics for student in self.students if student.id in complete]
        return [metrics["accuracy"] for metrics in found if metrics is not None]

    def means(self, metric: str) -> dict[int, float]:
        """Mean of a metric over all students, at each rung where all of them have it."""
        reached: dict[int, list[float]] = {}
        for row in self.evaluations:
            if row.state == "complete" and metric in (row.metrics or {}):
                reached.setdefault(row.rung, []).append((row.metrics or {})[metric])
        return {
            rung: statistics.fmean(values)
            for rung, values in sorted(reached.items())
            if len(values) == len(self.students)
        }

    def costs(self, names: Iterable[str]) -> list[float]:
        """Mean of each of these costs over all students."""
        return [statistics.fmean(getattr(student.cost, name) for student in self.students) for name in names]

    def started(self, rung: int) -> bool:
        """Whether any student has an evaluation at `rung`."""
        return any(row.rung == rung for row in self.evaluations)

    def to_open(self, rung: int) -> list[StudentRow]:
        """Students without an evaluation at `rung`."""
        there = {row.student_id for row in self.evaluations if row.rung == rung}
        return [student for student in self.students if student.id not in there]


def trial_records(
    store: Reader, search_id: int, ids: Collection[int] | None = None, architectures: bool = True
) -> Mapping[int, TrialRecord]:
    """The record of each trial of a search by its number, without references and retrainings.

    Args:
        store: The search's database.
        search_id: Id of the search.
        ids: Ids of the trials to read; None for all.
        architectures: Whether to read the architectures of the students.
    """
    students = store.students(search_id, "search", ids, architectures)
    return _assembled(store.trials(search_id, ids), students, store.evaluations(search_id, trials=ids))


def reference_records(store: Reader, search_id: int) -> Sequence[TrialRecord]:
    """The records of a search's references in the order in which they were opened, without retrainings.

    Args:
        store: The search's database.
        search_id: Id of the search.
    """
    rows = store.references(search_id)
    if not rows:
        return []
    ids = [row.id for row in rows]
    found = _assembled(rows, store.students(search_id, "search", ids), store.evaluations(search_id, trials=ids))
    return [found[row.number] for row in rows]


def latest_references(references: Iterable[TrialRecord]) -> dict[str, TrialRecord]:
    """The last reference of each name: a search that goes on to another best student has another one without teacher.

    Args:
        references: References in the order in which they were opened.
    """
    return {str(record.trial.reference): record for record in references}


def search_records(store: Reader, search_id: int) -> tuple[Mapping[int, TrialRecord], Sequence[TrialRecord]]:
    """All of `trial_records` and `reference_records`.

    Args:
        store: The search's database.
        search_id: Id of the search.
    """
    return trial_records(store, search_id), reference_records(store, search_id)


def each_record(store: Reader, search_id: int, architectures: bool) -> Iterator[TrialRecord]:
    """The record of one trial after the other, by number; few are in memory at once.

    Args:
        store: The search's database.
        search_id: Id of the search.
        architectures: Whether to read the architectures of the students of trials that ended.
    """
    running = trial_records(store, search_id, store.trial_ids(search_id, "running"))
    ids = store.trial_ids(search_id)
    for start in range(0, len(ids), AT_ONCE):
        records = trial_records(store, search_id, ids[start : start + AT_ONCE], architectures)
        yield from (running.get(number, record) for number, record in records.items())


def _assembled(
    trials: Iterable[TrialRow], students: Iterable[StudentRow], evaluations: Iterable[EvaluationRow]
) -> Mapping[int, TrialRecord]:
    students_of: dict[int, list[StudentRow]] = {}
    for student in students:
        students_of.setdefault(student.trial_id, []).append(student)
    searched = {student.id for of_trial in students_of.values() for student in of_trial}
    evaluations_of: dict[int, list[EvaluationRow]] = {}
    for row in evaluations:
        if row.student_id in searched:
            evaluations_of.setdefault(row.trial_id, []).append(row)
    return {
        trial.number: TrialRecord(
            trial,
            _by_replicate(students_of.get(trial.id, ())),
            _by_rung(evaluations_of.get(trial.id, ())),
        )
        for trial in sorted(trials, key=lambda trial: trial.number)
    }


def _by_replicate(rows: Iterable[StudentRow]) -> tuple[StudentRow, ...]:
    return tuple(sorted(rows, key=lambda row: row.replicate))


def _by_rung(rows: Iterable[EvaluationRow]) -> tuple[EvaluationRow, ...]:
    return tuple(sorted(rows, key=lambda row: (row.rung, row.student_id)))
