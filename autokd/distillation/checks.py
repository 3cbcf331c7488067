"""Checks of hyper-parameters: each takes one by its name and gives it back."""

import math
from collections.abc import Callable, Iterable, Mapping

from autokd.errors import InputError

__all__ = ["non_negative", "one_of", "positive", "share"]


def positive(**named: float) -> float:
    """A positive, finite number."""
    return _checked("0 < {name} < inf", lambda value: 0 < value < math.inf, named)


def non_negative(**named: float) -> float:
    """A finite number of at least 0."""
    return _checked("0 <= {name} < inf", lambda value: 0 <= value < math.inf, named)


def share(**named: float) -> float:
    """A number in `[0, 1]`."""
    return _checked("0 <= {name} <= 1", lambda value: 0 <= value <= 1, named)


def one_of(known: Iterable[str], **named: str) -> str:
    """One of the known names."""
    ((name, value),) = named.items()
    if value not in (names := list(known)):
        raise InputError(f"`{name}` must be one of {', '.join(names)}, but got {name}={value!r}.")
    return value


def _checked(rule: str, holds: Callable[[float], bool], named: Mapping[str, float]) -> float:
    ((name, value),) = named.items()
    if not holds(value):
        raise InputError(f"`{rule.format(name=name)}` must hold, but got {name}={value!r}.")
    return value
