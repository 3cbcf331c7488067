"""The parts of every write besides its change: the check of the fencing token, the event, and the commit."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Connection, Insert, Select, Update, bindparam, func, insert, select, update
from sqlalchemy.orm import Session

from autokd.database.errors import DatabaseError, LeaseLost
from autokd.database.models import Event, Search, Student, Trial
from autokd.database.reading import find_search
from autokd.database.row_checks import TABLES, checked
from autokd.database.rows import EventRow
from autokd.database.types import written

__all__ = ["Lease", "Sent", "Writing", "fenced", "named", "sent"]

R = TypeVar("R")

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


def named(trial: Any) -> dict[str, Any]:
    """Number of a trial, and the name of a reference, for an event.

    Args:
        trial: A trial's row, or its columns `number` and `reference`.
    """
    return {"trial": trial.number} | ({} if trial.reference is None else {"reference": trial.reference})


@dataclass(frozen=True)
class Writing:
    """Writes rows and events of a search, in one transaction; rows only for the owner of the search, see `begin`.

    They are written by plain statements: a controller writes a few rows at a time, for each of which the ORM would take
    several times as long.

    Attributes:
        session: The transaction, in which the search's row is locked.
        search_id: Id of the search.
    """

    session: Session
    search_id: int
    _noted: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def begin(cls, session: Session, lease: Lease) -> "Writing":
        """Lock the search of a lease, and note that it changes.

        Raises:
            LeaseLost: If the lease has changed hands.
        """
        now = {"of_search": lease.search_id, "of_token": lease.token, "updated_at": datetime.now(UTC)}
        if not session.connection().execute(_TOUCH, now).rowcount:
            fenced(session, lease)  # which says why
        return cls(session, lease.search_id)

    @property
    def search(self) -> Search:
        """The search."""
        return self.session.get_one(Search, self.search_id)

    def get(self, kind: type[R], row_id: int) -> R:
        """The row of this id.

        Raises:
            DatabaseError: If the search has none.
        """
        found = self.find(kind, id=row_id)
        if not found:
            what = TABLES[kind].__name__.lower()
            raise DatabaseError(f"Search {self.search.name!r} must have the {what} {row_id}, but it has not.")
        return found[0]

    def find(self, kind: type[R], /, **values: Any) -> list[R]:
        """The rows of the search with these values in these columns, by id."""
        query = _select(kind, *values)  # type: ignore[arg-type]
        found = self._connection.execute(query, {"search_id": self.search_id, **values})
        return [checked(kind, dict(row)) for row in found.mappings()]

    def insert(self, kind: type[R], /, **values: Any) -> R:
        """A new row of the search, as a reader will see it; columns that are not named are empty."""
        whole = dict.fromkeys(each.name for each in fields(kind) if each.name != "id")  # type: ignore[arg-type]
        given, read = _written(whole | {"search_id": self.search_id, **values})
        key = self._connection.execute(_insert(kind), given).inserted_primary_key  # type: ignore[arg-type]
        assert key is not None
        return checked(kind, {"id": key[0]} | read)

    def update(self, row: R, /, **values: Any) -> R:
        """A row with other values in these columns, as a reader will see it."""
        kind: Any = type(row)
        given, read = _written(values)
        self._connection.execute(_update(kind), {"row_id": row.id, **given})  # type: ignore[attr-defined]
        found: R = checked(kind, vars(row) | read)
        return found

    def note(self, kind: str, payload: Mapping[str, Any]) -> None:
        """Have a new event of the search written by `write_events`, with all that were noted before.

        Args:
            kind: Kind of the event.
            payload: Details, as JSON takes them.
        """
        self._noted.append({"at": datetime.now(UTC), "kind": kind, "payload": dict(payload)})

    def write_events(self) -> EventRow | None:
        """Write the events that were noted, in their order, and return the last one."""
        if not self._noted:
            return None
        *earlier, last = self._noted
        if earlier:
            self._connection.execute(_insert(EventRow), [{"search_id": self.search_id, **each} for each in earlier])
        self._noted.clear()
        event = self.insert(EventRow, **last)
        self.session.info[_SENT] = Sent(self.search_id, event.id, event.at)
        return event

    def record(self, kind: str, payload: Mapping[str, Any]) -> EventRow:
        """A new event of the search, written at once.

        Args:
            kind: Kind of the event.
            payload: Details, as JSON takes them.
        """
        self.note(kind, payload)
        event = self.write_events()
        assert event is not None
        return event

    @property
    def n_finished(self) -> int:
        """Number of trials that ended; references do not count."""
        last = self._connection.execute(_LAST_ORDER, {"search_id": self.search_id}).scalar()
        return 0 if last is None else max(0, last + 1)

    def whose(self, student_id: int) -> tuple[int, dict[str, Any]]:
        """Id of a student's trial, and for an event whose an evaluation of the student is.

        Raises:
            DatabaseError: If the search has no such student.
        """
        asked = {"student_id": student_id, "search_id": self.search_id}
        found = self._connection.execute(_WHOSE, asked).one_or_none()
        if found is None:
            raise DatabaseError(f"Search {self.search.name!r} must have the student {student_id}, but it has not.")
        return found.trial_id, {"replicate": found.replicate} | named(found)

    @property
    def _connection(self) -> Connection:
        return self.session.connection()


_SEARCHES: Any = Search.__table__
_TOUCH = update(_SEARCHES).where(
    _SEARCHES.c.id == bindparam("of_search"), _SEARCHES.c.lease_token == bindparam("of_token")
)
_TRIALS, _STUDENTS = Trial.__table__.c, Student.__table__.c
_LAST_ORDER = select(func.max(_TRIALS.finish_order)).where(_TRIALS.search_id == bindparam("search_id"))
_WHOSE = (
    select(_STUDENTS.trial_id, _STUDENTS.replicate, _TRIALS.number, _TRIALS.reference)
    .join(Trial.__table__, _TRIALS.id == _STUDENTS.trial_id)
    .where(_STUDENTS.id == bindparam("student_id"), _STUDENTS.search_id == bindparam("search_id"))
)


def _written(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What columns are given for these values, and the values as they will be read."""
    both = {name: written(value) for name, value in values.items()}
    return {name: given for name, (given, _) in both.items()}, {name: read for name, (_, read) in both.items()}


@cache
def _select(kind: type, *names: str) -> Select[Any]:
    columns: Any = TABLES[kind].__table__.c
    wanted = [columns[each.name] for each in fields(kind)]
    criteria = (columns[name] == bindparam(name) for name in ("search_id", *names))
    return select(*wanted).where(*criteria).order_by(columns.id)


@cache
def _insert(kind: type) -> Insert:
    return insert(TABLES[kind].__table__)  # type: ignore[arg-type]


@cache
def _update(kind: type) -> Update:
    table: Any = TABLES[kind].__table__
    return update(table).where(table.c.id == bindparam("row_id"))
