"""Engines for a file or a URL, with transactions that are safe for several processes."""

import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from autokd.database.errors import DatabaseError, DatabaseUnavailable

__all__ = ["database_url", "open_engine", "write_engine"]

# Far longer than any transaction of ours: a writer that waits this long is blocked by a stopped process.
_BUSY_SECONDS = 60.0
_BEGIN = "sqlite_begin"


def database_url(where: str | Path) -> URL:
    """The URL of a SQLite file (a path or `sqlite:///PATH`) or of a PostgreSQL database (`postgresql://...`).

    Raises:
        DatabaseError: If it is neither.
    """
    if isinstance(where, Path) or "://" not in where:
        return URL.create("sqlite", database=str(Path(where).expanduser()))
    try:
        url = make_url(where)
    except ArgumentError as error:
        raise DatabaseError(f"A database must be a file or a URL, but got {where!r}: {error}") from error
    kind = url.get_backend_name()
    if kind == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise DatabaseError(f"A SQLite database must be a file that several processes can open, but got {where!r}.")
        return url.set(drivername="sqlite")
    if kind in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise DatabaseError(f"A database must be a file, sqlite:///PATH or postgresql://..., but got {kind!r} in {url!r}.")


def open_engine(url: URL) -> Engine:
    """The engine for a URL of `database_url`; it connects when first used.

    SQLite: write-ahead log, full synchronisation (a committed row survives power loss), foreign keys, and waiting
    instead of failing while another process writes.

    Raises:
        DatabaseUnavailable: If the driver is not installed.
    """
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url)
    try:
        return create_engine(url, pool_pre_ping=True)
    except ImportError as error:
        raise DatabaseUnavailable(f"PostgreSQL needs psycopg: pip install 'autokd[postgresql]' ({error}).") from error


def write_engine(engine: Engine) -> Engine:
    """The same engine for transactions that write.

    On SQLite such a transaction takes the write lock when it begins: one that reads first and then writes would fail,
    not wait, if another had written in between.
    """
    return engine.execution_options(**{_BEGIN: "IMMEDIATE"})


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, record: Any) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself; `begin` below does
        cursor = connection.cursor()
        _use_write_ahead_log(cursor)
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get(_BEGIN, 'DEFERRED')}")

    return engine


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
