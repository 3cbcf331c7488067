"""Nested tables as one table of dotted keys, and how deep they are nested."""

from collections.abc import Iterator
from typing import Any

__all__ = ["depth", "flat"]


def flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys of nested tables, with their values."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def depth(values: Any) -> int:
    """How many tables and lists are within each other; 0 of a plain value. Not recursive, so any depth can be told."""
    level, deep = [values], 0
    while level := [value for value in level if isinstance(value, dict | list)]:
        level = [inner for value in level for inner in (value.values() if isinstance(value, dict) else value)]
        deep += 1
    return deep
