"""The contract of an executor: what may be submitted, what comes back, what is killed when."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar, TypeVarTuple

from workers.errors import WorkerError

__all__ = ["DEFAULT_LIMITS", "Executor", "Limits"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True)
class Limits:
    """What one task may use.

    Attributes:
        threads: Threads of OpenMP, BLAS and torch.
        seconds: Wall-clock time from the task's start in its worker; None is unlimited.
        memory_bytes: Resident memory of the worker process without pages that it may share, such as those of mapped
            files; None is unlimited.
    """

    threads: int = 1
    seconds: float | None = None
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise WorkerError(f"`threads >= 1` must hold, but got threads={self.threads}.")
        if self.seconds is not None and not self.seconds > 0:
            raise WorkerError(f"`seconds > 0` must hold, but got seconds={self.seconds}; use None for no limit.")
        if self.memory_bytes is not None and self.memory_bytes <= 0:
            raise WorkerError(f"`memory_bytes > 0` must hold, but got {self.memory_bytes}; use None for no limit.")


DEFAULT_LIMITS = Limits()


class Executor(ABC):
    """Runs tasks somewhere and hands out their futures.

    Every implementation holds this:

    * A function is importable by its module and name, and its arguments and result can be pickled; otherwise the task
      ends with `TaskUnpicklable`. An implementation that crosses no process boundary may accept more.
    * A task runs at most `capacity` at a time with others, and may be executed again if its worker is lost: it must be
      idempotent.
    * An exception of the task comes out of its future unchanged (same type, same arguments).
    * A killed task's future ends with `TaskTimeout`, `TaskOutOfMemory` or `WorkerLost`; all are `WorkerError`s.
    * One task's death never changes the outcome of another, and tasks submitted later run.
    * Cancelling a future drops a waiting task and kills a running one, where there is a process to kill.
    * After `shutdown` returns, no process that the executor started is left; shutting down twice is harmless.
    * `submit`, `cancel` and `shutdown` may be called from any thread; done-callbacks may run in any thread.
    """

    @property
    @abstractmethod
    def capacity(self) -> int:
        """Number of tasks that run at once."""

    @abstractmethod
    def submit(self, function: Callable[[*Ts], T], /, *args: *Ts) -> Future[T]:
        """Future of `function(*args)`.

        Raises:
            ExecutorClosed: If the executor was shut down.
            TaskUnpicklable: If the function or an argument cannot be sent to a worker.
        """

    @abstractmethod
    def shutdown(self, cancel: bool) -> None:
        """Refuses new tasks, then waits for the others to end, or drops and kills them with `cancel=True`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown(cancel=kind is not None)
