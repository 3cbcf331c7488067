"""Tasks with a known end, importable by a worker process: material for the executor conformance suite."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

__all__ = [
    "FussyError",
    "add",
    "allocate",
    "die",
    "fail",
    "fail_fussily",
    "leave",
    "linger",
    "make_lambda",
    "process_id",
    "sleep",
    "thread_counts",
]


class FussyError(Exception):
    """Can be pickled but not read back, since its constructor wants two arguments."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def add(first: int, second: int) -> int:
    """The sum."""
    return first + second


def process_id() -> int:
    """The process that ran it."""
    return os.getpid()


def fail(message: str) -> None:
    """A KeyError of the message."""
    raise KeyError(message)


def fail_fussily() -> None:
    """An exception that cannot travel."""
    raise FussyError("does", "not travel")


def make_lambda() -> object:
    """A result that cannot travel."""
    return lambda: None


def sleep(mark: Path, seconds: float = 600.0) -> None:
    """Writes its process id to `mark`, then sleeps."""
    _write(mark, os.getpid())
    time.sleep(seconds)


def linger(mark: Path) -> None:
    """Writes the process id of a child of its own to `mark`, then waits for the child, which sleeps."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    _write(mark, child.pid)
    child.wait()


def allocate(n_bytes: int) -> None:
    """Holds this many bytes of touched memory, then sleeps."""
    held = bytearray(n_bytes)
    held[::4096] = b"x" * len(held[::4096])
    time.sleep(600)


def die() -> None:
    """Kills its own process."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


def leave(exit_code: int) -> None:
    """Leaves its process without a word."""
    os._exit(exit_code)


def thread_counts() -> tuple[str | None, int]:
    """OpenMP's environment variable and torch's thread count."""
    import torch

    return os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads()


def _write(mark: Path, number: int) -> None:
    partial = mark.with_suffix(".partial")
    partial.write_text(str(number))
    partial.rename(mark)
