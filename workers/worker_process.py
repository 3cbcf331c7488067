"""The worker's side of the local executor: what happens inside a worker process.

Nothing here runs in the controller but `encode` and `decode`.
"""

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, MutableSequence
from multiprocessing import parent_process
from typing import Any

import psutil

from workers.base import Limits
from workers.errors import TaskUnpicklable

__all__ = ["MEMORY", "OUT_OF_MEMORY", "PID", "STARTS", "decode", "encode", "initialize", "own_memory", "run"]

# Slots of the report, a small shared array that tells the controller which process serves it and why it left.
PID, STARTS, MEMORY = 0, 1, 2
# Exit code of a worker that left by its memory limit: no signal (negative), no shell convention (126 to 165).
OUT_OF_MEMORY = 86
# Short against a training step that allocates, long against the cost of reading /proc.
_WATCH_SECONDS = 0.25


def initialize(limits: Limits, report: MutableSequence[int]) -> None:
    """Sets up this worker process: signals, its own process group, the report and the watchdog."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the controller, which decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # at once, even inside a long call into torch
    if hasattr(os, "setpgid"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # the controller blocked it while we were born
        os.setpgid(0, 0)  # so that a task's own child processes can be killed with it
    report[PID] = os.getpid()
    report[STARTS] += 1
    parent = parent_process()
    controller = os.getppid() if parent is None or parent.pid is None else parent.pid
    threading.Thread(
        target=_watch, args=(controller, limits.memory_bytes, report), name="watchdog", daemon=True
    ).start()


def run(task: bytes, threads: int) -> bytes:
    """Encoded outcome of an encoded task; never raises, so whatever the pool raises is the pool's."""
    try:
        function, args = pickle.loads(task)
        if (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(threads)
        outcome = (True, function(*args), "")
    except BaseException as error:
        return _encode_error(error, traceback.format_exc())
    try:
        return pickle.dumps(outcome)
    except Exception as error:
        return _encode_error(
            TaskUnpicklable(f"A task's result must be picklable, but {type(outcome[1]).__name__} is not: {error}"), ""
        )


def encode(function: Callable[..., object], args: tuple[object, ...]) -> bytes:
    """A task as bytes.

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
        return False, TaskUnpicklable(f"A task's result must be picklable, but it cannot be read back: {error}")
    if not succeeded and trace:
        value.add_note(f"In the worker:\n{trace}")
    return succeeded, value


def own_memory(process: psutil.Process) -> int:
    """Resident memory that a process does not share, in bytes.

    Pages of files that it mapped are left out: they are the same for all workers, and the system takes them back when
    it needs them. Only Linux tells of them; elsewhere it is all resident memory.
    """
    memory = process.memory_info()
    return int(memory.rss - getattr(memory, "shared", 0))


def _encode_error(error: BaseException, trace: str) -> bytes:
    try:
        outcome = pickle.dumps((False, error, trace))
        pickle.loads(outcome)  # an exception with a constructor of its own often fails only here
        return outcome
    except Exception:
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        stand_in = TaskUnpicklable(f"A task's exception must be picklable, but {name} is not; it said: {error}")
        return pickle.dumps((False, stand_in, trace))


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
    """Ends this process and its children: its controller is dead, so nobody waits for an exit code."""
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
