"""What can go wrong with a task apart from the task's own exceptions.

The children are named by what happened; N818 would append Error to each.
"""

__all__ = ["ExecutorClosed", "TaskOutOfMemory", "TaskTimeout", "TaskUnpicklable", "WorkerError", "WorkerLost"]


class WorkerError(Exception):
    """Base of all errors of this package; the CLI turns it into one line."""


class ExecutorClosed(WorkerError):  # noqa: N818
    """A task was submitted after shutdown."""


class TaskUnpicklable(WorkerError):  # noqa: N818
    """A function, argument, result or exception cannot travel between processes."""


class TaskTimeout(WorkerError):  # noqa: N818
    """A task ran longer than `Limits.seconds` and was killed."""


class TaskOutOfMemory(WorkerError):  # noqa: N818
    """A task's worker grew beyond `Limits.memory_bytes` and was killed."""


class WorkerLost(WorkerError):  # noqa: N818
    """A worker died, by a signal or by leaving the interpreter, before its task had ended."""
