"""Reading a database, which anybody may do while a controller writes."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from difflib import get_close_matches
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypeVar

from sqlalchemy import ColumnElement, Engine, Select, and_, func, literal, or_, select
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, defer

from autokd.database.engine import database_url, open_engine, shown
from autokd.database.errors import DamagedRow, DatabaseError, DatabaseGone, DatabaseUnavailable, UnknownSearch
from autokd.database.models import Base, Evaluation, Event, Search, Student, Trial
from autokd.database.outages import Patience, disk_remark, is_outage, patient
from autokd.database.row_checks import TABLES, checked, row_of
from autokd.database.rows import (
    UNREAD,
    EvaluationRow,
    EventRow,
    Purpose,
    SearchRow,
    StudentRow,
    TrialOutcome,
    TrialRow,
    TrialState,
)
from autokd.database.schema import prepare
from autokd.errors import first_line

__all__ = ["IS_FINAL", "IS_REFERENCE", "IS_TRIAL", "NO_LIMITS", "Reader", "cost_of", "find_search", "translated"]

R = TypeVar("R")

# Written into the statement, since only so are these known to be the conditions of partial indexes.
_BEGINS_SESSION = Event.kind == literal("lease_acquired", literal_execute=True)
IS_FINAL = Student.purpose == literal("final", literal_execute=True)
IS_TRIAL, IS_REFERENCE = Trial.number >= 0, Trial.number < 0  # which an index tells
_BEST_FIRST = Trial.rung.desc().nulls_last(), Trial.value.desc(), Trial.number
NO_LIMITS: Mapping[str, int] = MappingProxyType({})


class Reader:
    """An open database, created or upgraded if necessary.

    May be used from several threads, and from several processes if each opens its own. Rows come as frozen values, each
    list from one consistent query.

    Args:
        where: A SQLite file, `sqlite:///PATH` or `postgresql://...`; the folder of a file is made if it is missing. An
            engine from `open_engine` may be shared by several, none of which closes it.
        create: Whether to make a database where there is none; if false that is an error.
        patience: How outages are waited out, now and in every verb; by default they are errors.

    Raises:
        DatabaseError: If it cannot be used; then nothing was changed.
    """

    def __init__(self, where: str | Path | Engine, create: bool = True, patience: Patience | None = None) -> None:
        self._is_shared = isinstance(where, Engine)
        self.engine = where if isinstance(where, Engine) else open_engine(database_url(where))
        self.patience = patience or Patience()
        url = self.engine.url
        try:
            if create and url.get_backend_name() == "sqlite":
                Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
            self._prepare(create)
        except OSError as error:
            self.close()
            raise DatabaseUnavailable(f"The database {shown(url)} must be a usable file, but: {error}") from error
        except BaseException:
            self.close()
            raise

    @patient
    def _prepare(self, create: bool) -> None:
        with translated(self.engine):
            prepare(self.engine, create)

    def close(self) -> None:
        """Close all connections, unless others share them."""
        if not self._is_shared:
            self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @patient
    def searches(self) -> list[SearchRow]:
        """All searches, oldest first."""
        return self.rows(SearchRow, select(*_columns(SearchRow, Search)).order_by(Search.id))

    @patient
    def search(self, name: str | int) -> SearchRow:
        """The search with this name or id.

        Raises:
            UnknownSearch: If there is none; the message offers similar names.
        """
        with self.session() as session:
            return row_of(SearchRow, find_search(session, name))

    @patient
    def trials(self, search_id: int, ids: Collection[int] | None = None) -> list[TrialRow]:
        """A search's trials by number, without references.

        Args:
            search_id: Id of the search.
            ids: Ids of the trials to read; None for all.
        """
        query = select(*_columns(TrialRow, Trial)).where(Trial.search_id == search_id, IS_TRIAL)
        return self.rows(TrialRow, _among(query, Trial.id, ids).order_by(Trial.number))

    @patient
    def references(self, search_id: int) -> list[TrialRow]:
        """A search's references in the order in which they were opened."""
        query = select(*_columns(TrialRow, Trial)).where(Trial.search_id == search_id, IS_REFERENCE)
        return self.rows(TrialRow, query.order_by(Trial.number.desc()))

    @patient
    def students(
        self,
        search_id: int,
        purpose: Purpose | None = None,
        trials: Collection[int] | None = None,
        architectures: bool = True,
    ) -> list[StudentRow]:
        """A search's students in the order in which they were added.

        Args:
            search_id: Id of the search.
            purpose: Purpose of the students to read; None for both.
            trials: Ids of the trials and references whose students to read; None for all.
            architectures: Whether to read the architectures.
        """
        columns = {column.key: column for column in _columns(StudentRow, Student)}
        if not architectures:
            del columns["architecture"]
        query = select(*columns.values()).where(_within(Student, search_id, trials)).order_by(Student.id)
        if purpose is not None:
            query = query.where(_has_purpose(purpose))
        if architectures:
            return self.rows(StudentRow, query)
        with self.session() as session:
            rows = session.execute(query).mappings()
            return [replace(checked(StudentRow, {**row, "architecture": {}}), architecture=UNREAD) for row in rows]

    @patient
    def evaluations(
        self, search_id: int, purpose: Purpose | None = None, trials: Collection[int] | None = None
    ) -> list[EvaluationRow]:
        """A search's evaluations in the order in which they were first opened.

        Args:
            search_id: Id of the search.
            purpose: Purpose of the students whose evaluations to read; None for both.
            trials: Ids of the trials and references whose evaluations to read; None for all.
        """
        query = select(*_columns(EvaluationRow, Evaluation)).order_by(Evaluation.id)
        if purpose is None:
            return self.rows(EvaluationRow, query.where(_within(Evaluation, search_id, trials)))
        query = query.join(Student, Student.id == Evaluation.student_id)
        return self.rows(EvaluationRow, query.where(_within(Student, search_id, trials), _has_purpose(purpose)))

    @patient
    def n_trials(self, search_id: int) -> int:
        """Number of a search's trials, without references."""
        with self.session() as session:
            query = select(func.count()).select_from(Trial).where(Trial.search_id == search_id, IS_TRIAL)
            return session.scalar(query) or 0

    @patient
    def trial_ids(
        self,
        search_id: int,
        *states: TrialState,
        numbers: Collection[int] | None = None,
        most: int | None = None,
    ) -> list[int]:
        """Ids of a search's trials by number, without references.

        Args:
            search_id: Id of the search.
            states: Their states; none for all.
            numbers: Their numbers; None for all.
            most: Only the first so many of them; None for all.
        """
        query = select(Trial.id).where(Trial.search_id == search_id, IS_TRIAL).order_by(Trial.number).limit(most)
        query = _among(_among(query, Trial.state, states or None), Trial.number, numbers)
        with self.session() as session:
            return list(session.scalars(query))

    @patient
    def best_trials(self, search_id: int, n: int, limits: Mapping[str, int] = NO_LIMITS) -> list[int]:
        """Numbers of the best of a search's complete and pruned trials: by highest rung, by value there, by number.

        Args:
            search_id: Id of the search.
            n: How many at most.
            limits: The largest cost of their first students, by name.
        """
        query = select(Trial.number).where(
            Trial.search_id == search_id, IS_TRIAL, Trial.state.in_(("complete", "pruned"))
        )
        if limits:
            first = and_(Student.trial_id == Trial.id, Student.purpose == "search", Student.replicate == 0)
            query = query.join(Student, first).where(*(cost_of(name) <= limit for name, limit in limits.items()))
        with self.session() as session:
            return list(session.scalars(query.order_by(*_BEST_FIRST).limit(n)))

    @patient
    def trial_outcomes(self, search_id: int) -> list[TrialOutcome]:
        """Number, state, values and rung of each of a search's trials, by number, without references."""
        query = select(*_columns(TrialOutcome, Trial)).where(Trial.search_id == search_id, IS_TRIAL)
        return self.rows(TrialOutcome, query.order_by(Trial.number))

    @patient
    def events(self, search_id: int, after: int = 0, most: int | None = None) -> list[EventRow]:
        """A search's events in order; none with a smaller id than one of them appears later.

        Args:
            search_id: Id of the search.
            after: Only events with a larger id.
            most: Only the first so many of them; None for all.
        """
        return self.rows(EventRow, _events(search_id, Event.id > after).order_by(Event.id).limit(most))

    @patient
    def last_events(self, search_id: int, n: int) -> list[EventRow]:
        """The last `n` events of a search, the newest last."""
        return self.rows(EventRow, _events(search_id).order_by(Event.id.desc()).limit(n))[::-1]

    @patient
    def outline(self, search_id: int) -> list[EventRow]:
        """Those events of a search that bound what it spent its time on, in order.

        Of each session they are all until the first trial or reference is opened or ends, and the last one. A session
        without such an event prepares or trains at full length, and has few.
        """
        starts = select(Event.id).where(Event.search_id == search_id, _BEGINS_SESSION).order_by(Event.id)
        with self.session() as session:
            ids = list(session.scalars(starts))
        bounds = zip_longest(ids, ids[1:])
        return [event for first, end in bounds for event in self._session_outline(search_id, first, end)]

    def _session_outline(self, search_id: int, first: int, end: int | None) -> list[EventRow]:
        within = [Event.search_id == search_id, Event.id >= first, *([] if end is None else [Event.id < end])]
        searching = select(Event.id).where(*within, Event.kind.in_(("trial_opened", "trial_finished")))
        with self.session() as session:
            found = session.scalar(searching.order_by(Event.id).limit(1))
            last = session.scalar(select(func.max(Event.id)).where(*within))
        wanted = within if found is None else [*within, or_(Event.id <= found, Event.id == last)]
        return self.rows(EventRow, _events(search_id, *wanted).order_by(Event.id))

    def rows(self, kind: type[R], query: Select[Any]) -> list[R]:
        """The rows that a query finds, whose columns are named as the fields of their kind.

        Args:
            kind: Kind of the rows.
            query: The query.
        """
        with self.session() as session:
            rows = session.execute(query).mappings()
            return [checked(kind, dict(row)) for row in rows]

    @patient
    def scan(self) -> dict[type, tuple[list[Any], list[DamagedRow]]]:
        """All rows of all searches, of one moment: of each kind those that can be read, and why the others cannot."""
        with self.session() as session:
            if self.engine.dialect.name == "postgresql":  # SQLite has no weaker one
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            return {kind: _scanned(kind, session) for kind in TABLES}

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session for reading."""
        with translated(self.engine), Session(self.engine) as session:
            yield session


def find_search(session: Session, name: str | int, lock: bool = False) -> Search:
    """The search with this name or id; with `lock` no other transaction can write it until this one ends.

    Args:
        session: Open session; the search belongs to it.
        name: Name or id of the search.
        lock: Whether to lock its row until the transaction ends; configuration and facts are then read when needed.

    Raises:
        UnknownSearch: If there is none; the message offers similar names.
    """
    query = select(Search).where(Search.id == name if isinstance(name, int) else Search.name == name)
    if lock:
        query = query.options(defer(Search.config), defer(Search.facts)).with_for_update()
    found = session.scalar(query)
    if found is not None:
        return found
    names = session.scalars(select(Search.name)).all()
    raise UnknownSearch(f"There is no search {name!r}: {_instead(str(name), sorted(names))}")


def _instead(name: str, names: Sequence[str]) -> str:
    """Words that offer other names in place of one that does not exist."""
    if near := get_close_matches(name, names):
        return f"did you mean {' or '.join(map(repr, near))}?"
    if not names:
        return "this database has no search yet."
    return f"this database has {', '.join(map(repr, names[:5]))}{', ...' * (len(names) > 5)}."


def _scanned(kind: type[R], session: Session) -> tuple[list[R], list[DamagedRow]]:
    found: list[R] = []
    damaged: list[DamagedRow] = []
    table: Any = TABLES[kind]
    for model in session.scalars(select(table).order_by(table.id)):
        try:
            found.append(row_of(kind, model))
        except DamagedRow as error:
            damaged.append(error)
    return found, damaged


def _columns(kind: type[Any], model: type[Base]) -> list[Any]:
    """The model's columns for the fields of a row."""
    return [getattr(model, field.name) for field in fields(kind)]


