"""What tests see of the processes of others."""

from pathlib import Path

import psutil

from autokd.testing.executors import wait_until

__all__ = ["gone", "read"]


def gone(process_id: int) -> bool:
    """Whether there is no such process any more."""
    try:
        return psutil.Process(process_id).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def read(mark: Path) -> int:
    """The process id that a task of `autokd.testing.tasks` writes into this file."""
    wait_until(mark.exists)
    return int(mark.read_text())
