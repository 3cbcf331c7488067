"""The controller: ask, submit, record, tell.

The database is the truth. What happens next is decided from its rows alone, so resuming is the same code as starting:
open evaluations are submitted, a trial with a result is promoted to the next rung or ends, and a free worker gets a new
trial. References come before the trials, but the one without teacher, which trains the best student, comes after them.
No decision about a trial depends on them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from autokd.config.fidelity_metrics import ACCURACY
from autokd.database.lease import Lease
from autokd.database.rows import TrialRow
from autokd.database.store import Store
from autokd.searches.dispatcher import Dispatcher
from autokd.searches.problem import Problem
from autokd.searches.proposals import propose, prunes
from autokd.searches.references import NO_TEACHER, latest_references, no_teacher_parameters, reference_parameters
from autokd.searches.students import add_student
from autokd.searches.times import prepared_seconds
from autokd.searches.trial_record import TrialRecord, search_records
from search_spaces.architecture.cost import Cost
from search_spaces.architecture.format import Architecture
from search_spaces.errors import SpaceError

__all__ = ["Controller"]


@dataclass(frozen=True)
class Controller:
    """Runs a search until all its trials are finished.

    An exception may interrupt `run` at any point, KeyboardInterrupt included: every write is one transaction, and the
    next controller continues from the rows.

    Attributes:
        store: The database.
        lease: The right to write to this search.
        problem: What is searched.
        dispatcher: Sends evaluations to workers.
    """

    store: Store
    lease: Lease
    problem: Problem
    dispatcher: Dispatcher

    def run(self) -> None:
        """Search until all trials are finished.

        Raises:
            InputError: If data or teacher are gone, or the teacher lacks outputs that the fidelity metric needs.
            LeaseLost: If another controller took the search over.
        """
        self.dispatcher.prepare(self.problem.context)
        self.problem.check_fidelity_metric()
        prepared = prepared_seconds(self.store.events(self.lease.search_id))
        while True:
            rows, references = search_records(self.store, self.lease.search_id)
            running = [record for record in (*references, *rows.values()) if record.trial.state == "running"]
            if any(self._advance(record, rows) for record in running):
                continue  # something was written: look again
            if self.dispatcher.has_room and (name := self._missing_reference(references)):
                self._open_reference(name, reference_parameters(name, self.problem.teacher_graph), references)
            elif self.dispatcher.has_room and self.problem.wants_trial(rows.values(), references, prepared):
                self._open_trial(rows)
            elif not self.dispatcher.is_idle:
                self.dispatcher.wait()
            elif (best := self._without_teacher(rows, references)) is not None:
                self._open_reference(NO_TEACHER, no_teacher_parameters(best), references)
            else:
                return

    @property
    def _by_metric(self) -> str:
        metric = self.problem.fidelity_metric
        return "" if metric == ACCURACY else f" by {metric.name}"

    def _open_trial(self, rows: Mapping[int, TrialRecord]) -> None:
        number = len(rows)
        self.store.open_trial(self.lease, number, propose(self.problem, rows.values(), number))
        self.dispatcher.on_change()

    def _missing_reference(self, references: Iterable[TrialRecord]) -> str | None:
        """The first reference that is to be trained before the trials and is not recorded yet."""
        there = {NO_TEACHER, *latest_references(references)}
        return next((name for name in self.problem.references if name not in there), None)

    def _without_teacher(self, rows: Mapping[int, TrialRecord], references: Iterable[TrialRecord]) -> int | None:
        """Number of the best trial, whose student is to be trained without teacher; None if that is recorded."""
        if NO_TEACHER not in self.problem.references:
            return None
        from autokd.searches.families import rank_families, winner  # loads the model

        best, recorded = winner(rank_families(self.problem, rows.values())), latest_references(references)
        if best is None or (NO_TEACHER in recorded and recorded[NO_TEACHER].trial.parameters["trial"] == best.trial):
            return None
        return best.trial

    def _open_reference(self, name: str, parameters: Mapping[str, Any], references: Sequence[TrialRecord]) -> None:
        self.store.open_trial(self.lease, -1 - len(references), parameters, name)
        self.dispatcher.on_change()

    def _advance(self, record: TrialRecord, rows: Mapping[int, TrialRecord]) -> bool:
        """Write the next step of a running trial or reference, and return whether there was one."""
        is_reference = record.trial.reference is not None
        if len(record.students) < (1 if is_reference else self.problem.config.students_per_trial):
            return self._draw_student(record, rows)
        if record.running:
            self._submit_running(record)
            return False
        if record.failure:
            return self._finish(record, "failed", record.failure)
        rung = max(record.values, default=-1)
        if rung == self.problem.last_rung:
            return self._finish(record, "complete", None)
        may_be_pruned = rung >= 0 and not record.started(rung + 1) and not is_reference
        if may_be_pruned and prunes(self.problem, rows.values(), record):
            return self._finish(record, "pruned", f"not among the best{self._by_metric} at rung {rung}")
        return self._open_evaluations(record, rung + 1)

    def _draw_student(self, record: TrialRecord, rows: Mapping[int, TrialRecord]) -> bool:
        replicate = len(record.students)
        try:
            architecture, its_cost = self._drawn(record.trial, replicate, rows)
        except SpaceError as error:  # such as a BudgetError
            return self._finish(record, "failed", f"{type(error).__name__}: {error}")
        warm_from = self.problem.warm_from(rows.values(), record.trial, architecture)
        add_student(self.store, self.lease, record.trial, replicate, "search", architecture, its_cost, warm_from)
        return True

    def _drawn(self, trial: TrialRow, replicate: int, rows: Mapping[int, TrialRecord]) -> tuple[Architecture, Cost]:
        if trial.reference != NO_TEACHER:
            return self.problem.draw(trial, replicate)
        student = rows[trial.parameters["trial"]].students[0]
        return Architecture.from_dict(dict(student.architecture)), student.cost

    def _open_evaluations(self, record: TrialRecord, rung: int) -> bool:
        for student in record.to_open(rung):
            task = self.problem.task(record.trial, student, rung)
            self.store.open_evaluation(self.lease, student.id, rung, task.epochs, task.key)
        return True

    def _submit_running(self, record: TrialRecord) -> None:
        students = {student.id: student for student in record.students}
        for row in record.running:
            self.dispatcher.submit(row, self.problem.task(record.trial, students[row.student_id], row.rung))

    def _finish(self, record: TrialRecord, state: Literal["complete", "pruned", "failed"], reason: str | None) -> bool:
        value = record.values[max(record.values)] if record.values and state != "failed" else None
        costs = record.costs(self.problem.costs) if value is not None else []
        self.store.finish_trial(self.lease, record.trial.id, state, value, reason, costs or None)
        if record.trial.reference is not None and state == "failed":
            self.dispatcher.on_notify(f"reference {record.trial.reference} is left out: {reason}")
        self.dispatcher.on_change()
        return True
