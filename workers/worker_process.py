"""Code of the local executor that runs inside a worker process; only `encode` and `decode` run in the controller."""

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, MutableSequence
from multiprocessing import current_process, parent_process
from typing import Any

import psutil

from workers.base import Limits
from workers.errors import TaskExited, TaskUnpicklable

__all__ = [
    "GUARD",
    "MEMORY",
    "OUT_OF_MEMORY",
    "PID",
    "STARTS",
    "UNGUARDED",
    "decode",
    "encode",
    "encode_error",
    "initialize",
    "leave_if_importing",
    "own_memory",
    "run",
]

# Indices of the report, a shared array that tells the controller the process of its worker and why it exited.
PID, STARTS, MEMORY = 0, 1, 2
# Exit code of a worker that exceeded its memory limit; distinct from signals (negative) and shell codes (126 to 165).
OUT_OF_MEMORY = 86
GUARD = 'put what starts them under `if __name__ == "__main__":`'
# Exit code of a worker that was about to start workers of its own while it imported the main module.
UNGUARDED = 87
# Short compared with a training step that allocates memory, long compared with the cost of reading /proc.
_WATCH_SECONDS = 0.25


def leave_if_importing() -> None:
    """Exit with one line if this is a spawned process that has not finished importing the main module.

    A spawned process imports its parent's main module under the name `__mp_main__`. What starts workers calls this
    first: a script that does so outside `if __name__ == "__main__":` would otherwise do it in each of its workers.
    """
    if getattr(current_process(), "_inheriting", False):  # set by multiprocessing until the import is done
        print(f"This process imports the main script, which starts workers: {GUARD}.", file=sys.stderr, flush=True)
        os._exit(UNGUARDED)


def initialize(limits: Limits, report: MutableSequence[int]) -> None:
    """Set up this worker process: signals, its own process group, the report and the watchdog."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the controller, which decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # at once, even inside a long call into torch
    if hasattr(os, "setpgid"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # the controller blocked it during the start
        os.setpgid(0, 0)  # so that a task's own child processes can be killed with it
    report[PID] = os.getpid()
    report[STARTS] += 1
    parent = parent_process()
    controller = os.getppid() if parent is None or parent.pid is None else parent.pid
    threading.Thread(
        target=_watch, args=(controller, limits.memory_bytes, report), name="watchdog", daemon=True
    ).start()


def run(task: bytes, threads: int) -> bytes:
    """Encoded outcome of an encoded task; it never raises, so any exception is one of the pool."""
    try:
        function, args = pickle.loads(task)
        if (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(threads)
        outcome = (True, function(*args), "")
    except Exception as error:
        return encode_error(error, traceback.format_exc())
    except BaseException as error:  # raised where the result is awaited, it would end whoever does that
        return encode_error(TaskExited.by(error), traceback.format_exc())
    try:
        return pickle.dumps(outcome)
    except Exception as error:
        return encode_error(
            TaskUnpicklable(f"A task's result must be picklable, but {type(outcome[1]).__name__} is not: {error}"), ""
        )


def encode(function: Callable[..., object], args: tuple[object, ...]) -> bytes:
    """Encoded task.

    Raises:
        TaskUnpicklable: If the function or an argument cannot be pickled.
    """
    try:
        return pickle.dumps((function, args))
    except Exception as error:
        raise TaskUnpicklable(
            f"A task must be an importable module-level function with picklable arguments, but {function!r} with "
            f"{len(args)} arguments is not: {error}"
        ) from error


def decode(outcome: bytes) -> tuple[bool, Any]:
    """Whether a task succeeded, and its result or its exception."""
    try:
        succeeded, value, trace = pickle.loads(outcome)
    except Exception as error:
        return False, TaskUnpicklable(f"A task's result must be picklable, but it cannot be unpickled: {error}")
    if not succeeded and trace:
        value.add_note(f"In the worker:\n{trace}")
    return succeeded, value


def encode_error(error: BaseException, trace: str = "") -> bytes:
    """Encoded outcome of a task that failed.

    Args:
        error: The task's exception; a stand-in takes the place of one that cannot be pickled.
        trace: Its traceback as text, which becomes a note.
    """
    try:
        outcome = pickle.dumps((False, error, trace))
        pickle.loads(outcome)  # an exception with its own constructor often fails only here
        return outcome
    except Exception:
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        stand_in = TaskUnpicklable(f"A task's exception must be picklable, but {name} is not; its message: {error}")
        return pickle.dumps((False, stand_in, trace))


def own_memory(process: psutil.Process) -> int:
    """Resident memory that a process does not share, in bytes.

    Pages of mapped files are excluded: all workers share them, and the system reclaims them when it needs memory. Only
    Linux reports them; on other systems this is all resident memory.
    """
    memory = process.memory_info()
    return int(memory.rss - getattr(memory, "shared", 0))


def _watch(controller: int, memory_bytes: int | None, report: MutableSequence[int]) -> None:
    process = psutil.Process()
    while True:
        if os.getppid() != controller:
            _vanish()
        memory = own_memory(process)
        if memory_bytes is not None and memory > memory_bytes:
            report[MEMORY] = memory
            os._exit(OUT_OF_MEMORY)
        time.sleep(_WATCH_SECONDS)


def _vanish() -> None:
    """End this process and its children; its controller is dead, so that no exit code is needed."""
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