def cost_of(name: str) -> Any:
    """Column of a cost of students."""
    return Student.activation_bytes + Student.model_bytes if name == "memory_bytes" else getattr(Student, name)


def _within(model: type[Student | Evaluation], search_id: int, trials: Collection[int] | None) -> ColumnElement[bool]:
    """That a row is of a search, or of some of its trials.

    The search of these is not asked for: SQLite, which does not know how many rows it has, would read them all.
    """
    return model.search_id == search_id if trials is None else model.trial_id.in_(trials)


def _has_purpose(purpose: Purpose) -> ColumnElement[bool]:
    return IS_FINAL if purpose == "final" else Student.purpose == purpose


def _events(search_id: int, *criteria: ColumnElement[bool]) -> Select[Any]:
    return select(*_columns(EventRow, Event)).where(Event.search_id == search_id, *criteria)


def _among(query: Select[Any], column: Any, values: Collection[Any] | None) -> Select[Any]:
    """The query, with the rows whose column has one of these values; all of them for None."""
    return query if values is None else query.where(column.in_(values))


@contextmanager
def translated(engine: Engine) -> Iterator[None]:
    """A block in which errors of the driver or of a column type become `DatabaseError`."""
    try:
        yield
    except IntegrityError as error:
        raise DatabaseError(f"A row must keep the rules of its table, but {first_line(error.orig or error)}") from error
    except DBAPIError as error:
        kind = DatabaseGone if is_outage(error) else DatabaseUnavailable
        said = first_line(error.orig or error)
        if kind is DatabaseGone and engine.dialect.name == "sqlite":
            said += disk_remark(engine.url.database)
        raise kind(
            f"The database {shown(engine.url)} must be there, writable and free, but it says: {said}."
        ) from error
    except PoolTimeout as error:
        raise DatabaseGone(f"The database {shown(engine.url)} must answer, but all connections wait for it.") from error
    except StatementError as error:
        if isinstance(error.orig, DatabaseError):
            raise error.orig from error  # a column type refused a value
        raise
