"""Errors that a user meets: one line each, with the exit code that the command line documents."""

__all__ = [
    "AutoKDError",
    "BudgetInfeasibleError",
    "DepotError",
    "DiskFullError",
    "DivergedError",
    "InputError",
    "InterruptedSearchError",
    "first_line",
]


class AutoKDError(Exception):
    """Something failed; the message is one line that says what, where and what is allowed."""

    exit_code = 5


class InputError(AutoKDError):
    """What was given cannot be used: a file, a name, a value, a database."""

    exit_code = 2


class DiskFullError(InputError):
    """A disk has no room for what is to be written; a search that is recorded goes on once it has."""


class DepotError(InputError):
    """A URL at which workers find files cannot be used; a search that is recorded goes on once it can."""


class BudgetInfeasibleError(AutoKDError):
    """No student of the space meets the device budget."""

    exit_code = 3


class DivergedError(AutoKDError):
    """Training diverged: the loss, or an output of the network, became infinite or NaN."""


class InterruptedSearchError(AutoKDError):
    """A search, or the training of a teacher, was stopped before its end and can be resumed."""

    exit_code = 4


def first_line(error: BaseException) -> str:
    """The first line of an error's message without its full stop; its type if it has no message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
