"""The lease of a search: its row names the one controller that owns it, and a token fences off all earlier owners.

A lease is free if it was released, if its owner's process on this machine no longer exists, or if an owner on another
machine has sent no heartbeat for some time. A process on this machine that exists but sends no heartbeat is stopped or
busy, and keeps its lease until it is ended.
"""

import functools
import hashlib
import os
import socket
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from autokd.database.errors import LeaseHeld, LeaseLost, NotRunning
from autokd.database.models import Search
from autokd.database.outages import patient
from autokd.database.reading import Reader, find_search
from autokd.database.row_checks import row_of
from autokd.database.rows import SearchRow, StopMode
from autokd.database.store import Store
from autokd.database.writing import Lease, fenced, record

__all__ = ["TTL_SECONDS", "Lease", "acquire", "heartbeat", "is_owned", "release", "request_stop"]

# Twelve missed heartbeats, one every five seconds: a busy server or a slow network does not count as death.
TTL_SECONDS = 60.0
# The boot time is in whole seconds, and may be rounded otherwise from one second to the next.
_START_TOLERANCE_SECONDS = 2.0


@patient
def acquire(store: Store, search: str | int, ttl_seconds: float = TTL_SECONDS) -> Lease:
    """Acquire the lease of a search for this process; all earlier leases of the search become void.

    Args:
        store: The database.
        search: Name or id.
        ttl_seconds: Time after which an owner on another machine that sends no heartbeat counts as dead.

    Raises:
        UnknownSearch: If there is no such search.
        LeaseHeld: If another process owns it; the message says which, where, and since when it is silent.
    """
    with store.transaction() as session:
        row = find_search(session, search, lock=True)
        now = _now(session)
        before = _Owner.of(row)
        if before is not None and before.is_alive(now, ttl_seconds):
            raise LeaseHeld(_held(row.name, before, now, ttl_seconds))
        _occupy(row, _Owner.this(now))
        row.lease_token += 1
        payload = {"token": row.lease_token, "host": row.lease_host, "pid": row.lease_pid}
        record(session, row, "lease_acquired", {**payload, "before": None if before is None else before.label})
        return Lease(row.id, row.lease_token)


@patient
def is_owned(store: Reader, search: str | int, ttl_seconds: float = TTL_SECONDS) -> bool:
    """Whether a live controller owns the search; one that was killed did not release its lease.

    Args:
        store: The database.
        search: Name or id of the search.
        ttl_seconds: Silence, in seconds, after which an owner on another machine counts as dead.

    Raises:
        UnknownSearch: If there is no such search.
    """
    with store.session() as session:
        owner = _Owner.of(find_search(session, search))
        return owner is not None and owner.is_alive(_now(session), ttl_seconds)


def heartbeat(store: Store, lease: Lease) -> StopMode | None:
    """Record that the owner is alive, and return how it was asked to stop; to be called about every five seconds.

    Raises:
        LeaseLost: If the lease changed hands.
    """
    with store.transaction() as session:
        search = fenced(session, lease)
        search.lease_heartbeat_at = _now(session)
        return search.stop  # type: ignore[return-value]


def request_stop(store: Store, search: str | int, mode: StopMode, ttl_seconds: float = TTL_SECONDS) -> SearchRow:
    """Ask the owner of a search to stop, and return the row that names it; it hears of that at its next heartbeat.

    Args:
        store: The database.
        search: Name or id of the search.
        mode: "gracefully", once the running evaluations have ended, or "now".
        ttl_seconds: Silence, in seconds, after which an owner on another machine counts as dead.

    Raises:
        UnknownSearch: If there is no such search.
        NotRunning: If nobody owns it.
    """
    with store.transaction() as session:
        row = find_search(session, search, lock=True)
        owner = _Owner.of(row)
        if owner is None or not owner.is_alive(_now(session), ttl_seconds):
            raise NotRunning(f"Only a search that runs can be stopped, but nobody runs {row.name!r}.")
        row.stop = mode
        record(session, row, "stop_requested", {"mode": mode})
        return row_of(SearchRow, row)


@patient
def release(store: Store, lease: Lease) -> bool:
    """Release the lease, and return whether it was still held; a lost lease is no error here."""
    try:
        with store.transaction() as session:
            search = fenced(session, lease)
            _vacate(search)
            search.lease_token += 1  # so that this lease is void, too
            record(session, search, "lease_released", {"token": lease.token})
    except LeaseLost:
        return False
    return True


@dataclass(frozen=True)
class _Owner:
    host: str
    machine: str
    pid: int
    process_started: float
    heartbeat_at: datetime

    @classmethod
    def of(cls, row: Search) -> "_Owner | None":
        values = (row.lease_host, row.lease_machine, row.lease_pid, row.lease_process_started, row.lease_heartbeat_at)
        return None if any(value is None for value in values) else cls(*values)  # type: ignore[arg-type]

    @classmethod
    def this(cls, now: datetime) -> "_Owner":
        process = psutil.Process()
        return cls(socket.gethostname(), _machine(), process.pid, _started(process), now)

    @property
    def label(self) -> str:
        return f"process {self.pid} on {self.host}"

    def is_alive(self, now: datetime, ttl_seconds: float) -> bool:
        if self.machine != _machine():
            return self.silent_seconds(now) < ttl_seconds
        try:
            process = psutil.Process(self.pid)
            started = _started(process)
            return process.status() != psutil.STATUS_ZOMBIE and (
                abs(started - self.process_started) < _START_TOLERANCE_SECONDS
            )
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:  # another user's process: there, and more we cannot know
            return True

    def silent_seconds(self, now: datetime) -> float:
        return (now - self.heartbeat_at).total_seconds()


def _started(process: psutil.Process) -> float:
    """Seconds from the boot of this machine to the start of a process; a time of day would move as the clock is set."""
    return process.create_time() - psutil.boot_time()


def _occupy(row: Search, owner: _Owner) -> None:
    row.lease_host, row.lease_machine = owner.host, owner.machine
    row.lease_pid, row.lease_process_started = owner.pid, owner.process_started
    row.lease_heartbeat_at = owner.heartbeat_at
    row.stop = None


def _vacate(row: Search) -> None:
    row.lease_host = row.lease_machine = row.lease_pid = row.lease_process_started = row.lease_heartbeat_at = None
    row.stop = None


def _held(name: str, owner: _Owner, now: datetime, ttl_seconds: float) -> str:
    way_out = f"wait until it was silent for {ttl_seconds:.0f} s"
    if owner.machine == _machine():
        way_out = "release it first: it is this very process" if owner.pid == os.getpid() else "end it first"
    return (
        f"Search {name!r} is run by {owner.label} (last heartbeat {owner.silent_seconds(now):.0f} s ago), and only one "
        f"controller may run it: {way_out}."
    )


def _now(session: Session) -> datetime:
    """The time of the clock that all owners share: the server's, or with SQLite this machine's."""
    if session.get_bind().dialect.name == "postgresql":
        moment = session.scalars(select(func.clock_timestamp())).one()
        assert isinstance(moment, datetime)
        return moment.astimezone(UTC)
    return datetime.now(UTC)


@functools.cache
def _machine() -> str:
    """Name of the scope in which a process id is unique: machine, boot and container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        space = f"{uuid.getnode():x}"
    return hashlib.sha256(space.encode()).hexdigest()[:16]
