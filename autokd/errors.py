"""Errors that a user meets: one line each, with the exit code that the command line documents."""

__all__ = ["AutoKDError", "BudgetInfeasibleError", "InputError", "InterruptedSearchError"]


class AutoKDError(Exception):
    """Something failed; the message is one line that says what, where and what is allowed."""

    exit_code = 5


class InputError(AutoKDError):
    """What was given cannot be used: a file, a name, a value, a database."""

    exit_code = 2


class BudgetInfeasibleError(AutoKDError):
    """No student of the space meets the device budget."""

    exit_code = 3


class InterruptedSearchError(AutoKDError):
    """The search was stopped before its end and can be resumed."""

    exit_code = 4
