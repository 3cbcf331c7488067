"""Rows as frozen values, detached from the database."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from search_spaces.architecture.cost import Cost

__all__ = [
    "UNREAD",
    "EvaluationRow",
    "EvaluationState",
    "EvaluationTotals",
    "EventRow",
    "Fault",
    "JobRow",
    "JobState",
    "Purpose",
    "SearchRow",
    "SearchStatus",
    "StopMode",
    "StudentRow",
    "TrialOutcome",
    "TrialRow",
    "TrialState",
    "TrialTotals",
]

SearchStatus = Literal["created", "running", "interrupted", "finished", "failed"]
TrialState = Literal["running", "complete", "pruned", "failed"]
EvaluationState = Literal["running", "complete", "failed"]
Fault = Literal["worker", "trial"]
Purpose = Literal["search", "final"]
StopMode = Literal["gracefully", "now"]
JobState = Literal["waiting", "running", "done", "stopped", "failed", "cancelled"]


@dataclass(frozen=True)
class SearchRow:
    """One search.

    Attributes:
        facts: What was found out and not chosen: digests of teacher and data, the teacher's metrics, versions, command.
        lease_token: Grows whenever the right to write changes hands.
        lease_host: The owner's host name; None while nobody owns the search.
        lease_process_started: The owner's start, seconds since its machine's boot; tells it from a later process of the
            same id.
        stop: How the owner was asked to stop: "gracefully", once the running evaluations have ended, or "now"; None if
            it was not.
    """

    id: int
    name: str
    status: SearchStatus
    seed: int
    config: Mapping[str, Any]
    config_digest: str
    facts: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    lease_token: int
    lease_host: str | None
    lease_pid: int | None
    lease_process_started: float | None
    lease_heartbeat_at: datetime | None
    stop: StopMode | None = None


@dataclass(frozen=True)
class TrialRow:
    """One trial, or one reference, which is none of the optimiser's.

    Attributes:
        number: Counts from 0 within its search, in the order in which trials were opened; references count down from
            -1, and their number is their finish order, too.
        parameters: What the optimiser proposed, by name.
        value: Objective value given to the optimiser, an accuracy; None if there is none.
        reason: Why it was pruned or failed.
        finish_order: Counts from 0 within its search, in the order in which trials ended; the optimiser's state is a
            fold over the finished trials in this order.
        opened_after: Number of trials that had ended when this one was opened: with `finish_order` it says which
            trials the optimiser knew when it proposed this one.
        reference: Name of the reference; None for a trial.
        costs: Values of the further objectives, in their order; None if there are none, or no value.
        rung: The highest rung that all its students reached; None if there is none, or while it runs. This and what
            follows are recorded when a trial ends, so that its evaluations need not be read.
        seconds: Time that its evaluations took in their workers.
        at_chance: Whether its students were hardly better than guessing; None where that is not known.
    """

    id: int
    search_id: int
    number: int
    parameters: Mapping[str, Any]
    state: TrialState
    value: float | None
    reason: str | None
    created_at: datetime
    finished_at: datetime | None
    finish_order: int | None
    opened_after: int = 0
    reference: str | None = None
    costs: Sequence[float] | None = None
    rung: int | None = None
    seconds: float | None = None
    at_chance: bool | None = None


@dataclass(frozen=True)
class TrialOutcome:
    """What a picture needs of a trial; see `TrialRow`."""

    number: int
    state: TrialState
    value: float | None
    costs: Sequence[float] | None


@dataclass(frozen=True)
class TrialTotals:
    """Counts and sums over the trials of one state and, if they failed, of one reason.

    Attributes:
        n: Number of trials.
        seconds: Time that their evaluations took in their workers; 0 for running ones.
        at_chance: Number of those that ended hardly better than guessing.
        retriable: Number of those for whose failed evaluations, of which there are some, only workers are to blame.
    """

    state: TrialState
    reason: str | None
    n: int
    seconds: float
    at_chance: int
    retriable: int


@dataclass(frozen=True)
class EvaluationTotals:
    """Sums over the evaluations of a search, also over those of references and at full length.

    Attributes:
        seconds: Time that they took in their workers.
        images: Sum of this metric over complete ones; None if one of them does not have it.
        live_teacher_images: The same of this metric.
        n_tested: Number of those that were measured on the test split.
    """

    seconds: float
    images: int | None
    live_teacher_images: int | None
    n_tested: int


class _Unread(Mapping[str, Any]):
    """Stands for values that were not read, and refuses to be used."""

    def __getitem__(self, key: str) -> Any:
        raise LookupError("This row was read without its architecture.")

    def __iter__(self) -> Iterator[str]:
        raise LookupError("This row was read without its architecture.")

    def __len__(self) -> int:
        raise LookupError("This row was read without its architecture.")


UNREAD = _Unread()
"""The architecture of a student that was read without it, which saves nearly all of the time and memory."""


@dataclass(frozen=True)
class StudentRow:
    """One architecture drawn from a trial's family, with its cost.

    Attributes:
        architecture: As plain values, or `UNREAD`.
        replicate: Counts the draws from 0 within the trial and purpose.
        purpose: Drawn to judge the family ("search") or to be delivered ("final").
        digest: The architecture's digest.
        warm_from: Key of the evaluation whose weights it inherits; None if it starts from fresh weights.
    """

    id: int
    search_id: int
    trial_id: int
    replicate: int
    purpose: Purpose
    digest: str
    architecture: Mapping[str, Any]
    params: int
    macs: int
    activation_bytes: int
    model_bytes: int
    warm_from: str | None = None

    @property
    def cost(self) -> Cost:
        """What the architecture costs."""
        return Cost(self.params, self.macs, self.activation_bytes, self.model_bytes)


@dataclass(frozen=True)
class EvaluationRow:
    """One student's training up to one rung.

    Attributes:
        epochs: Length of the training from its start, not from the previous rung.
        key: Digest of all that decides the result; checkpoint and result files are named by it.
        metrics: By name; None until complete.
        reason: Why it failed; of a running one why it waits, None if it does not, or if that is not known.
        fault: Whose fault the failure was: "worker" if another worker may well succeed, since this one was lost or its
            disk failed, else "trial". None unless it failed.
        worker: Host and process that trained it, as text for people; of a running one the worker that has it, None if
            it waits, or if that is not known.
        epoch_seconds: Time of an epoch while it was trained, without what comes before and after; None if that is not
            known.
    """

    id: int
    search_id: int
    trial_id: int
    student_id: int
    rung: int
    epochs: float
    key: str
    state: EvaluationState
    metrics: Mapping[str, Any] | None
    seconds: float | None
    reason: str | None
    fault: Fault | None
    worker: str | None
    created_at: datetime
    finished_at: datetime | None
    epoch_seconds: float | None


@dataclass(frozen=True)
class JobRow:
    """The wish that a search be run by a process of its own, in the queue of the service.

    Attributes:
        search: Name of the search.
        config: The configuration with which it begins; None if it is there and goes on.
        trains: Whether its winner is trained at full length, which needs a search that is there.
        priority: Of the waiting jobs, the one of the highest priority is next, then the oldest.
        state: "waiting"; "running", which a process may have left by being killed; "done"; "stopped" on request, or
            since another process has taken the search over; "failed"; or "cancelled" before its search ran.
        reason: Why it stopped or failed.
        starts: How many processes have taken it.
        lease_host: Host of the process that runs it; None while none does.
        lease_pid: Its process id.
    """

    id: int
    search: str
    config: Mapping[str, Any] | None
    trains: bool
    priority: int
    state: JobState
    reason: str | None
    starts: int
    created_at: datetime
    lease_host: str | None
    lease_pid: int | None


@dataclass(frozen=True)
class EventRow:
    """Something that happened to a search; ids grow in the order in which a search's events become visible."""

    id: int
    search_id: int
    at: datetime
    kind: str
    payload: Mapping[str, Any]
