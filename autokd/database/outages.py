"""Outages: which errors of a driver pass by themselves, and how a search waits until its database answers again."""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy.exc import DBAPIError, OperationalError

from autokd.core.disk import is_full
from autokd.database.errors import DatabaseGone

__all__ = ["Patience", "disk_remark", "is_forbidden", "is_outage", "is_sqlite_outage", "patient"]

P = ParamSpec("P")
R = TypeVar("R")

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 10.0

# Locked by another process, a full disk, and what full disks and network file systems answer.
_SQLITE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
# Connection lost (08), no disk, memory or connection left (53), shut down (57P), system error (58), read-only as a
# standby is during a fail-over, deadlock or lost race (40), and a lock that was not free in time.
_POSTGRESQL = ("08", "53", "57P", "58", "25006", "40", "55P03")


@dataclass
class Patience:
    """How long outages of a database are waited out, and who hears of them.

    Used from one thread.

    Attributes:
        seconds: The longest outage that is waited out; 0 waits out none.
        notify: Called with one line when the database is gone, and one when it is back.
    """

    seconds: float = 0.0
    notify: Callable[[str], None] = lambda line: None
    _gone_since: float | None = None
    _pause_seconds: float = _FIRST_PAUSE_SECONDS

    def call(self, verb: Callable[[], R]) -> R:
        """What a verb returns, called again after each outage.

        Raises:
            DatabaseGone: If an outage lasts too long; every later call is then tried only once, until one succeeds.
        """
        found = self.ask(verb)
        if self._gone_since is not None:
            self.notify(f"database back after {time.monotonic() - self._gone_since:.1f} s")
            self._gone_since, self._pause_seconds = None, _FIRST_PAUSE_SECONDS
        return found

    def ask(self, verb: Callable[[], R]) -> R:
        """The same for a verb whose answer does not mean that the outage is over."""
        while True:
            try:
                return verb()
            except DatabaseGone as error:
                self.wait(error)

    def wait(self, error: DatabaseGone) -> None:
        """Wait before the next attempt, longer each time.

        Raises:
            DatabaseGone: The error, if the outage lasts too long.
        """
        if self.seconds and self._gone_since is None:
            self._gone_since = time.monotonic()
            self.notify(f"database gone: trying again for up to {self.seconds:g} s. {error}")
        if self._gone_since is None or time.monotonic() - self._gone_since > self.seconds:
            raise error
        time.sleep(self._pause_seconds)
        self._pause_seconds = min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)


class _Patient(Protocol):
    patience: Patience


S = TypeVar("S", bound=_Patient)


def patient(verb: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """The verb, one transaction on the store that is its first argument, called again after each outage."""

    @wraps(verb)
    def call(store: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return store.patience.call(lambda: verb(store, *args, **kwargs))

    return call


def is_outage(error: DBAPIError) -> bool:
    """Whether waiting may help: the database is out of reach, stopped, locked or full, but not damaged or forbidden."""
    if isinstance(error.orig, sqlite3.Error):
        return is_sqlite_outage(error.orig)
    state: str | None = getattr(error.orig, "sqlstate", None)
    if state is None:  # there was no answer
        return error.connection_invalidated or isinstance(error, OperationalError)
    return state.startswith(_POSTGRESQL)


def is_sqlite_outage(error: sqlite3.Error) -> bool:
    """The same of what SQLite itself raises."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _SQLITE  # the rest of the code says more


def is_forbidden(error: sqlite3.Error) -> bool:
    """Whether the system lets SQLite not open a file, or not write what it keeps beside it."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}


def disk_remark(file: str | Path | None) -> str:
    """What an error of a SQLite file is to say of its disk: that it is full, or nothing."""
    return "; its disk is full: make room" if file is not None and is_full(Path(file).parent) else ""
