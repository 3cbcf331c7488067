"""A damaged row of the database as what explains an error that nobody foresaw."""

from pathlib import Path

from autokd.errors import AutoKDError

__all__ = ["explained", "find_explanation", "forget_home", "remember_home"]

_homes: list[Path | None] = []  # of the command that runs; global, as its arguments are


def remember_home(home: Path | None) -> Path | None:
    """The folder of all searches, for `find_explanation`; the callback of its option."""
    _homes.append(home)
    return home


def forget_home() -> None:
    """Begin another command."""
    _homes.clear()


def explained(error: AutoKDError) -> AutoKDError:
    """The damaged row behind a failure, if there is one; else the error. Other errors explain themselves."""
    return (find_explanation() if error.exit_code == AutoKDError.exit_code else None) or error


def find_explanation() -> AutoKDError | None:
    """The first damaged row of the database that the command uses; None if there is none, or it uses no database."""
    from autokd.searches.doctor import find_damage
    from autokd.searches.workspace import default_workspace

    try:
        return next((error for home in _homes for error in find_damage(default_workspace(home))), None)
    except Exception:  # it cannot be told; the error that is to be explained says more
        return None
