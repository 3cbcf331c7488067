"""Free space on a disk."""

import shutil
from pathlib import Path

from autokd.errors import DiskFullError

__all__ = ["check_space", "size_text"]


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
    free = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free
    if n_bytes > free:
        raise DiskFullError(
            f"{what} need {size_text(n_bytes)} in {folder}, but the disk has {size_text(free)} left: {advice}."
        )


def size_text(n_bytes: int) -> str:
    """A number of bytes for people."""
    return f"{n_bytes / 1e9:,.4g} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:,.3g} MB"
