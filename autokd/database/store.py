"""Writing to a database: every method is one transaction of check, change and event."""

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from autokd.database.engine import write_connection
from autokd.database.errors import DatabaseError, SearchExists
from autokd.database.models import Search
from autokd.database.outages import Patience, is_outage, patient
from autokd.database.reading import Reader, translated
from autokd.database.row_checks import row_of
from autokd.database.rows import EvaluationRow, EventRow, Fault, Purpose, SearchRow, SearchStatus, StudentRow, TrialRow
from autokd.database.statements import FINISH_ORDER, N_FINISHED, TRIAL_OF_STUDENT
from autokd.database.types import as_read
from autokd.database.writing import Lease, Sent, Writing, sent

__all__ = ["Store"]

_REOPENED = {"state": "running", "reason": None, "fault": None, "worker": None, "finished_at": None}  # of an evaluation


class Store(Reader):
    """A database that can be written.

    Every write verb but `create_search` wants a lease (`lease.acquire`) and raises `LeaseLost`, having written nothing,
    if the lease changed hands. When a verb returns, its change and its event are on disk; when it raises, neither is.
    Where it raises `DatabaseGone` as the connection is lost while it commits, that is not known. In a `batch` all this
    holds of the batch instead.
    """

    def __init__(self, where: str | Path | Engine, create: bool = True, patience: Patience | None = None) -> None:
        super().__init__(where, create, patience)
        self._batch = threading.local()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session for writing: committed at the end, rolled back by any exception.

        Raises:
            DatabaseGone: If nothing was written, or that cannot be known.
        """
        with translated(self.engine), write_connection(self.engine) as connection, Session(connection) as session:
            yield session
            session.flush()
            self._commit(session)

    def _commit(self, session: Session) -> None:
        """Commit; if the answer is lost, look whether the event is there."""
        try:
            session.commit()
        except DBAPIError as error:
            write = sent(session)
            session.rollback()
            if write is None or not is_outage(error) or not self.patience.ask(lambda: self._has(write)):
                raise

    def _has(self, write: Sent) -> bool:
        with translated(self.engine), write_connection(self.engine) as connection, Session(connection) as session:
            return write.is_there(session)

    @patient
    def create_search(
        self, name: str, seed: int, config: Mapping[str, Any], digest: str, facts: Mapping[str, Any]
    ) -> SearchRow:
        """Create a search with status "created" and no owner.

        Args:
            name: Name of the search, unique in this database.
            seed: Seed from which all its random numbers derive.
            config: Plain values of the configuration, as JSON takes them.
            digest: Digest of the configuration.
            facts: What was found out about data, teacher and device, as JSON takes it.

        Raises:
            SearchExists: If the name is taken.
        """
        now = datetime.now(UTC)
        search = Search(
            name=name,
            status="created",
            seed=seed,
            config=dict(config),
            config_digest=digest,
            facts=dict(facts),
            created_at=now,
            updated_at=now,
        )
        with self.transaction() as session:
            if session.scalar(select(Search.id).where(Search.name == name)) is not None:
                raise SearchExists(f"There is a search {name!r} already: choose another name, or resume that one.")
            session.add(search)
            session.flush()
            return _changed(Writing(session, search.id), "search_created", {"name": name})

    @patient
    def open_trial(
        self, lease: Lease, number: int, parameters: Mapping[str, Any], reference: str | None = None
    ) -> TrialRow:
        """Open a new running trial, or a reference.

        Args:
            lease: Lease of the search, from `lease.acquire`.
            number: Number of the trial, counted from 0 within the search; that of a reference is negative.
            parameters: Parameters that the optimiser proposed, by name.
            reference: Name of the reference; None for a trial.

        Raises:
            DatabaseError: If the search has a trial of this number.
        """
        with self._writing(lease) as writing:
            opened = writing.open(
                TrialRow,
                number=number,
                parameters=dict(parameters),
                state="running",
                created_at=datetime.now(UTC),
                opened_after=N_FINISHED,
                reference=reference,
            )
            if opened is None:
                name = writing.search.name
                raise DatabaseError(f"A trial must be opened once, but search {name!r} has trial {number}.")
            trial, whose = opened
            writing.note("trial_opened", whose)
            return trial

    @patient
    def add_student(
        self,
        lease: Lease,
        trial_id: int,
        replicate: int,
        purpose: Purpose,
        digest: str,
        architecture: Mapping[str, Any],
        params: int,
        macs: int,
        activation_bytes: int,
        model_bytes: int,
        warm_from: str | None = None,
    ) -> StudentRow:
        """Add a student, or return the recorded one of the same trial, purpose, replicate and digest.

        Args:
            lease: Lease of the search, from `lease.acquire`.
            trial_id: Id of the trial from whose family the student is drawn.
            replicate: Number of the draw, counted from 0 within the trial and purpose.
            purpose: "search" to evaluate the family, "final" to be retrained and delivered.
            digest: Digest of the architecture.
            architecture: The architecture as plain values, from `Architecture.to_dict`.
            params: Number of parameters.
            macs: Multiply-accumulate operations per sample.
            activation_bytes: Peak memory of the activations of one sample, in bytes.
            model_bytes: Memory of the weights, in bytes.
            warm_from: Key of the evaluation whose weights the student inherits; None for fresh weights.

        Raises:
            DatabaseError: If the one that is there has another digest.
        """
        with self._writing(lease) as writing:
            added = writing.open(
                StudentRow,
                trial_id=trial_id,
                replicate=replicate,
                purpose=purpose,
                digest=digest,
                architecture=dict(architecture),
                params=params,
                macs=macs,
                activation_bytes=activation_bytes,
                model_bytes=model_bytes,
                warm_from=warm_from,
            )
            if added is None:
                trial = writing.get(TrialRow, trial_id)
                (known,) = writing.find(StudentRow, trial_id=trial_id, purpose=purpose, replicate=replicate)
                what = f"student {replicate} ({purpose}) of trial {trial.number}"
                _check_same(what, "digest", known.digest, digest)
                return known
            student, whose = added
            payload = {"replicate": replicate, "purpose": purpose, "digest": digest}
            writing.note("student_added", whose | payload)
            return student

    @patient
    def open_evaluation(self, lease: Lease, student_id: int, rung: int, epochs: float, key: str) -> EvaluationRow:
        """Open the evaluation of a student at a rung; a complete one is returned unchanged.

        A running one, whose worker was lost, and a failed one run again.

        Args:
            lease: Lease of the search, from `lease.acquire`.
            student_id: Id of the student.
            rung: Index of the rung.
            epochs: Length of the training from its start, in epochs.
            key: Digest of everything that decides the result.

        Raises:
            DatabaseError: If the one that is there has another key.
        """
        with self._writing(lease) as writing:
            opened = writing.open(
                EvaluationRow,
                trial_id=TRIAL_OF_STUDENT,
                student_id=student_id,
                rung=rung,
                epochs=epochs,
                key=key,
                state="running",
                created_at=datetime.now(UTC),
            )
            again = opened is None
            if opened is None:
                writing.get(StudentRow, student_id)
                (known,) = writing.find(EvaluationRow, student_id=student_id, rung=rung)
                _check_same(f"the evaluation of student {student_id} at rung {rung}", "key", known.key, key)
                if known.state == "complete":
                    return known
                opened = writing.change(EvaluationRow, known.id, known.state, **_REOPENED)
            evaluation, whose = opened
            payload = {"evaluation": evaluation.id, "rung": rung, "student": student_id, "again": again}
            writing.note("evaluation_opened", payload | whose)
            return evaluation

    @patient
    def place_evaluation(
        self, lease: Lease, evaluation_id: int, worker: str | None, reason: str | None
    ) -> EvaluationRow:
        """Record where a running evaluation is.

        Args:
            lease: Lease of the search, from `lease.acquire`.
            evaluation_id: Id of the evaluation.
            worker: Host and process that train it, or None.
            reason: Why it waits, on one line, or None.

        Raises:
            DatabaseError: If it is not running.
        """
        with self._writing(lease) as writing:
            return writing.change(EvaluationRow, evaluation_id, "running", worker=worker, reason=reason)[0]

    @patient
    def finish_evaluation(
        self,
        lease: Lease,
        evaluation_id: int,
        metrics: Mapping[str, Any],
        seconds: float,
        worker: str | None = None,
        epoch_seconds: float | None = None,
    ) -> EvaluationRow:
        """Record an evaluation as complete. Metrics may be NaN or infinite, and are read back as such.

        Args:
            lease: Lease of the search, from `lease.acquire`.
            evaluation_id: Id of the evaluation.
            metrics: Metrics by name.
            seconds: Time that the evaluation took, in seconds.
            worker: Host and process that ran it, as text for people.
            epoch_seconds: Time of an epoch while it was trained, in seconds.

        Raises:
            DatabaseError: If it was not running.
        """
        with self._writing(lease) as writing:
            evaluation, whose = writing.change(
                EvaluationRow,
                evaluation_id,
                "running",
                state="complete",
                reason=None,
                finished_at=datetime.now(UTC),
                metrics=dict(metrics),
                seconds=seconds,
                worker=worker,
                epoch_seconds=epoch_seconds,
            )
            payload = {"evaluation": evaluation.id, "rung": evaluation.rung, "metrics": dict(metrics)}
            writing.note("evaluation_finished", payload | whose)
            return evaluation

    @patient
    def fail_evaluation(
        self, lease: Lease, evaluation_id: int, reason: str, fault: Fault = "trial", seconds: float | None = None
    ) -> EvaluationRow:
        """Record an evaluation as failed.

        Args:
            lease: Lease of the search, from `lease.acquire`.
            evaluation_id: Id of the evaluation.
            reason: Why it failed, on one line.
            fault: Whose fault that was, see `EvaluationRow`.
            seconds: Time that it took in its worker; None if it is not known.

        Raises:
            DatabaseError: If it was not running.
        """
        with self._writing(lease) as writing:
            evaluation, whose = writing.change(
                EvaluationRow,
                evaluation_id,
                "running",
                state="failed",
                reason=reason,
                fault=fault,
                seconds=seconds,
                finished_at=datetime.now(UTC),
            )
            payload = {"evaluation": evaluation.id, "rung": evaluation.rung, "reason": reason, "fault": fault}
            writing.note("evaluation_failed", payload | whose)
            return evaluation

    @patient
    def finish_trial(
        self,
        lease: Lease,
        trial_id: int,
        state: Literal["complete", "pruned", "failed"],
        value: float | None = None,
        reason: str | None = None,
        costs: Sequence[float] | None = None,
        rung: int | None = None,
        seconds: float | None = None,
        at_chance: bool | None = None,
    ) -> TrialRow:
        """Record the end of a trial, with the next finish order of its search, or of a reference, with its number.

        Args:
            lease: Lease of the search, from `lease.acquire`.
            trial_id: Id of the trial.
            state: How the trial ended.
            value: Objective value, finite; required if the trial is complete.
            reason: Why the trial was pruned or failed.
            costs: Values of the further objectives, finite, if it has several and a value.
            rung: The highest rung that all its students reached.
            seconds: Time that its evaluations took in their workers.
            at_chance: Whether its students were hardly better than guessing, where that is known.

        Raises:
            DatabaseError: If it was not running, a value is not finite, or a complete one has no value.
        """
        values = [] if value is None else [value, *(costs or ())]
        if (value is None and (costs or state == "complete")) or not all(map(math.isfinite, values)):
            raise DatabaseError(
                "A trial's values must be finite, and a complete trial must have one, but got "
                f"{state=}, {value=}, {costs=}; "
                'finish it as "failed" with a reason.'
            )
        with self._writing(lease) as writing:
            trial, whose = writing.change(
                TrialRow,
                trial_id,
                "running",
                finish_order=FINISH_ORDER,
                state=state,
                value=value,
                reason=reason,
                finished_at=datetime.now(UTC),
                costs=None if costs is None else list(costs),
                rung=rung,
                seconds=seconds,
                at_chance=at_chance,
            )
            payload = {"state": state, "value": values if costs else value, "reason": reason}
            writing.note("trial_finished", whose | payload)
            return trial

    @patient
    def reopen_trial(self, lease: Lease, trial_id: int) -> TrialRow:
        """Open a failed trial or reference again, with its failed evaluations; why it failed stays in the events.

        Args:
            lease: Lease of the search, from `lease.acquire`.
            trial_id: Id of the trial.

        Raises:
            DatabaseError: If it has not failed.
        """
        with self._writing(lease) as writing:
            trial = writing.get(TrialRow, trial_id)
            if trial.state != "failed":
                raise DatabaseError(
                    f"Only a failed trial can be opened again, but trial {trial.number} is {trial.state}."
                )
            opened, whose = writing.change(
                TrialRow, trial_id, "failed", state="running", reason=None, finished_at=None, finish_order=None
            )
            writing.note("trial_reopened", whose | {"reason": trial.reason})
            searched = {row.id for row in writing.find(StudentRow, trial_id=trial.id, purpose="search")}
            for evaluation in writing.find(EvaluationRow, trial_id=trial.id, state="failed"):
                if evaluation.student_id in searched:
                    writing.change(EvaluationRow, evaluation.id, "failed", **_REOPENED)
            return opened

    @patient
    def set_status(
        self, lease: Lease, status: SearchStatus, facts_update: Mapping[str, Any] | None = None
    ) -> SearchRow:
        """Change the status of a search, and add or replace facts.

        Args:
            lease: Lease of the search, from `lease.acquire`.
            status: The new status.
            facts_update: Facts to add, or to put in place of those with the same name.
        """
        with self._writing(lease) as writing:
            search = writing.search
            search.status = status
            search.facts = {**search.facts, **(facts_update or {})}
            return _changed(writing, "status_changed", {"status": status})

    @patient
    def set_config(self, lease: Lease, config: Mapping[str, Any], digest: str) -> SearchRow:
        """Change the configuration of a search.

        Args:
            lease: Lease of the search, from `lease.acquire`.
            config: Plain values of the new configuration, as JSON takes them.
            digest: Digest of the new configuration.
        """
        with self._writing(lease) as writing:
            search = writing.search
            before, search.config, search.config_digest = search.config_digest, dict(config), digest
            return _changed(writing, "config_changed", {"before": before, "after": digest})

    @patient
    def record_event(self, lease: Lease, kind: str, payload: Mapping[str, Any]) -> EventRow:
        """Record an event of any kind.

        Args:
            lease: Lease of the search, from `lease.acquire`.
            kind: Kind of the event.
            payload: Details, as JSON takes them.
        """
        with self._writing(lease) as writing:
            return writing.record(kind, payload)

    @contextmanager
    def batch(self, lease: Lease) -> Iterator[None]:
        """A block whose writes to the search are one transaction, for which the disk is waited for once.

        Until it ends nobody else can write to the search, or with SQLite to the database, so it must be short. Readers
        do not see its writes before, this thread included.

        Args:
            lease: Lease of the search.

        Raises:
            DatabaseGone: If there is an outage: no part of the block can be tried again by itself.
        """
        with self._writing(lease) as writing:
            self._batch.writing = writing
            try:
                yield
            finally:
                self._batch.writing = None

    @contextmanager
    def _writing(self, lease: Lease) -> Iterator[Writing]:
        if (writing := getattr(self._batch, "writing", None)) is not None:
            yield writing
            return
        with self.transaction() as session:
            writing = Writing.begin(session, lease)
            yield writing
            writing.write_events()


def _changed(writing: Writing, kind: str, payload: Mapping[str, Any]) -> SearchRow:
    """The row of a search that was created or changed, as a reader will see it, with an event of this kind."""
    writing.session.flush()
    writing.record(kind, payload)
    return row_of(SearchRow, writing.search, as_read)


def _check_same(what: str, field: str, before: str, now: str) -> None:
    if before != now:
        raise DatabaseError(f"The {field} of {what} must stay {before!r}, but got {now!r}; it cannot be replaced.")
