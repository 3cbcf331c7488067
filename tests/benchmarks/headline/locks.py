"""Locks between processes that share a scratch folder. A lock ends with its process, however that ends."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["alone", "together"]


@contextmanager
def alone(file: Path) -> Iterator[bool]:
    """A block that no other process is in, nor in one of `together`; false, at once, if one is."""
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_alone = True
        except OSError:
            is_alone = False
        yield is_alone


@contextmanager
def together(file: Path) -> Iterator[None]:
    """A block that waits while another process is `alone`, and that several may be in."""
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield
