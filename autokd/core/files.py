"""Atomic files, complete or absent: written under a temporary name, flushed to disk, then renamed."""

import json
import os
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from autokd.errors import DiskFullError

__all__ = [
    "UNFINISHED",
    "UNREADABLE",
    "files_in",
    "followed_by",
    "noticing_full_disk",
    "write_atomically",
    "write_json",
]

UNFINISHED = re.compile(r"\.(?P<name>.+)\.\w{8}\.part|\.tmp\w{6}")
"""Names under which `write_atomically`, and safetensors beside it, write a file; `name` is the final one, if known."""

UNREADABLE = (OSError, EOFError, TypeError, ValueError, RuntimeError, BadZipFile, zlib.error)
"""What NumPy, zip and gzip raise about a file that is missing, damaged or of another format."""

_follower: ContextVar[Callable[[Path], object] | None] = ContextVar("_follower", default=None)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place of `path` in one step.

    A reader sees the old file or the whole new one; a process killed at any instant leaves at most a stray temporary
    file.

    Args:
        path: The final name; missing folders are created.
        write: Writes the content to the path that it is given.

    Raises:
        DiskFullError: If the disk is full.
    """
    with noticing_full_disk(path.parent):
        _write(path, write)
    if (follower := _follower.get()) is not None:
        follower(path)


def files_in(folder: Path) -> Iterator[Path]:
    """The files of a folder and of all below it; of those that links lead to, too, unless they are met anyway."""
    root, met = folder.resolve(), set[Path]()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = Path(place).resolve()
        if real in met or (real.is_relative_to(root) and Path(place).is_symlink() and real != root):
            folders.clear()
        else:
            met.add(real)
            yield from (Path(place, name) for name in names)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, complete or not at all."""
    text = json.dumps(value, indent=2, sort_keys=True) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text))


@contextmanager
def followed_by(follower: Callable[[Path], object]) -> Iterator[None]:
    """A block in which `follower` is called with the path of each file that this thread has written atomically."""
    token = _follower.set(follower)
    try:
        yield
    finally:
        _follower.reset(token)


@contextmanager
def noticing_full_disk(folder: Path) -> Iterator[None]:
    """A block in which errors of a full disk become `DiskFullError`; libraries tell them by their text alone.

    Raises:
        DiskFullError: If the disk is full.
    """
    try:
        yield
    except Exception as error:
        if any(os.strerror(number) in str(error) for number in (ENOSPC, EDQUOT)):
            raise DiskFullError(f"the disk of {folder} is full: make room.") from error
        raise


def _write(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        _flush(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
