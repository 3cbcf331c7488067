"""Registry of executors by name."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from workers.base import DEFAULT_LIMITS, Executor, Limits
from workers.errors import WorkerError
from workers.inline import InlineExecutor

__all__ = ["Build", "executor", "executor_names", "register_executor"]

Build = Callable[[int, Limits, str | None], Executor]


def executor(name: str, workers: int = 1, limits: Limits = DEFAULT_LIMITS, address: str | None = None) -> Executor:
    """A new executor of a registered kind.

    Args:
        name: One of `executor_names()`.
        workers: Number of tasks that run at the same time.
        limits: Resources that each task may use.
        address: Of the cluster, for "dask" and "ray"; without one they start one on this machine.

    Raises:
        WorkerError: If the name is unknown, its package is missing, no cluster is at the address, or the executor does
            not support these arguments.
    """
    if name not in _builds:
        raise WorkerError(f"`engine` must be one of {', '.join(executor_names())}, but got {name!r}.")
    return _builds[name](workers, limits, address)


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


def _inline(workers: int, limits: Limits, address: str | None) -> Executor:
    _check_no_address("inline", address)
    if workers != 1:
        raise WorkerError(
            f"the inline executor runs one task at a time: the number of workers (workers.count) must be 1, but is "
            f'{workers}; for more, use the executor "local" (workers.engine).'
        )
    return InlineExecutor(limits)


def _local(workers: int, limits: Limits, address: str | None) -> Executor:
    _check_no_address("local", address)
    from workers.local import LocalExecutor  # loads multiprocessing and pebble

    return LocalExecutor(workers, limits)


def _dask(workers: int, limits: Limits, address: str | None) -> Executor:
    with _needs("distributed", "dask"):
        from workers.dask import DaskExecutor

    return DaskExecutor(workers, limits, address)


def _ray(workers: int, limits: Limits, address: str | None) -> Executor:
    with _needs("ray", "ray"):
        from workers.ray import RayExecutor

    return RayExecutor(workers, limits, address)


def _check_no_address(name: str, address: str | None) -> None:
    if address is not None:
        raise WorkerError(f'`address` is for the executors of clusters, but got {address!r} for "{name}"; omit it.')


@contextmanager
def _needs(package: str, extra: str) -> Iterator[None]:
    """A block of imports whose failure says how to install what is missing."""
    try:
        yield
    except ImportError as error:
        raise WorkerError(f"The executor \"{extra}\" needs {package}: pip install 'autokd[{extra}]'.") from error


_builds: dict[str, Build] = {"dask": _dask, "inline": _inline, "local": _local, "ray": _ray}
