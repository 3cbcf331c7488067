"""Nested tables as one table of dotted keys, and their depth."""

from collections.abc import Iterator
from typing import Any

__all__ = ["depth", "flat"]


def flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys of nested tables, each with its value."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def depth(values: Any) -> int:
    """Depth to which tables and lists are nested, 0 for a plain value. Not recursive, so there is no limit."""
    level, deep = [values], 0
    while level := [value for value in level if isinstance(value, dict | list)]:
        level = [inner for value in level for inner in (value.values() if isinstance(value, dict) else value)]
        deep += 1
    return deep
