"""The nearest known name to a misspelt one."""

import difflib
from collections.abc import Iterable

__all__ = ["nearest_name"]


def nearest_name(name: str, known: Iterable[str]) -> str:
    """`; the nearest known is ...`, or nothing if no known name is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; the nearest known is {near[0]!r}" if near else ""
