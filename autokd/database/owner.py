"""The process that owns a row, told from all others by machine, boot and start, and whether it lives."""

import functools
import hashlib
import os
import socket
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from autokd.database.models import Leased

__all__ = ["NOBODY", "TTL_SECONDS", "Owner", "machine", "now_of", "occupy", "vacate"]

# Twelve missed heartbeats, one every five seconds: a busy server or a slow network does not count as death.
TTL_SECONDS = 60.0
NOBODY = dict.fromkeys(("lease_host", "lease_machine", "lease_pid", "lease_process_started", "lease_heartbeat_at"))
"""The columns of a row that nobody owns."""

# The boot time is in whole seconds, and may be rounded otherwise from one second to the next.
_START_TOLERANCE_SECONDS = 2.0


@dataclass(frozen=True)
class Owner:
    """A process that owns a row: a search, or a job of the queue."""

    host: str
    machine: str
    pid: int
    process_started: float
    heartbeat_at: datetime

    @classmethod
    def of(cls, row: "Leased | Row[*tuple[Any, ...]]") -> "Owner | None":
        """Who owns a row, or a row of these columns; None if nobody does."""
        values = (row.lease_host, row.lease_machine, row.lease_pid, row.lease_process_started, row.lease_heartbeat_at)
        return None if any(value is None for value in values) else cls(*values)  # type: ignore[arg-type]

    @classmethod
    def this(cls, now: datetime) -> "Owner":
        """The process that asks."""
        process = psutil.Process()
        return cls(socket.gethostname(), machine(), process.pid, _started(process), now)

    @property
    def label(self) -> str:
        """Its name for people."""
        return f"process {self.pid} on {self.host}"

    def is_alive(self, now: datetime, ttl_seconds: float = TTL_SECONDS) -> bool:
        """Whether it exists or, on another machine, was heard of within so many seconds."""
        if self.machine != machine():
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

    @property
    def is_this(self) -> bool:
        """Whether it is the process that asks, which is the only one alive of its id."""
        return (self.machine, self.pid) == (machine(), os.getpid())

    def silent_seconds(self, now: datetime) -> float:
        """Time since it was heard of."""
        return (now - self.heartbeat_at).total_seconds()


def occupy(row: Leased, owner: Owner) -> None:
    """Let a process own a row."""
    row.lease_host, row.lease_machine = owner.host, owner.machine
    row.lease_pid, row.lease_process_started = owner.pid, owner.process_started
    row.lease_heartbeat_at = owner.heartbeat_at


def vacate(row: Leased) -> None:
    """Let nobody own a row."""
    for column in NOBODY:
        setattr(row, column, None)


def now_of(session: Session) -> datetime:
    """The time of the clock that all owners share: the server's, or with SQLite this machine's."""
    if session.get_bind().dialect.name == "postgresql":
        moment = session.scalars(select(func.clock_timestamp())).one()
        assert isinstance(moment, datetime)
        return moment.astimezone(UTC)
    return datetime.now(UTC)


@functools.cache
def machine() -> str:
    """Name of the scope in which a process id is unique: machine, boot and container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        space = f"{uuid.getnode():x}"
    return hashlib.sha256(space.encode()).hexdigest()[:16]


def _started(process: psutil.Process) -> float:
    """Seconds from the boot of this machine to the start of a process; a time of day would move as the clock is set."""
    return process.create_time() - psutil.boot_time()
