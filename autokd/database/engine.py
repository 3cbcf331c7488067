"""Engines for a file or a URL, with transactions that are safe for several processes."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError

from autokd.database.errors import DatabaseError, DatabaseGone, DatabaseUnavailable
from autokd.database.types import encoded, undecoded

__all__ = ["database_url", "open_engine", "shown", "write_connection"]

# Far longer than any transaction of ours: a writer that waits this long is blocked by a stopped process.
_BUSY_SECONDS = 60.0
_BEGIN = "begin"  # how a connection begins its next transaction

# What libpq is told unless the URL says otherwise: a server that vanishes without a word is noticed within a minute.
_CONNECTING = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,  # milliseconds
}
_JSON: Any = {"json_serializer": encoded, "json_deserializer": undecoded}
_PRINTABLE = ("host", "port", "dbname")  # keys of a URL's query that hold no secret


def database_url(where: str | Path) -> URL:
    """The URL of a SQLite file (a path or `sqlite:///PATH`) or of a PostgreSQL database (`postgresql://...`).

    Raises:
        DatabaseError: If it is neither; the message repeats nothing of a URL that may be its password.
    """
    if isinstance(where, Path) or "://" not in where:
        return URL.create("sqlite", database=str(Path(where).expanduser()))
    try:
        url = make_url(where)
        (url.host or "").encode("idna")
    except (ArgumentError, ValueError):  # the latter of a port that is no number, or a host that is no name
        raise DatabaseError(_UNREADABLE) from None
    kind = url.get_backend_name()
    if kind == "sqlite":
        if url.database in (None, "", ":memory:") or url.host or url.username or url.password:
            raise DatabaseError("A SQLite database must be a file that several processes can open: sqlite:///PATH.")
        return URL.create("sqlite", database=url.database)
    if kind not in ("postgresql", "postgres"):
        raise DatabaseError(f"A database must be a file or postgresql://..., but got {kind!r}.")
    if "@" in (url.host or ""):  # the rest of a password
        raise DatabaseError(_UNREADABLE)
    return url.set(drivername="postgresql+psycopg")


def shown(url: URL) -> str:
    """The URL as it may be printed: without password, and without what else may be secret."""
    known = {key: value for key, value in url.query.items() if key in _PRINTABLE}
    return url.set(query=known).render_as_string(hide_password=True)


def open_engine(url: URL, follows: bool = False) -> Engine:
    """The engine for a URL of `database_url`; it connects when first used.

    SQLite: write-ahead log, full synchronisation (a committed row survives power loss), foreign keys, and waiting
    instead of failing while another process writes. If the file is removed or replaced, what is written to it is lost:
    each use is then refused.

    Args:
        url: The URL.
        follows: Whether the file that has taken the place of another one is used from then on.

    Raises:
        DatabaseUnavailable: If the driver is not installed.
        DatabaseError: If the URL's parameters make no sense.
    """
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, follows)
    try:
        return _postgresql_engine(url)
    except ImportError as error:
        raise DatabaseUnavailable(f"PostgreSQL needs psycopg: pip install 'autokd[postgresql]' ({error}).") from error
    except ArgumentError:
        raise DatabaseError(_UNREADABLE) from None


@contextmanager
def write_connection(engine: Engine) -> Iterator[Connection]:
    """A connection for one transaction that writes.

    On SQLite it takes the write lock when it begins: one that reads first and then writes would fail, not wait, if
    another had written in between.
    """
    with engine.connect() as connection:
        connection.info[_BEGIN] = "IMMEDIATE"
        try:
            yield connection
        finally:
            connection.info.pop(_BEGIN, None)  # the next transaction of the connection may be another's


def _postgresql_engine(url: URL) -> Engine:
    connecting = {key: value for key, value in _CONNECTING.items() if key not in url.query}
    engine = create_engine(url, pool_pre_ping=True, connect_args=connecting, **_JSON)
    engine.dialect.create_connect_args(url)  # raises what connecting would

    @event.listens_for(engine, "connect")
    def configure(connection: Any, record: Any) -> None:
        # Neither a stopped process nor one whose connection was cut keeps others waiting for ever.
        for setting in ("lock_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(f"SET {setting} = '{_BUSY_SECONDS:.0f}s'")
        connection.commit()

    return engine


def _sqlite_engine(url: URL, follows: bool) -> Engine:
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS}, **_JSON)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, record: Any) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself; `begin` below does
        cursor = connection.cursor()
        _use_write_ahead_log(cursor)
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    def begin(dbapi_connection: Any) -> None:
        dbapi_connection.execute(f"BEGIN {dbapi_connection.info.pop(_BEGIN, 'DEFERRED')}")

    # A listener to "begin" would do as well, but with one each statement takes half as long again.
    engine.dialect.do_begin = begin  # type: ignore[method-assign]
    (_follow_replacement if follows else _refuse_replacement)(engine)
    return engine


def _follow_replacement(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def remember(connection: sqlite3.Connection, record: Any) -> None:
        record.info["file"] = _identity(engine.url)

    @event.listens_for(engine, "checkout")
    def compare(connection: sqlite3.Connection, record: Any, proxy: Any) -> None:
        if record.info["file"] != _identity(engine.url):
            raise DisconnectionError  # the pool connects anew


def _refuse_replacement(engine: Engine) -> None:
    first: list[tuple[int, int] | None] = []

    @event.listens_for(engine, "connect")
    def remember(*_: object) -> None:
        first[:] = first or [_identity(engine.url)]

    @event.listens_for(engine, "do_connect")  # which would make a file where there is none
    @event.listens_for(engine, "checkout")
    def compare(*_: object) -> None:
        if first and first[0] != _identity(engine.url):
            raise DatabaseUnavailable(
                f"The database {shown(engine.url)} must stay the same file while it is used, but the file was removed "
                "or replaced: what was written to it since is lost."
            )


def _identity(url: URL) -> tuple[int, int] | None:
    """What no other file has while it is open; None if there is none."""
    try:
        found = os.stat(str(url.database))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DatabaseGone(f"The database {shown(url)} must be there, but it says: {error.strerror}.") from error
    return found.st_dev, found.st_ino


def _use_write_ahead_log(cursor: sqlite3.Cursor) -> None:
    # Only the first connection to a new file changes anything. SQLite does not wait for a lock here, so we do.
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


_UNREADABLE = (
    "A database must be a file or a URL such as postgresql://USER:PASSWORD@HOST:PORT/NAME, but this one cannot be "
    "read: the port must be a number, and characters such as @ : / in a password are written %40 %3A %2F."
)
