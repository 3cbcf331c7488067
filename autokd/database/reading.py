"""Reading a database, which anybody may do while a controller writes."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.orm import Session

from autokd.database.engine import database_url, open_engine, shown
from autokd.database.errors import DamagedRow, DatabaseError, DatabaseGone, DatabaseUnavailable, UnknownSearch
from autokd.database.models import Base, Evaluation, Event, Search, Student, Trial
from autokd.database.outages import Patience, is_outage, patient
from autokd.database.rows import EvaluationRow, EventRow, Purpose, SearchRow, StudentRow, TrialRow
from autokd.database.schema import prepare
from autokd.errors import first_line

__all__ = ["TABLES", "Reader", "find_search", "row_of", "translated"]

R = TypeVar("R")

TABLES: dict[type, type[Base]] = {
    SearchRow: Search,
    TrialRow: Trial,
    StudentRow: Student,
    EvaluationRow: Evaluation,
    EventRow: Event,
}


class Reader:
    """An open database, created or upgraded if necessary.

    May be used from several threads, and from several processes if each opens its own. Rows come as frozen values, each
    list from one consistent query.

    Args:
        where: A SQLite file, `sqlite:///PATH` or `postgresql://...`; the folder of a file is made if it is missing.
        create: Whether to make a database where there is none; if false that is an error.
        patience: How outages are waited out, now and in every verb; by default they are errors.

    Raises:
        DatabaseError: If it cannot be used; then nothing was changed.
    """

    def __init__(self, where: str | Path, create: bool = True, patience: Patience | None = None) -> None:
        url = database_url(where)
        self.engine = open_engine(url)
        self.patience = patience or Patience()
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
        """Close all connections."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @patient
    def searches(self) -> list[SearchRow]:
        """All searches, oldest first."""
        with self.session() as session:
            return _rows(SearchRow, session.scalars(select(Search).order_by(Search.id)))

    @patient
    def search(self, name: str | int) -> SearchRow:
        """The search with this name or id.

        Raises:
            UnknownSearch: If there is none; the message offers similar names.
        """
        with self.session() as session:
            return row_of(SearchRow, find_search(session, name))

    @patient
    def trials(self, search_id: int) -> list[TrialRow]:
        """A search's trials by number, without references."""
        with self.session() as session:
            query = select(Trial).where(Trial.search_id == search_id, Trial.reference.is_(None)).order_by(Trial.number)
            return _rows(TrialRow, session.scalars(query))

    @patient
    def references(self, search_id: int) -> list[TrialRow]:
        """A search's references in the order in which they were opened."""
        query = select(Trial).where(Trial.search_id == search_id, Trial.reference.is_not(None))
        with self.session() as session:
            return _rows(TrialRow, session.scalars(query.order_by(Trial.number.desc())))

    @patient
    def students(self, search_id: int, purpose: Purpose | None = None) -> list[StudentRow]:
        """A search's students in the order in which they were added, of one purpose or all."""
        query = select(Student).where(Student.search_id == search_id).order_by(Student.id)
        if purpose is not None:
            query = query.where(Student.purpose == purpose)
        with self.session() as session:
            return _rows(StudentRow, session.scalars(query))

    @patient
    def evaluations(self, search_id: int) -> list[EvaluationRow]:
        """A search's evaluations in the order in which they were first opened."""
        with self.session() as session:
            query = select(Evaluation).where(Evaluation.search_id == search_id).order_by(Evaluation.id)
            return _rows(EvaluationRow, session.scalars(query))

    @patient
    def events(self, search_id: int, after: int = 0) -> list[EventRow]:
        """A search's events with an id above `after`, in order; none with a smaller id appears later."""
        with self.session() as session:
            query = select(Event).where(Event.search_id == search_id, Event.id > after).order_by(Event.id)
            return _rows(EventRow, session.scalars(query))

    @patient
    def last_events(self, search_id: int, n: int) -> list[EventRow]:
        """The last `n` events of a search, the newest last."""
        with self.session() as session:
            query = select(Event).where(Event.search_id == search_id).order_by(Event.id.desc()).limit(n)
            return _rows(EventRow, session.scalars(query))[::-1]

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
        lock: Whether to lock its row until the transaction ends.

    Raises:
        UnknownSearch: If there is none; the message offers similar names.
    """
    query = select(Search).where(Search.id == name if isinstance(name, int) else Search.name == name)
    found = session.scalar(query.with_for_update() if lock else query)
    if found is not None:
        return found
    names = session.scalars(select(Search.name)).all()
    near = get_close_matches(str(name), names) or sorted(names)[:5]
    known = f"did you mean {' or '.join(map(repr, near))}?" if near else "this database has no search yet."
    raise UnknownSearch(f"There is no search {name!r}: {known}")


def row_of(kind: type[R], model: Base) -> R:
    """The model's fields as a frozen row.

    Raises:
        DamagedRow: If a column holds what is none of its type.
    """
    checks = _checks(kind)  # type: ignore[arg-type]
    values = {name: getattr(model, name) for name in checks.model_fields}
    try:
        checks.model_validate(values)
    except ValidationError as error:
        raise DamagedRow(model.__tablename__, values["id"], _damage(error)) from None
    return kind(**values)


@cache
def _checks(kind: type) -> type[BaseModel]:
    """The types of a row's columns."""
    columns: Any = {field.name: (field.type, ...) for field in fields(kind)}
    return create_model(kind.__name__, __config__=ConfigDict(strict=True, protected_namespaces=()), **columns)


def _damage(error: ValidationError) -> str:
    """The first error, such as `created_at should be a valid datetime, but is 'soon'`."""
    first = error.errors()[0]
    return f"{first['loc'][0]} {first['msg'].removeprefix('Input ')}, but is {first['input']!r:.60}"


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


def _rows(kind: type[R], models: Iterable[Base]) -> list[R]:
    return [row_of(kind, model) for model in models]


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
        raise kind(
            f"The database {shown(engine.url)} must be there, writable and free, but it says: {said}."
        ) from error
    except StatementError as error:
        if isinstance(error.orig, DatabaseError):
            raise error.orig from error  # a column type refused a value
        raise
