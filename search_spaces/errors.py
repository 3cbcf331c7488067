"""Errors of search spaces, and the messages for an unknown name and for a package that is not installed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

__all__ = ["BudgetError", "SpaceError", "needs", "unknown"]


class SpaceError(ValueError):
    """A parameter, name, graph or file breaks a rule; the message gives the rule, the values and a way out."""


class BudgetError(SpaceError):
    """An architecture does not fit the budget even at its smallest width; the message gives the limit and the cost."""


def unknown(kind: str, name: str, known: Iterable[str]) -> SpaceError:
    """Error for an unknown name, which suggests the nearest known name and lists all of them.

    Args:
        kind: What the name stands for, such as `search space`.
        name: The unknown name.
        known: All known names.
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return SpaceError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}.")


@contextmanager
def needs(user: str, package: str, extra: str, error: type[Exception] = SpaceError) -> Iterator[None]:
    """A block of imports whose failure says how to install what is missing.

    Args:
        user: What needs it, as the message's first words.
        package: The distribution that is missing then.
        extra: The extra of `pip install` that brings it.
        error: Class of the error.

    Raises:
        SpaceError: If an import in the block fails, or an `error` of another class.
    """
    try:
        yield
    except ImportError as reason:
        raise error(f"{user} needs {package}: pip install 'autokd[{extra}]'.") from reason
