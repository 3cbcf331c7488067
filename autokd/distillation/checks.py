"""Checks of hyper-parameters: each takes one keyword argument and returns its value if it is valid."""

import math
from collections.abc import Callable, Iterable, Mapping

from autokd.errors import InputError

__all__ = ["non_negative", "one_of", "positive", "share", "whole"]


def positive(**named: float) -> float:
    """Return the value if it is positive and finite; raise `InputError` otherwise."""
    return _checked("0 < {name} < inf", lambda value: 0 < value < math.inf, named)


def non_negative(**named: float) -> float:
    """Return the value if it is at least 0 and finite; raise `InputError` otherwise."""
    return _checked("0 <= {name} < inf", lambda value: 0 <= value < math.inf, named)


def share(**named: float) -> float:
    """Return the value if it is in `[0, 1]`; raise `InputError` otherwise."""
    return _checked("0 <= {name} <= 1", lambda value: 0 <= value <= 1, named)


def whole(least: int, **named: float) -> int:
    """Return the value if it is a whole number of at least `least`; raise `InputError` otherwise."""
    ((name, value),) = named.items()
    if not (value >= least and float(value).is_integer()):
        raise InputError(f"`{name}` must be a whole number of at least {least}, but got {name}={value!r}.")
    return int(value)


def one_of(known: Iterable[str], **named: str) -> str:
    """Return the value if it is one of the known names; raise `InputError` otherwise."""
    ((name, value),) = named.items()
    if value not in (names := list(known)):
        raise InputError(f"`{name}` must be one of {', '.join(names)}, but got {name}={value!r}.")
    return value


def _checked(rule: str, holds: Callable[[float], bool], named: Mapping[str, float]) -> float:
    ((name, value),) = named.items()
    if not holds(value):
        raise InputError(f"`{rule.format(name=name)}` must hold, but got {name}={value!r}.")
    return value
