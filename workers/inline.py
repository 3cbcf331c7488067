"""Executor that runs tasks in this process, for tests, debugging and searches without further processes."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar, TypeVarTuple

from workers.base import DEFAULT_LIMITS, Executor, Limits
from workers.errors import ExecutorClosed, TaskExited, WorkerError

__all__ = ["InlineExecutor"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class InlineExecutor(Executor):
    """Executor that runs each task inside `submit`, which returns a finished future.

    It cannot kill a task, so limits of time and memory are rejected. The thread limit only applies to torch, and only
    if torch is loaded when the task starts; the caller's setting is restored afterwards. A `KeyboardInterrupt` is
    raised by `submit` instead of becoming the task's exception.

    Args:
        limits: Resources that each task may use.

    Raises:
        WorkerError: If `limits` has a limit of time or memory.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        if limits.seconds is not None or limits.memory_bytes is not None:
            raise WorkerError(
                f"The inline executor cannot enforce limits, but got seconds={limits.seconds}, "
                f'memory_bytes={limits.memory_bytes}; set both to None or use the executor "local".'
            )
        self._limits = limits
        self._open = True

    @property
    def capacity(self) -> int:
        """Always 1."""
        return 1

    def submit(self, function: Callable[[*Ts], T], /, *args: *Ts) -> Future[T]:
        """Finished future of `function(*args)`."""
        if not self._open:
            raise ExecutorClosed("The inline executor was shut down and accepts no more tasks; make a new one.")
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        try:
            with _torch_threads(self._limits.threads):
                result = function(*args)
        except KeyboardInterrupt:
            raise
        except Exception as error:
            future.set_exception(error)
        except BaseException as error:
            future.set_exception(TaskExited.by(error))
        else:
            future.set_result(result)
        return future

    def shutdown(self, cancel: bool) -> None:
        """Reject new tasks; there is never one to wait for."""
        self._open = False


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
