"""The check of a list whose values must be different."""

from collections.abc import Hashable
from typing import TypeVar

__all__ = ["distinct"]

T = TypeVar("T", bound=Hashable)


def distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    """The same values, after they are checked.

    Raises:
        ValueError: If one of them comes more than once.
    """
    if repeated := [value for value in dict.fromkeys(values) if values.count(value) > 1]:
        raise ValueError(f"must be different, but {repeated[0]!r} comes more than once")
    return values
