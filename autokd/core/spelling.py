"""Names: the nearest known one to a misspelt one, and one that is free."""

import difflib
from collections.abc import Collection, Iterable
from itertools import count

__all__ = ["free_name", "nearest_name"]


def nearest_name(name: str, known: Iterable[str]) -> str:
    """`; the nearest known is ...`, or nothing if no known name is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; the nearest known is {near[0]!r}" if near else ""


def free_name(name: str, taken: Collection[str]) -> str:
    """The name; if it is taken, with the first number from 2 on with which it is not."""
    numbered = (f"{name}-{number}" for number in count(2))
    return name if name not in taken else next(each for each in numbered if each not in taken)
