"""`Executor`, the base class of executors, the limits of a task, and where it is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar, TypeVarTuple

from workers.errors import WorkerError

__all__ = ["DEFAULT_LIMITS", "Executor", "Limits", "Placement"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True)
class Limits:
    """Resources that one task may use.

    Attributes:
        threads: Number of threads of OpenMP, BLAS and torch.
        seconds: Wall-clock time from the task's start in its worker; None means no limit.
        memory_bytes: Resident memory of the worker process, excluding pages that it may share, such as those of mapped
            files; None means no limit.
        gpus: Number of GPUs that the engine of a cluster reserves for it; on this machine nothing is reserved.

    Raises:
        WorkerError: If a limit is not positive, or `gpus` is negative.
    """

    threads: int = 1
    seconds: float | None = None
    memory_bytes: int | None = None
    gpus: int = 0

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise WorkerError(f"`threads >= 1` must hold, but got threads={self.threads}.")
        if self.seconds is not None and not self.seconds > 0:
            raise WorkerError(f"`seconds > 0` must hold, but got seconds={self.seconds}; use None for no limit.")
        if self.memory_bytes is not None and self.memory_bytes <= 0:
            raise WorkerError(f"`memory_bytes > 0` must hold, but got {self.memory_bytes}; use None for no limit.")
        if self.gpus < 0:
            raise WorkerError(f"`gpus >= 0` must hold, but got gpus={self.gpus}.")


@dataclass(frozen=True)
class Placement:
    """Where an unfinished task is, as far as its executor knows.

    Attributes:
        worker: Name of the worker that has it, for people; None while it waits, or if that is not known.
        reason: Why it waits; None if it does not, or if that is not known.
    """

    worker: str | None = None
    reason: str | None = None


DEFAULT_LIMITS = Limits()


class Executor(ABC):
    """Base class of executors, which run submitted tasks and return their futures.

    Every implementation must satisfy the following.

    * A function must be importable by its module and name, and its arguments and result picklable; otherwise the task
      ends with `TaskUnpicklable`. An implementation without a process boundary may accept more.
    * At most `capacity` tasks run at the same time. A task may be executed again if its worker is lost, so it must be
      idempotent.
    * An exception of the task is that of its future, unchanged in type and arguments.
    * The future of a killed task ends with `TaskTimeout`, `TaskOutOfMemory` or `WorkerLost`, all of which are
      `WorkerError`s.
    * A killed task never changes the outcome of another one, and tasks submitted later run.
    * Cancelling a future drops a waiting task, and kills a running one if there is a process to kill.
    * After `shutdown` returns, no process that the executor started is left; of those that workers of a cluster started
      for it, none is left after a minute. Shutting down twice is harmless.
    * `submit`, `cancel`, `where` and `shutdown` may be called from any thread; done-callbacks may run in any thread.
    """

    @property
    @abstractmethod
    def capacity(self) -> int:
        """Number of tasks that run at the same time."""

    @abstractmethod
    def submit(self, function: Callable[[*Ts], T], /, *args: *Ts) -> Future[T]:
        """Future of `function(*args)`.

        Raises:
            ExecutorClosed: If the executor was shut down.
            TaskUnpicklable: If the function or an argument cannot be sent to a worker.
        """

    def where(self, futures: Collection[Future[Any]]) -> Mapping[Future[Any], Placement]:
        """Placements of those of the futures of which something is known."""
        return {}

    @abstractmethod
    def shutdown(self, cancel: bool) -> None:
        """Reject new tasks, then wait for the others to end, or drop and kill them if `cancel` is true."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown(cancel=kind is not None)
