"""Executor that runs tasks in local processes, which are killed at their limits and replaced when they die.

Pebble (https://pebble.readthedocs.io) starts, times and kills the processes. Each worker has a pebble pool of its own,
and a pool is discarded after anything but a normal outcome, because in a shared pool of pebble 5.2 the death of one
worker can affect other tasks: a worker killed while it holds the lock of the shared pipe stops all of them, the death
of an idle worker breaks the pool, and the task of a worker that exits with code 0 never ends.

What pebble does for us is the process's start and stop, the time limit and the exit code as an exception; limits of
memory, the controller's death, child processes and exit code 0 are ours. On two cores it costs three threads a worker
and 0.14 ms a task, against 0.02 ms over a bare pipe, which is nothing beside tasks of seconds. A lane that waits for a
`multiprocessing.Process` and its pipe itself would need no pebble and about as many lines as we have around it.
"""

import os
import signal
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import current_process, get_context
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from workers import worker_process
from workers.base import DEFAULT_LIMITS, Limits, Placement
from workers.errors import TaskOutOfMemory, TaskTimeout, UnguardedMain, WorkerError, WorkerLost
from workers.lanes import Lane, LaneExecutor, Queue, Task

__all__ = ["LocalExecutor", "interrupts_blocked"]

# Environment variables that OpenMP, MKL, OpenBLAS, numexpr and Accelerate read when they are loaded.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
# Environment variables of glibc's malloc, in bytes. By default it returns much of the memory that a training step frees
# to the system, and the next step gets it back by thousands of page faults, which took some per cent of the training of
# a student in bfloat16. The first value is more than a training step of a student needs, the second is glibc's maximum.
# The third asks Linux for huge pages, which saves another three to five per cent.
_MALLOC_VARIABLES = {
    "MALLOC_TRIM_THRESHOLD_": "400000000",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
# Interval at which a waiting lane checks whether pebble silently replaced its worker (exit code 0).
_LOOK_SECONDS = 1.0
_spawning = threading.Lock()


class LocalExecutor(LaneExecutor["_LocalLane"]):
    """Executor that runs tasks in spawned processes, each of which runs one task after another.

    A worker imports the main module under the name `__mp_main__`. A script therefore cannot make an executor at its
    top level, outside `if __name__ == "__main__":`; its workers exit and its tasks end with `UnguardedMain`. Console
    scripts, `python -m` and pytest are not affected.

    A worker ignores SIGINT, leads a process group, so that the child processes of a task are killed with it, and exits
    within a second after its controller dies for whatever reason.

    Args:
        workers: Number of processes.
        limits: Resources that each task may use.

    Raises:
        WorkerError: If `workers < 1`.
    """

    def __init__(self, workers: int, limits: Limits = DEFAULT_LIMITS) -> None:
        worker_process.leave_if_importing()
        super().__init__(lambda queue: _LocalLane(queue, limits), workers)

    def _placements(self, lanes: Sequence["_LocalLane"]) -> Iterable[Placement]:
        return (Placement(lane.worker) for lane in lanes)


class _LocalLane(Lane):
    """A lane with one worker process at a time."""

    def __init__(self, queue: Queue, limits: Limits) -> None:
        super().__init__(queue)
        self._limits = limits
        self._worker: _Worker | None = None

    @property
    def worker(self) -> str | None:
        """Host and id of the worker process; None before it has started."""
        worker = self._worker
        return None if worker is None else worker.name

    def execute(self, task: Task) -> bytes:
        """Encoded outcome of a task in the worker process, which is replaced unless it has one."""
        # A worker may have died while it was idle, before it received the task, which is then tried once more.
        for _ in range(2):
            try:
                return self._attempt(task)
            except BrokenProcessPool as error:
                if self._worker is not None and self._worker.is_unguarded:
                    self._stop()
                    raise UnguardedMain(_UNGUARDED) from None
                failure = self._cause(self._stop()) or WorkerLost(_NEVER_STARTED.format(error=error))
            except ProcessExpired as error:
                raise (self._cause(self._stop()) or _lost(error.exitcode)) from None
            except TimeoutError:
                self._stop()
                raise self._timeout() from None
            except Exception:
                self._stop()
                raise
        raise failure

    def retire(self) -> None:
        """End the worker process and its children."""
        self._stop()

    def _attempt(self, task: Task) -> bytes:
        if self._worker is None or not self._worker.pool.active:
            self._stop()
            self._worker = _Worker.start(self._limits)
        worker = self._worker
        inner = worker.schedule(task.payload, self._limits)
        ended = threading.Event()
        inner.add_done_callback(lambda _: ended.set())
        task.on_cancel(inner.cancel)
        while not ended.wait(_LOOK_SECONDS):
            if worker.report[worker_process.STARTS] > 1 and not ended.wait(_LOOK_SECONDS):
                raise ProcessExpired("The worker exited without an outcome.", code=0)  # type: ignore[no-untyped-call]
        return inner.result()

    def _stop(self) -> int:
        """End the worker process and its children; return the memory, in bytes, for which it exited, or 0."""
        worker, self._worker = self._worker, None
        return 0 if worker is None else worker.stop()

    def _cause(self, memory: int) -> WorkerError | None:
        if memory == 0:
            return None
        return TaskOutOfMemory(
            f"A worker must stay within {self._limits.memory_bytes} bytes of memory, but it reached {memory} and was "
            "killed; raise the limit or make the task smaller (batch size, cache)."
        )

    def _timeout(self) -> TaskTimeout:
        return TaskTimeout(
            f"A task must end within {self._limits.seconds} seconds, but it did not and was killed; "
            "raise the limit or make the task smaller."
        )


@dataclass(frozen=True)
class _Worker:
    pool: ProcessPool
    report: Any
    context: "_Context"

    @classmethod
    def start(cls, limits: Limits) -> "_Worker":
        context = _Context(limits.threads)
        report = get_context("spawn").RawArray("q", 3)
        pool = ProcessPool(
            max_workers=1, initializer=worker_process.initialize, initargs=(limits, report), context=context
        )
        return cls(pool, report, context)

    def schedule(self, payload: bytes, limits: Limits) -> ProcessFuture[bytes]:
        try:
            return self.pool.schedule(worker_process.run, args=(payload, limits.threads), timeout=limits.seconds)
        except RuntimeError as error:  # the pool broke after it was checked
            raise BrokenProcessPool(str(error)) from error

    @property
    def name(self) -> str | None:
        """Host and process id; None before the process runs."""
        pid = self.report[worker_process.PID]
        return f"{socket.gethostname()}:{pid}" if pid else None

    @property
    def is_unguarded(self) -> bool:
        """Whether a process left because the main module starts workers when it is imported."""
        return any(process.exitcode == worker_process.UNGUARDED for process in self.context.processes)

    def stop(self) -> int:
        self.pool.stop()  # type: ignore[no-untyped-call]
        self.pool.join()
        if (pid := self.report[worker_process.PID]) and hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        return int(self.report[worker_process.MEMORY])


class _Context(SpawnContext):
    """Spawn context whose processes start with their limits set, since the main module may load torch first."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self._threads = threads
        self.processes: list[SpawnProcess] = []

    def Process(self, *args: Any, **kwargs: Any) -> SpawnProcess:  # type: ignore[override]  # noqa: N802 (the base's name)
        process = _Process(*args, **kwargs)
        self.processes.append(process)
        allocation = {name: value for name, value in _MALLOC_VARIABLES.items() if name not in os.environ}
        process.environment = dict.fromkeys(_THREAD_VARIABLES, str(self._threads)) | allocation
        return process


class _Process(SpawnProcess):
    environment: dict[str, str]

    def start(self) -> None:
        with _spawning, _environment(self.environment), interrupts_blocked(), _children_allowed():
            super().start()


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set variables in this process's environment, the only way to pass them to a spawned process."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _children_allowed() -> Iterator[None]:
    """Let a daemonic process start children, such as a worker of Dask; ours end with their parent, however it dies."""
    config = current_process()._config  # type: ignore[attr-defined]
    before = config.get("daemon")
    config["daemon"] = False
    try:
        yield
    finally:
        config["daemon"] = before


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block SIGINT, which a child inherits, so that Ctrl-C does not end it before it ignores the signal."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _lost(exit_code: int) -> WorkerLost:
    how = f"exit code {exit_code}" if exit_code >= 0 else f"signal {-exit_code}"
    with suppress(ValueError):  # real-time signals have no name
        how = signal.Signals(-exit_code).name
    hint = "; the kernel sends it when the machine is out of memory: use fewer workers" if how == "SIGKILL" else ""
    return WorkerLost(f"A worker must outlive its task, but it died by {how}{hint}. The task can be submitted again.")


_NEVER_STARTED = (
    "A worker must start before it can run a task, but it died twice while starting ({error}); its own traceback is on "
    'stderr. In a script, put what makes the executor under `if __name__ == "__main__":`.'
)
_UNGUARDED = f"Every worker imports the main script, which starts workers again: {worker_process.GUARD}."
