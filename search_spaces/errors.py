"""What can go wrong in a search space: one small tree of errors."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["BudgetError", "SpaceError", "unknown"]


class SpaceError(ValueError):
    """A parameter, name, graph or file breaks a rule; the message names the rule, the values and the way out."""


class BudgetError(SpaceError):
    """No width of this draw fits the budget; the message says which limit and how small the draw can be."""


def unknown(kind: str, name: str, known: Iterable[str]) -> SpaceError:
    """The error for a name that does not exist: it gives the nearest known name and lists all."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return SpaceError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}.")
