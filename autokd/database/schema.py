"""Upgrading a database to this version's tables, or refusing it unchanged."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from weakref import WeakSet

from sqlalchemy import Connection, Engine, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from autokd.database.engine import shown, write_connection
from autokd.database.errors import DatabaseGone, DatabaseUnavailable, LeaseHeld, NotOurDatabase, UnknownRevision
from autokd.database.models import REVISION, Search
from autokd.database.outages import disk_remark, is_forbidden, is_sqlite_outage
from autokd.database.owner import Owner, now_of

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["prepare"]

_VERSION_TABLE = "alembic_version"
_VERSION = text(f"SELECT version_num FROM {_VERSION_TABLE}")
_PREPARED: WeakSet[Engine] = WeakSet()  # of which one look at the version is enough, see `_has_newest_tables`
# Any number that no other program is likely to lock in the same PostgreSQL database.
_ADVISORY_LOCK = 0x4175746F4B44


def prepare(engine: Engine, create: bool) -> None:
    """Create or upgrade the tables; processes that do so at the same time wait for each other.

    Args:
        engine: From `open_engine`.
        create: Whether a database without tables is accepted.

    Raises:
        DatabaseUnavailable: If there is nothing and `create` is false.
        NotOurDatabase: If the file is no database, or holds tables of another program.
        UnknownRevision: If a newer version wrote it.
        LeaseHeld: If an earlier version wrote it, and a process of that version runs a search in it. In all four cases
            nothing was written.
    """
    if engine in _PREPARED and _has_newest_tables(engine):
        return
    if engine.dialect.name == "sqlite":
        # Before the first real connection, which would switch the file to a write-ahead log.
        revision = _sqlite_revision(Path(str(engine.url.database)))
    else:
        with engine.connect() as connection:
            revision = _revision(inspect(connection).get_table_names(), connection, engine)
    _check(revision, engine, create)
    if revision != REVISION:
        with _exclusive(engine) as connection:
            if revision is not None:
                _check_unused(connection, engine)
            _upgrade(connection)
    _PREPARED.add(engine)


def _has_newest_tables(engine: Engine) -> bool:
    """Whether an engine that was prepared before needs nothing, as far as one of its connections tells at once."""
    with suppress(DBAPIError), engine.connect() as connection:
        return connection.execute(_VERSION).scalar() == REVISION
    return False


def _check(revision: str | None, engine: Engine, create: bool) -> None:
    if revision is None and not create:
        raise DatabaseUnavailable(
            f"There must be a database at {shown(engine.url)}, but there is none; check the path."
        )
    if revision not in (None, REVISION) and revision not in _known_revisions():
        raise UnknownRevision(
            f"The database {shown(engine.url)} has revision {revision!r}, but this version of autokd knows them up to "
            f"{REVISION!r}; upgrade autokd or use another database. Nothing was changed."
        )


def _sqlite_revision(file: Path) -> str | None:
    if not file.exists() or (file.is_file() and file.stat().st_size == 0):
        return None
    # Never opened but by SQLite: closing any other handle on the file drops the locks of this process' connections,
    # https://www.sqlite.org/howtocorrupt.html section 2.2.
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=60)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables:
                return None
            if _VERSION_TABLE in tables:
                rows = connection.execute(str(_VERSION)).fetchall()
                return str(rows[0][0]) if rows else None
    except sqlite3.DatabaseError as error:
        if is_sqlite_outage(error) and file.is_file():  # a folder is a disk error, too
            raise DatabaseGone(
                f"The database {file} must be there, writable and free, but it says: {error}{disk_remark(file)}."
            ) from error
        if is_forbidden(error) and file.is_file():
            raise DatabaseUnavailable(
                f"The database {file} must be readable, and in a folder that can be written, even to be read, but of "
                f"it SQLite says: {error}."
            ) from error
        raise NotOurDatabase(f"The database must be a SQLite file, but of {file} SQLite says: {error}.") from error
    raise NotOurDatabase(_FOREIGN.format(where=file, tables=", ".join(sorted(tables)[:3])))


def _revision(tables: list[str], connection: Connection, engine: Engine) -> str | None:
    if not tables:
        return None
    if _VERSION_TABLE not in tables:
        raise NotOurDatabase(_FOREIGN.format(where=shown(engine.url), tables=", ".join(sorted(tables)[:3])))
    row = connection.execute(_VERSION).first()
    return None if row is None else str(row[0])


@contextmanager
def _exclusive(engine: Engine) -> Iterator[Connection]:
    """A transaction that no other process can hold at the same time."""
    with write_connection(engine) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        yield connection


def _check_unused(connection: Connection, engine: Engine) -> None:
    """Check that no process runs a search, which would fail at its first write to tables that it does not know.

    Only columns that every revision has are read.
    """
    with Session(connection) as session:
        now = now_of(session)
        leased = (Search.lease_host, Search.lease_machine, Search.lease_pid, Search.lease_process_started)
        for row in session.execute(select(Search.name, *leased, Search.lease_heartbeat_at)):
            owner = Owner.of(row)
            if owner is not None and owner.is_alive(now):
                raise LeaseHeld(
                    f"The database {shown(engine.url)} is of an earlier version of autokd, and {owner.label} runs "
                    f"search {row.name!r} in it: let it end or stop it by that version first. Nothing was changed."
                )


def _upgrade(connection: Connection) -> None:
    from alembic import command  # only when there is something to upgrade: it takes a while to import

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _known_revisions() -> set[str]:
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


_FOREIGN = (
    "The database must be empty or autokd's own, but {where} holds other tables ({tables}, ...); choose another one."
)
