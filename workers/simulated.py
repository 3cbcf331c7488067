"""A cluster in simulated seconds, for benchmarks: tasks whose durations are known end in the order in which they would.

An event queue and a clock, no process and no thread. A benchmark that looks a training up in a table learns within
milliseconds what W workers that train at different speeds would have seen, and sees the same every time.
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
    """Runs tasks on `workers` simulated workers, first come, first served.

    A task is called at its simulated start, and its future ends when the clock reaches start plus duration. Only
    `advance`, or waiting for a future's `result` or `exception`, moves the clock, so between two ends the caller has
    all the simulated time it wants. Tasks that end at the same moment end in the order in which they started.

    It is shaped like a `workers.base.Executor` but is none, and so has no name in the registry. That contract lets a
    caller wait by `concurrent.futures.wait` or for a done-callback, which never tell whom they wait for. A simulation
    would have to move its clock behind the caller's back, perhaps before the caller has submitted what he is about to
    submit, and the order of the results would hang on the machine's mood.

    A cancelled task never starts; one that has started cannot be cancelled. A task that raises takes no time, since no
    result tells how long it took. Not for several threads.

    Args:
        workers: Tasks that run at once.
        seconds: Simulated duration of a task, from its result: not negative and finite.

    Raises:
        WorkerError: If there are no workers.
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
        """Number of tasks that run at once."""
        return self._workers

    @property
    def now(self) -> float:
        """Simulated seconds since the cluster was made."""
        return self._now

    @property
    def has_free_worker(self) -> bool:
        """Whether a task submitted now would start now."""
        return len(self._running) < self._workers

    def submit(self, function: Callable[[*Ts], T], /, *args: *Ts) -> Future[T]:
        """Future of `function(*args)`, which is called at once if a worker is free, else when one becomes free.

        Raises:
            WorkerError: If the task starts and its duration is no duration.
        """
        future: Future[T] = _SimulatedFuture(self.advance)
        self._waiting.append(_Waiting(future, partial(function, *args)))
        self._start_waiting()
        return future

    def advance(self) -> Future[T]:
        """The next future to end, after moving the clock there, starting what waited and calling its callbacks.

        Raises:
            WorkerError: If nothing runs, or a task that starts has no duration.
        """
        if not self._running:
            raise WorkerError("The clock stands still while no task runs; submit one first.")
        ended = heappop(self._running)
        self._now = ended.finish
        self._start_waiting()  # before the callbacks, which may submit: those who wait come first
        ended.settle()
        return ended.future

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
    """A future that moves the clock instead of blocking, since nobody else would."""

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
    """A started task; the least is the next to end."""

    finish: float
    serial: int
    future: Future[T] = field(compare=False)
    settle: Callable[[], None] = field(compare=False)
