"""Executor of lanes: threads, each of which sees one task at a time through, wherever that runs."""

import atexit
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.util import Finalize
from queue import SimpleQueue
from typing import Any, Generic, TypeVar, TypeVarTuple

from pebble import ProcessFuture

from workers import worker_process
from workers.base import Executor, Placement
from workers.errors import ExecutorClosed, WorkerError

__all__ = ["Lane", "LaneExecutor", "Queue", "Task"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True)
class Task:
    """A task on its way.

    Attributes:
        payload: What `worker_process.encode` made of its function and arguments.
        future: Its future, which can be cancelled while it runs.
    """

    payload: bytes
    future: Future[Any]

    def on_cancel(self, stop: Callable[[], object]) -> None:
        """Call a function when the task is cancelled, at once if it is already."""
        self.future.add_done_callback(lambda future: stop() if future.cancelled() else None)


Queue = SimpleQueue[Task | None]


class Lane(threading.Thread, ABC):
    """A thread that sees one task after another through.

    Args:
        queue: Where the tasks wait; None in it ends the lane.
    """

    def __init__(self, queue: Queue) -> None:
        super().__init__(name="worker-lane", daemon=True)
        self.task: Task | None = None
        self._queue = queue

    def run(self) -> None:
        """Execute tasks until the queue returns None."""
        while (task := self._queue.get()) is not None:
            if task.future.set_running_or_notify_cancel():
                self.task = task
                _finish(task.future, *self._outcome(task))
                self.task = None
        self.retire()

    @abstractmethod
    def execute(self, task: Task) -> bytes:
        """Encoded outcome of a task, once it has ended. When the task is cancelled, this stops it and raises anything.

        Raises:
            WorkerError: If the task has no outcome of its own: it was killed, or its worker was lost.
        """

    def retire(self) -> None:
        """End what the lane has started; called after its last task."""

    def _outcome(self, task: Task) -> tuple[bool, Any]:
        """Whether the task succeeded, and its result or exception."""
        try:
            return worker_process.decode(self.execute(task))
        except Exception as error:  # no error may end this thread; a cancelled future remains cancelled
            return False, error


L = TypeVar("L", bound=Lane)


class LaneExecutor(Executor, Generic[L]):
    """Executor that runs as many tasks at a time as it has lanes.

    Args:
        make_lane: Makes a lane of a queue.
        workers: Number of lanes.

    Raises:
        WorkerError: If `workers < 1`.
    """

    def __init__(self, make_lane: Callable[[Queue], L], workers: int) -> None:
        if workers < 1:
            raise WorkerError(f"`workers >= 1` must hold, but got {workers=}.")
        self._queue = Queue()
        self._lanes = [make_lane(self._queue) for _ in range(workers)]
        self._unfinished: set[Future[Any]] = set()
        self._lock = threading.Lock()
        self._open = True
        for lane in self._lanes:
            lane.start()
        # Registered after pebble's own hook and so called before it: no lane may start a worker during shutdown.
        atexit.register(self.shutdown, cancel=True)
        # A process of multiprocessing, such as a worker of Dask, waits for its children before it calls these hooks.
        self._at_exit = Finalize(None, self.shutdown, kwargs={"cancel": True}, exitpriority=0)

    @property
    def capacity(self) -> int:
        """Number of lanes."""
        return len(self._lanes)

    def submit(self, function: Callable[[*Ts], T], /, *args: *Ts) -> Future[T]:
        """Future of `function(*args)` in the next free worker."""
        task = Task(worker_process.encode(function, args), ProcessFuture())
        with self._lock:
            if not self._open:
                raise ExecutorClosed("This executor was shut down and accepts no more tasks; make a new one.")
            self._unfinished.add(task.future)
            self._queue.put(task)
        task.future.add_done_callback(self._forget)
        return task.future

    def where(self, futures: Collection[Future[Any]]) -> Mapping[Future[Any], Placement]:
        """Placements of those that a lane sees through; the others wait for their turn."""
        seen = [(lane, task.future) for lane in self._lanes if (task := lane.task) and task.future in futures]
        placements = self._placements([lane for lane, _ in seen])
        return dict(zip((future for _, future in seen), placements, strict=True))

    def shutdown(self, cancel: bool) -> None:
        """Wait for all tasks, or kill them if `cancel` is true, then end all that was started for them."""
        with self._lock:
            was_open, self._open = self._open, False
            unfinished = list(self._unfinished)
        if cancel:
            for future in unfinished:
                future.cancel()
        if was_open:
            for _ in self._lanes:
                self._queue.put(None)
        for lane in self._lanes:
            lane.join()
        atexit.unregister(self.shutdown)
        self._at_exit.cancel()

    @abstractmethod
    def _placements(self, lanes: Sequence[L]) -> Iterable[Placement]:
        """Where the task of each of these lanes is."""

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            self._unfinished.discard(future)


def _finish(future: Future[Any], succeeded: bool, value: Any) -> None:
    with suppress(InvalidStateError):  # it was cancelled in the meantime
        if succeeded:
            future.set_result(value)
        else:
            future.set_exception(value)
    if future.cancelled():
        future.set_running_or_notify_cancel()  # wakes `concurrent.futures.wait`
