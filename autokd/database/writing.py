"""The parts of every write besides its change: the check of the fencing token, the event, and the commit."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from autokd.database.errors import DatabaseError, LeaseLost
from autokd.database.models import Event, Search, Student, Trial
from autokd.database.reading import find_search

__all__ = ["Lease", "Sent", "described", "fenced", "n_finished", "named", "record", "sent"]

_SENT = "sent"  # where a session keeps it


@dataclass(frozen=True)
class Lease:
    """The right to write to a search, valid while its token is the one in the search's row."""

    search_id: int
    token: int


@dataclass(frozen=True)
class Sent:
    """What tells a write from all others: its event, of which the id alone may be given anew after a server's crash."""

    search_id: int
    event_id: int
    at: datetime

    def is_there(self, session: Session) -> bool:
        """Whether it was committed; waits for a transaction of its search that has not ended."""
        session.execute(select(Search.id).where(Search.id == self.search_id).with_for_update())
        query = select(Event.id).where(Event.id == self.event_id, Event.at == self.at)
        return session.scalar(query) is not None


def sent(session: Session) -> Sent | None:
    """What the session recorded last; None if it has no event."""
    found: Sent | None = session.info.get(_SENT)
    return found


def fenced(session: Session, lease: Lease) -> Search:
    """The search of a lease, locked so that the lease cannot change hands before the transaction ends.

    Raises:
        LeaseLost: If it has already changed hands.
    """
    search = find_search(session, lease.search_id, lock=True)
    if search.lease_token != lease.token:
        raise LeaseLost(
            f"Only the owner of search {search.name!r} may write it, but its lease has token {search.lease_token} and "
            f"this controller's has {lease.token}: it was released or taken over. Nothing was written; stop this "
            "controller."
        )
    return search


def record(session: Session, search: Search, kind: str, payload: Mapping[str, Any]) -> Event:
    """A new event of a search, with its id.

    Args:
        session: Session of the write that the event belongs to.
        search: The search.
        kind: Kind of the event.
        payload: Details, as JSON takes them.
    """
    event = Event(search_id=search.id, at=datetime.now(UTC), kind=kind, payload=dict(payload))
    session.add(event)
    session.flush()
    session.info[_SENT] = Sent(search.id, event.id, event.at)
    return event


def n_finished(session: Session, search: Search) -> int:
    """Number of trials that ended; references do not count."""
    last = session.scalar(select(func.max(Trial.finish_order)).where(Trial.search_id == search.id))
    return 0 if last is None else max(0, last + 1)


def named(trial: Any) -> dict[str, Any]:
    """Number of a trial, and the name of a reference, for an event.

    Args:
        trial: A `Trial`, or its columns `number` and `reference`.
    """
    return {"trial": trial.number} | ({} if trial.reference is None else {"reference": trial.reference})


def described(session: Session, student_id: int, search: Search) -> tuple[int, dict[str, Any]]:
    """Id of a student's trial, and for an event whose an evaluation of the student is.

    Args:
        session: Session of the write.
        student_id: Id of the student.
        search: The search.

    Raises:
        DatabaseError: If the search has no such student.
    """
    columns = Student.trial_id, Student.replicate, Trial.number, Trial.reference
    query = select(*columns).join(Trial, Trial.id == Student.trial_id)
    found = session.execute(query.where(Student.id == student_id, Student.search_id == search.id)).one_or_none()
    if found is None:
        raise DatabaseError(f"Search {search.name!r} must have the student {student_id}, but it has not.")
    return found.trial_id, {"replicate": found.replicate} | named(found)
