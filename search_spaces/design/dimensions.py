"""Dimensions of a search space: their distributions, when they are active, and how users narrow them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf, isfinite
from numbers import Integral

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.errors import SpaceError, unknown

__all__ = ["Dimension", "Parameters", "Range", "Value", "contains", "draw", "low_ends", "narrow"]

Value = int | float | str
Parameters = Mapping[str, Value]
Range = Value | Sequence[Value]
"""One value, which fixes a dimension; or (low, high) of a number; or the choices of a category."""


@dataclass(frozen=True)
class Dimension:
    """One searched parameter.

    Attributes:
        distribution: Values that are searched by default.
        parent: Name of another dimension; this one is active only if the parent has one of `values`.
        values: See `parent`.
        legal: Smallest and largest valid number; a user's range may exceed `distribution`, but not these bounds.
        default: If not None, the dimension is fixed to this value unless a user gives a range.
    """

    distribution: BaseDistribution
    parent: str | None = None
    values: tuple[Value, ...] = ()
    legal: tuple[float, float] = (-inf, inf)
    default: Value | None = None

    def is_active(self, values: Parameters) -> bool:
        """Whether the dimension has a value, given the values of its parents."""
        return self.parent is None or values.get(self.parent) in self.values


def narrow(
    dimensions: Mapping[str, Dimension], ranges: Mapping[str, Range], what: str
) -> tuple[dict[str, Dimension], dict[str, Value]]:
    """The dimensions that remain open, in their order, and the values of the fixed ones.

    A dimension that can no longer be active is dropped, and one that is now always active loses its parent.

    Args:
        dimensions: Dimensions by name, parents before children.
        ranges: Ranges or values for some of them.
        what: Owner of the dimensions, for error messages.

    Raises:
        SpaceError: If a name is unknown, a range is invalid, or a dimension has choices that are no values.
    """
    for name in ranges:
        if name not in dimensions:
            raise unknown(f"dimension of {what}", name, dimensions)
    for name, dimension in dimensions.items():
        _check_values(name, dimension.distribution)
    still_open: dict[str, Dimension] = {}
    fixed: dict[str, Value] = {}
    for name, dimension in dimensions.items():
        freed = _freed(dimension, still_open, fixed)
        given = ranges.get(name, dimension.default if freed is not None else None)
        if isinstance(given, int | float | str):
            fixed[name] = _only(name, given, dimension)
        elif freed is not None:
            distribution = dimension.distribution if given is None else _narrowed(name, given, dimension)
            still_open[name] = replace(freed, distribution=distribution)
    return still_open, fixed


def contains(distribution: BaseDistribution, value: Value) -> bool:
    """Whether a value is one of the distribution; whole numbers must be `int`, and a bool is no number."""
    if isinstance(distribution, CategoricalDistribution):
        return any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in distribution.choices)
    if isinstance(value, str | bool):
        return False
    if isinstance(distribution, IntDistribution):
        inside = isinstance(value, Integral) and distribution.low <= value <= distribution.high
        return inside and (value - distribution.low) % distribution.step == 0
    assert isinstance(distribution, FloatDistribution)
    return distribution.low <= value <= distribution.high and distribution._contains(float(value))  # by its step


def draw(distribution: BaseDistribution, rng: np.random.Generator) -> Value:
    """A uniform draw; uniform in the logarithm if the distribution is logarithmic."""
    if isinstance(distribution, IntDistribution):
        if distribution.log:
            return round(_log_uniform(distribution.low, distribution.high, rng))
        return distribution.low + distribution.step * int(rng.integers(_steps(distribution) + 1))
    if isinstance(distribution, FloatDistribution):
        if distribution.log:
            return _log_uniform(distribution.low, distribution.high, rng)
        if distribution.step is not None:
            value = distribution.low + distribution.step * int(rng.integers(_steps(distribution) + 1))
            return min(value, distribution.high)  # which rounding may pass, as in 0.1 + 2 * 0.1
        return float(rng.uniform(distribution.low, distribution.high))
    choices = low_ends(distribution)
    return choices[int(rng.integers(len(choices)))]


def low_ends(distribution: BaseDistribution) -> tuple[Value, ...]:
    """Smallest value of a number, or all choices of a category."""
    if isinstance(distribution, IntDistribution | FloatDistribution):
        return (distribution.low,)
    assert isinstance(distribution, CategoricalDistribution)
    return tuple(choice for choice in distribution.choices if isinstance(choice, int | float | str))


def _log_uniform(low: float, high: float, rng: np.random.Generator) -> float:
    return min(high, max(low, float(np.exp(rng.uniform(np.log(low), np.log(high))))))  # exp(log(x)) may pass x


def _steps(distribution: IntDistribution | FloatDistribution) -> int:
    return round((distribution.high - distribution.low) / (distribution.step or 1))


def _check_values(name: str, distribution: BaseDistribution) -> None:
    choices = distribution.choices if isinstance(distribution, CategoricalDistribution) else ()
    for choice in choices:
        if not isinstance(choice, int | float | str):
            raise SpaceError(f"The choices of `{name}` must be numbers, strings or bools, but got {choice!r}.")


def _freed(dimension: Dimension, still_open: Mapping[str, Dimension], fixed: Parameters) -> Dimension | None:
    """The dimension, without its parent if that is fixed to one of `values`; None if it can never be active."""
    parent = dimension.parent
    if parent is None:
        return dimension
    if parent in fixed:
        return replace(dimension, parent=None, values=()) if fixed[parent] in dimension.values else None
    if parent not in still_open:
        return None
    possible = any(contains(still_open[parent].distribution, value) for value in dimension.values)
    return dimension if possible else None


def _only(name: str, value: Value, dimension: Dimension) -> Value:
    """The value to which a dimension is fixed, after it is checked."""
    distribution = dimension.distribution
    if isinstance(distribution, CategoricalDistribution):
        _choices(name, (value,), distribution)
        return value
    low, _ = _ends(name, (value, value), dimension)
    return int(low) if isinstance(distribution, IntDistribution) else low


def _narrowed(name: str, given: Sequence[Value], dimension: Dimension) -> BaseDistribution:
    old = dimension.distribution
    if isinstance(old, CategoricalDistribution):
        return CategoricalDistribution(_choices(name, tuple(given), old))
    assert isinstance(old, IntDistribution | FloatDistribution)
    low, high = _ends(name, tuple(given), dimension)
    if old.log and low <= 0:
        raise SpaceError(f"`{name}` has a logarithmic scale, so a range of it must begin above 0, but got {low:g}.")
    if isinstance(old, IntDistribution):
        return IntDistribution(int(low), int(high), log=old.log, step=old.step)
    return FloatDistribution(low, high, log=old.log, step=old.step)


def _choices(name: str, given: tuple[Value, ...], distribution: CategoricalDistribution) -> tuple[Value, ...]:
    for choice in given:
        if not contains(distribution, choice):
            raise unknown(f"value of `{name}`", str(choice), map(str, distribution.choices))
    if not given or len(set(given)) != len(given):
        raise SpaceError(f"`{name}` must be one or more different choices, but got {given}.")
    return given


def _ends(name: str, given: tuple[Value, ...], dimension: Dimension) -> tuple[float, float]:
    """Low and high of a number, after they are checked."""
    numbers = [float(end) for end in given if isinstance(end, int | float) and not isinstance(end, bool)]
    if len(numbers) != 2 or len(given) != 2 or not all(map(isfinite, numbers)):
        raise SpaceError(f"`{name}` must be one number or (low, high), all finite, but got {given}.")
    (low, high), (smallest, largest) = numbers, dimension.legal
    if not smallest <= low <= high <= largest:
        least, most = f"{smallest:g} <= " * isfinite(smallest), f" <= {largest:g}" * isfinite(largest)
        bounds = f"`{least}low <= high{most}` must hold for `{name}`"
        raise SpaceError(f"{bounds}, but got {low:g}, {high:g}.")
    old = dimension.distribution
    assert isinstance(old, IntDistribution | FloatDistribution)
    if old.step is not None and any((_exact(end) - _exact(old.low)) % _exact(old.step) for end in (low, high)):
        raise SpaceError(f"`{name}` must be {old.low} plus a multiple of {old.step}, but got {given}.")
    return low, high


def _exact(number: float) -> Fraction:
    """The number as it is written: 0.3 is three times 0.1."""
    return Fraction(str(number))
