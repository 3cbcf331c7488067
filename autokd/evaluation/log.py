"""The log of an evaluation: what it prints and warns, and the traceback of its failure."""

import os
import socket
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

from autokd.core.repeating import repeating

__all__ = ["LARGEST_BYTES", "logged", "tail"]

LARGEST_BYTES = 64 * 2**10
"""Bytes of a log that are kept, the last ones; while it is written it may be twice as large."""
LOOK_SECONDS = 1.0
_CUT = b"[what came before is left out]\n"
_STREAMS = (1, 2)  # descriptors of stdout and stderr, which C code and child processes share


@contextmanager
def logged(file: Path) -> Iterator[None]:
    """A block whose output on stdout and stderr is appended to a file, with the traceback of what it raises.

    Output is written at once, so that the file tells also why a process died. A block without output leaves no trace.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    with open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace") as log:
        before = file.stat().st_size
        log.write(f"[{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, {socket.gethostname()}:{os.getpid()}]\n")
        begun = file.stat().st_size
        try:
            with _bounded(descriptor), _redirected(descriptor), redirect_stdout(log), redirect_stderr(log):
                yield
        except Exception:
            traceback.print_exc(file=log)
            raise
        finally:
            if file.stat().st_size == begun:
                os.truncate(file, before)
            if not file.stat().st_size:
                file.unlink()


def tail(file: Path, n_lines: int) -> list[str]:
    """The last lines of a log; none if there is no log."""
    try:
        return file.read_text(errors="replace").splitlines()[-n_lines:]
    except FileNotFoundError:
        return []


@contextmanager
def _redirected(descriptor: int) -> Iterator[None]:
    """A block in which stdout and stderr of the process are this file."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = [os.dup(stream) for stream in _STREAMS]
    try:
        for stream in _STREAMS:
            os.dup2(descriptor, stream)
        yield
    finally:
        for stream, before in zip(_STREAMS, kept, strict=True):
            os.dup2(before, stream)
            os.close(before)


@contextmanager
def _bounded(descriptor: int) -> Iterator[None]:
    """A block during which, and at whose end, a file that has grown too large is cut to its last bytes."""
    try:
        with repeating(lambda: _cut(descriptor), LOOK_SECONDS, "log"):
            yield
    finally:
        _cut(descriptor)


def _cut(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    if size > 2 * LARGEST_BYTES:
        kept = os.pread(descriptor, LARGEST_BYTES, size - LARGEST_BYTES).partition(b"\n")[2]
        os.ftruncate(descriptor, 0)
        os.write(descriptor, _CUT + kept)  # at the end, where others may have written since
