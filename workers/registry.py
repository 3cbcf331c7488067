"""Registry of executors by name."""

from collections.abc import Callable

from workers.base import DEFAULT_LIMITS, Executor, Limits
from workers.errors import WorkerError
from workers.inline import InlineExecutor

__all__ = ["Build", "executor", "executor_names", "register_executor"]

Build = Callable[[int, Limits], Executor]


def executor(name: str, workers: int = 1, limits: Limits = DEFAULT_LIMITS) -> Executor:
    """A new executor of a registered kind.

    Args:
        name: One of `executor_names()`.
        workers: Number of tasks that run at the same time.
        limits: Resources that each task may use.

    Raises:
        WorkerError: If the name is unknown, or the executor does not support these arguments.
    """
    if name not in _builds:
        raise WorkerError(f"`executor` must be one of {', '.join(executor_names())}, but got {name!r}.")
    return _builds[name](workers, limits)


def executor_names() -> list[str]:
    """Names of the registered kinds, sorted."""
    return sorted(_builds)


def register_executor(name: str, build: Build) -> None:
    """Register a function that makes the executor of a name.

    Raises:
        WorkerError: If the name is taken.
    """
    if name in _builds:
        raise WorkerError(f"An executor's name must be new, but {name!r} is taken; choose another.")
    _builds[name] = build


def _inline(workers: int, limits: Limits) -> Executor:
    if workers != 1:
        raise WorkerError(
            f'`workers` must be 1 for the inline executor, but got {workers=}; use the executor "local" for more.'
        )
    return InlineExecutor(limits)


def _local(workers: int, limits: Limits) -> Executor:
    from workers.local import LocalExecutor  # loads multiprocessing and pebble

    return LocalExecutor(workers, limits)


_builds: dict[str, Build] = {"inline": _inline, "local": _local}
