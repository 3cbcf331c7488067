"""A damaged row of the database as what explains an error that nobody foresaw."""

from collections.abc import Sequence
from pathlib import Path

from autokd.errors import AutoKDError

__all__ = ["explained", "find_explanation", "forget_command", "remember_home", "remember_name", "remember_names"]

_homes: list[Path | None] = []  # of the command that runs; global, as its arguments are
_names: list[str] = []  # of the searches that it is about; all of them where there is none


def remember_home(home: Path | None) -> Path | None:
    """The folder of all searches, for `find_explanation`; the callback of its option."""
    _homes.append(home)
    return home


def remember_name(name: str) -> str:
    """The name of a search, for `find_explanation`; the callback of its argument."""
    _names.append(name)
    return name


def remember_names(names: Sequence[str] | None) -> Sequence[str] | None:
    """The names of searches, for `find_explanation`; the callback of their argument."""
    _names.extend(names or ())
    return names


def forget_command() -> None:
    """Begin another command, or one of which no row that is there can explain an error."""
    _homes.clear()
    _names.clear()


def explained(error: AutoKDError) -> AutoKDError:
    """The damaged row behind a failure, if there is one; else the error. Other errors explain themselves."""
    return (find_explanation() if error.exit_code == AutoKDError.exit_code else None) or error


def find_explanation() -> AutoKDError | None:
    """The first damaged row of the command's searches; None if there is none, or it uses no database."""
    from autokd.searches.doctor import find_damage
    from autokd.searches.workspace import default_workspace

    try:
        return next((error for home in _homes for error in find_damage(default_workspace(home), _names)), None)
    except Exception:  # it cannot be told; the error that is to be explained says more
        return None
