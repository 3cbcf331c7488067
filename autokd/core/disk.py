"""Free space on a disk."""

import os
import shutil
from pathlib import Path

from autokd.errors import DiskFullError

__all__ = ["check_space", "free_bytes", "is_full", "size_text"]

LEAST_ROOM = 1_000_000  # bytes; a disk with fewer is full: SQLite cannot even read without some of them


def free_bytes(folder: Path) -> int:
    """Free space on the disk of a folder, which need not exist yet, in bytes."""
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if os.path.exists(place))).free


def is_full(folder: Path) -> bool:
    """Whether the disk of a folder, which need not exist yet, is full."""
    return free_bytes(folder) < LEAST_ROOM


def check_space(folder: Path, n_bytes: int, what: str, advice: str) -> None:
    """Raise `DiskFullError` if the disk of a folder has no room for so many bytes.

    Args:
        folder: The folder; it need not exist yet.
        n_bytes: Bytes needed.
        what: Subject of the error message, in the plural.
        advice: End of the error message.

    Raises:
        DiskFullError: If there is no room.
    """
    free = free_bytes(folder)
    if n_bytes > free:
        raise DiskFullError(
            f"{what} need {size_text(n_bytes)} in {folder}, but the disk has {size_text(free)} left: {advice}."
        )


def size_text(n_bytes: int) -> str:
    """A number of bytes for people."""
    return f"{n_bytes / 1e9:,.4g} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:,.3g} MB"
