"""Errors of executors and their tasks, apart from the tasks' own exceptions.

Subclasses are named after what happened; ruff's N818 would append `Error` to each.
"""

__all__ = [
    "EngineLost",
    "ExecutorClosed",
    "TaskExited",
    "TaskOutOfMemory",
    "TaskTimeout",
    "TaskUnpicklable",
    "UnguardedMain",
    "WorkerError",
    "WorkerLost",
]


class WorkerError(Exception):
    """Base class of all errors of this package."""


class EngineLost(WorkerError):  # noqa: N818
    """The engine of a cluster does not answer, or no longer does; no task can be submitted to it."""


class ExecutorClosed(WorkerError):  # noqa: N818
    """A task was submitted after shutdown."""


class TaskExited(WorkerError):  # noqa: N818
    """A task asked Python to exit, as `sys.exit()` does, where it should have returned or raised an error."""

    @classmethod
    def by(cls, error: BaseException) -> "TaskExited":
        """The error for what was raised in place of an `Exception`."""
        return cls(f"A task must return or raise an error, but its code asked Python to exit: {error!r}.")


class TaskUnpicklable(WorkerError):  # noqa: N818
    """A function, argument, result or exception cannot be pickled."""


class TaskTimeout(WorkerError):  # noqa: N818
    """A task ran longer than `Limits.seconds` and was killed."""


class TaskOutOfMemory(WorkerError):  # noqa: N818
    """A task's worker used more than `Limits.memory_bytes` and was killed."""


class WorkerLost(WorkerError):  # noqa: N818
    """A worker was killed by a signal, or exited, before its task had ended."""


class UnguardedMain(WorkerError):  # noqa: N818
    """The main module starts workers whenever it is imported, and every worker imports it."""
