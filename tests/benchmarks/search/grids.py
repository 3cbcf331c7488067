"""The values that a distribution offers, and of finite spaces their numbers and the order of the points."""

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

__all__ = ["choices", "code", "decoded", "is_continuum", "order", "shape"]


def choices(distribution: BaseDistribution) -> tuple[Any, ...]:
    """All values of a distribution, in their order.

    Raises:
        ValueError: If there is a continuum of them.
    """
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return tuple(range(distribution.low, distribution.high + 1, distribution.step))
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        n_steps = round((distribution.high - distribution.low) / distribution.step)
        return tuple(distribution.low + distribution.step * index for index in range(n_steps + 1))
    raise ValueError(f"A grid's parameters must have finitely many values, but one is {distribution}.")


def is_continuum(distribution: BaseDistribution) -> TypeGuard[FloatDistribution]:
    """Whether its values are all numbers of an interval."""
    return isinstance(distribution, FloatDistribution) and distribution.step is None


def decoded(distribution: BaseDistribution, position: float) -> Any:
    """The value at a position in the unit interval, of which each choice, or each logarithm, has an equal share."""
    if is_continuum(distribution):
        if distribution.log:
            return min(distribution.low * (distribution.high / distribution.low) ** position, distribution.high)
        return distribution.low + (distribution.high - distribution.low) * position
    values = choices(distribution)
    return values[min(int(position * len(values)), len(values) - 1)]


def code(distribution: BaseDistribution, value: Any) -> int:
    """Index of the value among the choices; a float may be off by rounding."""
    if isinstance(distribution, CategoricalDistribution):
        return int(distribution.to_internal_repr(value))
    if isinstance(distribution, IntDistribution | FloatDistribution) and distribution.step is not None:
        position: float = (value - distribution.low) / distribution.step
        return round(position)
    raise ValueError(f"A grid's parameters must have finitely many values, but one is {distribution}.")


def shape(space: Mapping[str, BaseDistribution]) -> tuple[int, ...]:
    """Number of choices a parameter."""
    return tuple(len(choices(distribution)) for distribution in space.values())


def order(space: Mapping[str, BaseDistribution], codes: NDArray[np.integer]) -> NDArray[np.intp]:
    """Which table row belongs to each point, for points in the order in which `itertools.product` would list them.

    Args:
        space: The space.
        codes: Indices of each table row's choices, `rows x parameters`; each point must be there once.

    Raises:
        ValueError: If there are too few or too many rows.
    """
    if len(codes) != math.prod(shape(space)):
        raise ValueError(f"The table must have {math.prod(shape(space))} rows, but has {len(codes)}.")
    return np.argsort(np.ravel_multi_index(tuple(codes.astype(np.int64).T), shape(space)))
