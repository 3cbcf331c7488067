"""The controller: ask, submit, record, tell.

The database is the truth. What happens next is decided from its rows alone, which are read once and then kept in a
`SearchState`, so resuming is the same code as starting: open evaluations are submitted, a trial with a result is
promoted to the next rung or ends, and a free worker gets a new trial. References come before the trials, but the one
without teacher, which trains the best student, comes after them. No decision about a trial depends on them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from time import monotonic
from typing import Any, Literal, TypeVar

from autokd.config.fidelity_metrics import ACCURACY
from autokd.database.lease import Lease
from autokd.database.rows import EvaluationRow, SearchRow, SearchStatus, TrialRow
from autokd.database.store import Store
from autokd.errors import DiskFullError
from autokd.evaluation.task import EvaluationTask
from autokd.searches.dispatcher import Dispatcher, reason_of
from autokd.searches.part import records_to_rank
from autokd.searches.problem import Problem
from autokd.searches.progress import Progress, is_at_chance
from autokd.searches.references import NO_TEACHER, no_teacher_parameters, reference_parameters
from autokd.searches.retention import Retention, remove_files, remove_surplus
from autokd.searches.state import SearchState
from autokd.searches.stopping import EVERY, is_enough
from autokd.searches.students import add_student
from autokd.searches.times import prepared_seconds
from autokd.searches.trial_record import TrialRecord, latest_references, trial_records
from search_spaces.architecture.cost import Cost
from search_spaces.architecture.format import Architecture
from search_spaces.errors import SpaceError

__all__ = ["Controller"]

T = TypeVar("T")

BATCH_SECONDS = 0.2


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
    _enough: dict[int, bool] = field(default_factory=dict)  # by full tens of ended trials
    _just_ended: list[TrialRecord] = field(default_factory=list)  # written, but perhaps not yet on the disk
    _opened: dict[str, EvaluationTask] = field(default_factory=dict)  # by key; written, but not yet submitted

    @cached_property
    def state(self) -> SearchState:
        """What the rows say."""
        return SearchState.read(self.problem, self.store, self.lease.search_id)

    def run(self) -> None:
        """Search until all trials are finished.

        Raises:
            DiskFullError: If the disk has no room for another trial, or became full.
            InputError: If data or teacher are gone, or the teacher lacks outputs that the fidelity metric needs.
            LeaseLost: If another controller took the search over.
            DatabaseGone: If an outage lasts longer than the store waits.
        """
        self.dispatcher.prepare(self.problem.context)
        vars(self).pop("_prepared_seconds", None)  # which was asked for meanwhile, to tell the progress
        self.problem.check_fidelity_metric()
        remove_surplus(self.store, self.lease.search_id, self._retention)
        while self.advance() or self.wait():
            pass

    def advance(self) -> bool:
        """Write the next steps of what ended and, if a worker is free, open what comes next.

        Returns:
            Whether anything was opened. If not, the search waits for results; if nothing is in flight, it is over.

        Raises:
            DiskFullError: If the disk has no room for another trial, and nothing runs that could make some.
            LeaseLost: If another controller took the search over.
            DatabaseGone: If an outage lasts longer than the store waits.
        """
        return self.store.patience.ask(lambda: self._rereading(self._advance))

    def wait(self) -> bool:
        """Wait for results, and record them as `Dispatcher.wait` does; False if there is nothing to wait for."""
        if self.dispatcher.is_idle:
            return False
        self._rereading(self.dispatcher.wait)
        return True

    def record_end(self, is_over: bool = True) -> Progress:
        """Record how the search ended, and return how far it is.

        Args:
            is_over: Whether nothing is left to train; else it is interrupted, as it is where its time was over before
                the first trial.
        """
        so_far = self.progress(self.store.search(self.lease.search_id))
        goes_on = not is_over or not so_far.finished
        status: SearchStatus = "interrupted" if goes_on else "failed" if so_far.best_trial is None else "finished"
        return self.progress(self.store.set_status(self.lease, status))

    def progress(self, search: SearchRow) -> Progress:
        """How far the search is.

        Args:
            search: Its row.
        """
        return self.state.progress(search, self._prepared_seconds)

    def _rereading(self, step: Callable[[], T]) -> T:
        """What a step returns; if it fails or is interrupted, rows are read again.

        The state may then know of rows that were never committed, and lack some that were.
        """
        try:
            return step()
        except BaseException:
            vars(self).pop("state", None)
            self._just_ended.clear()
            raise

    def _take_in(self, row: EvaluationRow) -> None:
        """Bring the state up to date, unless the row will be read with all others."""
        if "state" in vars(self):
            self.state.update(row)

    def _advance(self) -> bool:
        self.dispatcher.on_recorded = self._take_in
        self.dispatcher.heed_stop()
        if self.state.has_changed:
            self._write_and_submit()
        has_room = self.dispatcher.room > 0
        if has_room and (name := self._missing_reference()) is not None:
            if not self._has_space():
                return False
            self._open_reference(name, reference_parameters(name, self.problem.teacher_graph))
        elif has_room and self._wants_trial:
            if not self._has_space():
                return False
            self._open_trials()
        elif self.dispatcher.is_idle and (best := self._without_teacher()) is not None:
            self._open_reference(NO_TEACHER, no_teacher_parameters(best))
        else:
            return False
        return True

    @cached_property
    def _prepared_seconds(self) -> float:
        return prepared_seconds(self.store.outline(self.lease.search_id))

    @property
    def _wants_trial(self) -> bool:
        state = self.state
        wanted = self.problem.wants_trial(state.n_trials, state.worker_seconds, self._prepared_seconds)
        return wanted and not self._is_enough

    @property
    def _is_enough(self) -> bool:
        """Whether further trials would gain less than `stop.gain`, asked once for each full ten of ended trials."""
        if not self.problem.config.stop.gain:
            return False
        tens = self.state.n_ended // EVERY
        if tens not in self._enough:
            self._enough[tens] = is_enough(self.problem, trial_records(self.store, self.lease.search_id).values())
        return self._enough[tens]

    @cached_property
    def _retention(self) -> Retention:
        return Retention.of(self.problem)

    @property
    def _by_metric(self) -> str:
        metric = self.problem.fidelity_metric
        return "" if metric == ACCURACY else f" by {metric.name}"

    def _has_space(self) -> bool:
        """Whether the disk has room for another trial; if not, a running evaluation may make some when it ends.

        Raises:
            DiskFullError: If it has none and nothing runs.
        """
        try:
            self.problem.check_space()
        except DiskFullError:
            if self.dispatcher.is_idle:
                raise
            return False
        return True

    def _open_trials(self) -> None:
        """Open trials for free workers, in one transaction as many as are proposed within `BATCH_SECONDS`.

        It ends early once another ten have ended, all of which may fail at their draw: whether they are enough is asked
        of what is recorded.
        """
        until, tens = monotonic() + BATCH_SECONDS, self.state.n_ended // EVERY
        parameters = self._propose()  # before the transaction, since some samplers take long
        opened: list[TrialRecord] = []
        with self.store.batch(self.lease):
            while True:
                self.state.update(self.store.open_trial(self.lease, self.state.n_trials, parameters))
                opened += self._write_steps()
                room = self.dispatcher.room - sum(len(record.running) for record in opened)
                if room <= 0 or monotonic() > until or self.state.n_ended // EVERY > tens or not self._wants_trial:
                    break
                parameters = self._propose()
        self._submit(opened)

    def _propose(self) -> Mapping[str, Any]:
        return self.state.proposer.propose(self.state.n_trials)

    def _missing_reference(self) -> str | None:
        """The first reference that is to be trained before the trials and is not recorded yet."""
        there = {NO_TEACHER, *latest_references(self.state.references)}
        return next((name for name in self.problem.references if name not in there), None)

    def _without_teacher(self) -> int | None:
        """Number of the best trial, whose student is to be trained without teacher; None if that is recorded."""
        if NO_TEACHER not in self.problem.references:
            return None
        from autokd.searches.families import rank_families, winner  # loads the model

        records = records_to_rank(self.store, self.lease.search_id)
        best, recorded = winner(rank_families(self.problem, records)), latest_references(self.state.references)
        if best is None or (NO_TEACHER in recorded and recorded[NO_TEACHER].trial.parameters["trial"] == best.trial):
            return None
        return best.trial

    def _open_reference(self, name: str, parameters: Mapping[str, Any]) -> None:
        number = -1 - len(self.state.references)
        with self.store.batch(self.lease):
            self.state.update(self.store.open_trial(self.lease, number, parameters, name))
            opened = self._write_steps()
        self._submit(opened)

    def _write_and_submit(self) -> None:
        """Write the next steps of trials and references, and submit the evaluations that these open."""
        with self.store.batch(self.lease):
            opened = self._write_steps()
        self._submit(opened)

    def _write_steps(self) -> list[TrialRecord]:
        """Write the next steps of all trials and references that changed, and return those that now train."""
        training = []
        while (record := self.state.take_changed()) is not None:
            if not self._write_step(record):
                training.append(record)
        return training

    def _write_step(self, record: TrialRecord) -> bool:
        """Write the next step of a running trial or reference, and return whether there was one."""
        is_reference = record.trial.reference is not None
        if len(record.students) < (1 if is_reference else self.problem.config.students_per_trial):
            return self._draw_student(record)
        if record.running:
            return False
        if record.failure:
            return self._finish(record, "failed", record.failure)
        rung = max(record.values, default=-1)
        if rung == self.problem.last_rung:
            return self._finish(record, "complete", None)
        may_be_pruned = rung >= 0 and not record.started(rung + 1) and not is_reference
        if may_be_pruned and self.state.proposer.prunes(record.trial.number):
            return self._finish(record, "pruned", f"not among the best{self._by_metric} at rung {rung}")
        return self._open_evaluations(record, rung + 1)

    def _draw_student(self, record: TrialRecord) -> bool:
        replicate = len(record.students)
        try:
            architecture, its_cost = self._drawn(record.trial, replicate)
        except SpaceError as error:  # such as a BudgetError
            return self._finish(record, "failed", reason_of(error))
        warm_from = self.problem.warm_from(self.state.ended, record.trial, architecture)
        student = add_student(
            self.store, self.lease, record.trial, replicate, "search", architecture, its_cost, warm_from
        )
        self.state.update(student)
        return True

    def _drawn(self, trial: TrialRow, replicate: int) -> tuple[Architecture, Cost]:
        if trial.reference != NO_TEACHER:
            return self.problem.draw(trial, replicate)
        number, search_id = trial.parameters["trial"], self.lease.search_id
        ids = self.store.trial_ids(search_id, numbers=[number])
        student = trial_records(self.store, search_id, ids)[number].students[0]
        return Architecture.from_dict(dict(student.architecture)), student.cost

    def _open_evaluations(self, record: TrialRecord, rung: int) -> bool:
        for student in record.to_open(rung):
            task = self.problem.task(record.trial, student, rung)
            self._opened[task.key] = task
            self.state.update(self.store.open_evaluation(self.lease, student.id, rung, task.epochs, task.key))
        return True

    def _submit(self, records: Iterable[TrialRecord]) -> None:
        """Submit what is open of some trials, once this is recorded, and report the progress."""
        self._remove_surplus()
        for record in records:
            students = {student.id: student for student in record.students}
            for row in record.running:
                task = self._opened.pop(row.key, None)
                self.dispatcher.submit(row, task or self.problem.task(record.trial, students[row.student_id], row.rung))
        self.dispatcher.on_change()

    def _remove_surplus(self) -> None:
        """Remove what the trials that ended do not need, now that this is recorded."""
        for files in self._retention.end(self._just_ended):
            remove_files(files, self.problem.depot)
        self._just_ended.clear()

    def _finish(self, record: TrialRecord, state: Literal["complete", "pruned", "failed"], reason: str | None) -> bool:
        value = record.values[max(record.values)] if record.values and state != "failed" else None
        costs = record.costs(self.problem.costs) if value is not None else []
        row = self.store.finish_trial(
            self.lease,
            record.trial.id,
            state,
            value,
            reason,
            costs or None,
            rung=max(record.values, default=None),
            seconds=float(record.seconds),
            at_chance=is_at_chance(record, self.problem.facts.classes),
        )
        self.state.update(row)
        if record.trial.reference is not None and state == "failed":
            self.dispatcher.on_notify(f"reference {record.trial.reference} is left out: {reason}")
        if state != "failed":
            self._just_ended.append(record)
        return True
