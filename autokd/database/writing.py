"""The parts of every write besides its change: the check of the fencing token, the event, and the commit."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Executable, RowMapping, Select, bindparam, insert, select, update
from sqlalchemy.orm import Session

from autokd.database.errors import DatabaseError, LeaseLost
from autokd.database.models import Event, Search
from autokd.database.reading import find_search
from autokd.database.row_checks import TABLES, checked
from autokd.database.rows import EvaluationRow, EventRow
from autokd.database.statements import OF_STUDENT, Computed, changing, opening, table_of
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


def named(number: int, reference: str | None) -> dict[str, Any]:
    """Number of a trial, and the name of a reference, for an event."""
    return {"trial": number} | ({} if reference is None else {"reference": reference})


@dataclass(frozen=True)
class Writing:
    """Writes rows and events of a search, in one transaction; rows only for the owner of the search, see `begin`.

    They are written by plain statements, one for each row: a controller writes a few rows at a time, for each of which
    the ORM would take several times as long, and with a server each statement is a round trip.

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

    def open(self, kind: type[R], /, **values: Any) -> tuple[R, dict[str, Any]] | None:
        """A new row of the search, as a reader will see it, and for an event whose it is.

        None if there is one in its place, or no row to which it belongs. Columns that are not named are empty; a value
        may be an SQL expression.
        """
        given, read, computed = _written(values)
        asked = {"of_search": self.search_id, **given}
        found = self._one(opening(kind, tuple(given), computed), asked)  # type: ignore[arg-type]
        return None if found is None else _row_and_whose(kind, {"search_id": self.search_id, **read, **found})

    def change(self, kind: type[R], row_id: int, state: str, /, **values: Any) -> tuple[R, dict[str, Any]]:
        """A row with other values in some columns, as `open` returns it.

        Args:
            kind: Kind of the row.
            row_id: Its id.
            state: The state in which it is.
            **values: The new values by column.

        Raises:
            DatabaseError: If the search has no such row, or it is in another state.
        """
        given, read, computed = _written(values)
        asked = {"row_id": row_id, "of_search": self.search_id, "state_before": state, **given}
        found = self._one(changing(kind, tuple(given), computed), asked)  # type: ignore[arg-type]
        if found is None:
            row: Any = self.get(kind, row_id)
            what = TABLES[kind].__name__.lower()
            raise DatabaseError(f"Only a {state} {what} can end, but the one with id {row_id} is {row.state}.")
        return _row_and_whose(kind, {**found, **read})

    def note(self, kind: str, payload: Mapping[str, Any]) -> None:
        """Have a new event of the search written by `write_events`, with all that were noted before.

        Args:
            kind: Kind of the event.
            payload: Details, as JSON takes them.
        """
        at = datetime.now(UTC)
        self._noted.append({"search_id": self.search_id, "at": at, "kind": kind, "payload": dict(payload)})

    def write_events(self) -> EventRow | None:
        """Write the events that were noted, in their order, and return the last one."""
        if not self._noted:
            return None
        *earlier, last = self._noted
        if earlier:
            self._connection.execute(_EVENTS, earlier)
        self._noted.clear()
        given, read, _ = _written(last)
        key = self._connection.execute(_EVENTS, given).inserted_primary_key
        assert key is not None
        event = checked(EventRow, {"id": key[0]} | read)
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

    def _one(self, statement: Executable, values: Mapping[str, Any]) -> RowMapping | None:
        """What a statement returns of the one row that it wrote; None if it wrote none."""
        return self._connection.execute(statement, values).mappings().one_or_none()

    @cached_property
    def _connection(self) -> Connection:
        return self.session.connection()


_SEARCHES: Any = Search.__table__
_TOUCH = update(_SEARCHES).where(
    _SEARCHES.c.id == bindparam("of_search"), _SEARCHES.c.lease_token == bindparam("of_token")
)
_EVENTS = insert(Event.__table__)  # type: ignore[arg-type]


def _row_and_whose(kind: type[R], values: Mapping[str, Any]) -> tuple[R, dict[str, Any]]:
    """The row of these values of its columns, and what an event says of its trial and student."""
    row = checked(kind, {name: values.get(name) for name in _names(kind)})  # type: ignore[arg-type]
    student = {name: values[name] for name in OF_STUDENT} if kind is EvaluationRow else {}
    return row, student | named(values["number"], values["reference"])


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


def _written(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], Computed]:
    """What columns are given for these values, the values as they will be read, and the expressions among them."""
    computed = tuple((name, value) for name, value in values.items() if isinstance(value, ColumnElement))
    both = {name: written(value) for name, value in values.items() if not isinstance(value, ColumnElement)}
    given = {name: value for name, (value, _) in both.items()}
    return given, {name: read for name, (_, read) in both.items()}, computed


@cache
def _select(kind: type, *names: str) -> Select[Any]:
    columns = table_of(kind).c
    wanted = [columns[name] for name in _names(kind)]
    criteria = (columns[name] == bindparam(name) for name in ("search_id", *names))
    return select(*wanted).where(*criteria).order_by(columns.id)
