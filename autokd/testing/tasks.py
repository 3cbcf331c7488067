"""Tasks with known outcomes for the tests of executors, importable by a worker process."""

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
    """An exception that can be pickled but not unpickled, since its constructor takes two arguments."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def add(first: int, second: int) -> int:
    """Sum of two numbers."""
    return first + second


def process_id() -> int:
    """Id of the process that runs the task."""
    return os.getpid()


def fail(message: str) -> None:
    """Raise `KeyError` with a message."""
    raise KeyError(message)


def fail_fussily() -> None:
    """Raise an exception that cannot be unpickled."""
    raise FussyError("does", "not travel")


def make_lambda() -> object:
    """A result that cannot be pickled."""
    return lambda: None


def sleep(mark: Path, seconds: float = 600.0) -> None:
    """Write the id of this process to the file `mark`, then sleep."""
    _write(mark, os.getpid())
    time.sleep(seconds)


def linger(mark: Path) -> None:
    """Write the id of a new child process to the file `mark`, then wait for the child, which sleeps."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    _write(mark, child.pid)
    child.wait()


def allocate(n_bytes: int) -> None:
    """Allocate and touch memory, then sleep."""
    held = bytearray(n_bytes)
    held[::4096] = b"x" * len(held[::4096])
    time.sleep(600)


def die() -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


def leave(exit_code: int) -> None:
    """Exit from this process without an outcome."""
    os._exit(exit_code)


def thread_counts() -> tuple[str | None, int]:
    """Environment variable of OpenMP's number of threads, and torch's number of threads."""
    import torch

    return os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads()


def _write(mark: Path, number: int) -> None:
    partial = mark.with_suffix(".partial")
    partial.write_text(str(number))
    partial.rename(mark)
