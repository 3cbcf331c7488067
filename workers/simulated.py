"""Cluster in simulated time, for benchmarks whose tasks have known durations.

It consists of an event queue and a clock, without processes and threads. A benchmark that looks up trainings in a table
can thus reproduce, within milliseconds and deterministically, the order of results from workers of different speeds.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar, TypeVarTuple

from workers.errors import WorkerError

__all__ = ["SimulatedCluster"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class SimulatedCluster(Generic[T]):
    """Cluster of simulated workers that run tasks in the order of submission.

    A task is called at its simulated start, and its future ends when the clock reaches start plus duration. The clock
    advances only in `advance` or when a future's `result` or `exception` is awaited, so the caller's own code takes no
    simulated time, unless it says so by `elapse`. Tasks that end at the same time end in the order of their starts.

    It has the methods of a `workers.base.Executor` but is not one, and therefore has no name in the registry. Callers
    of an executor may wait by `concurrent.futures.wait` or a done-callback, of which a simulation is not informed. It
    would have to advance its clock by itself, perhaps before the caller has submitted the next task, so that the order
    of results would depend on real time.

    A cancelled task never starts, and a started task cannot be cancelled. A task that raises takes no time, since its
    duration follows from its result. The class is not thread-safe.

    Args:
        workers: Number of tasks that run at the same time.
        seconds: Function from the result of a task to its simulated duration in seconds, `0 <= seconds < inf`.

    Raises:
        WorkerError: If `workers < 1`.
    """

    def __init__(self, workers: int, seconds: Callable[[T], float]) -> None:
        if workers < 1:
            raise WorkerError(f"`workers >= 1` must hold, but got {workers=}.")
        self._workers = workers
        self._seconds = seconds
        self._waiting: deque[_Waiting[T]] = deque()
        self._running: list[_Running[T]] = []  # a heap
        self._serial = count()
        self._now = 0.0

    @property
    def capacity(self) -> int:
        """Number of tasks that run at the same time."""
        return self._workers

    @property
    def now(self) -> float:
        """Simulated seconds since the cluster was created."""
        return self._now

    @property
    def has_free_worker(self) -> bool:
        """Whether a task submitted now would start at once."""
        return len(self._running) < self._workers

    def submit(self, function: Callable[[*Ts], T], /, *args: *Ts) -> Future[T]:
        """Future of `function(*args)`, which is called at once if a worker is free, else when one becomes free.

        Raises:
            WorkerError: If the task starts and its duration is negative or not finite.
        """
        future: Future[T] = _SimulatedFuture(self.advance)
        self._waiting.append(_Waiting(future, partial(function, *args)))
        self._start_waiting()
        return future

    def advance(self) -> Future[T]:
        """The next future to end, after the clock is set to its end, waiting tasks are started and callbacks called.

        Raises:
            WorkerError: If no task runs, or the duration of a task that starts is negative or not finite.
        """
        if not self._running:
            raise WorkerError("A task must run for the clock to advance, but none does; submit one first.")
        ended = heappop(self._running)
        self._now = ended.finish
        self._start_waiting()  # before the callbacks, which may submit tasks: waiting tasks come first
        ended.settle()
        return ended.future

    def elapse(self, seconds: float) -> None:
        """Let the clock advance by this time, such as that of the caller's own work, and let end what ends in it.

        Args:
            seconds: Simulated seconds, at least 0.

        Raises:
            WorkerError: If the duration of a task that starts meanwhile is negative or not finite.
        """
        until = self._now + seconds
        while self._running and self._running[0].finish <= until:
            self.advance()
        self._now = until

    def _start_waiting(self) -> None:
        while self._waiting and self.has_free_worker:
            task = self._waiting.popleft()
            if task.future.set_running_or_notify_cancel():
                heappush(self._running, self._started(task))

    def _started(self, task: "_Waiting[T]") -> "_Running[T]":
        try:
            result = task.call()
        except Exception as error:
            return _Running(self._now, next(self._serial), task.future, partial(task.future.set_exception, error))
        seconds = self._seconds(result)
        if not 0 <= seconds < float("inf"):
            raise WorkerError(f"`0 <= seconds < inf` must hold for a task's duration, but got {seconds=}.")
        settle = partial(task.future.set_result, result)
        return _Running(self._now + seconds, next(self._serial), task.future, settle)


class _SimulatedFuture(Future[T]):
    """Future that advances the clock instead of blocking."""

    def __init__(self, advance: Callable[[], object]) -> None:
        super().__init__()
        self._advance = advance

    def result(self, timeout: float | None = None) -> T:
        self._advance_to_the_end()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._advance_to_the_end()
        return super().exception(timeout)

    def _advance_to_the_end(self) -> None:
        while not self.done():
            self._advance()


@dataclass(frozen=True)
class _Waiting(Generic[T]):
    future: Future[T]
    call: Callable[[], T]


@dataclass(frozen=True, order=True)
class _Running(Generic[T]):
    """A started task; the smallest is the next to end."""

    finish: float
    serial: int
    future: Future[T] = field(compare=False)
    settle: Callable[[], None] = field(compare=False)
