"""Repair of parameters that break a rule or do not fit a budget, by few changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from optuna.distributions import CategoricalDistribution, IntDistribution

from search_spaces.design.dimensions import Dimension, Parameters, Value, draw, low_ends

__all__ = ["drawn", "repair"]

Excess = Callable[[Parameters], tuple[float, ...]]
"""By how much parameters break each requirement, the most important first; all zeros if they meet all."""


def repair(
    dimensions: Mapping[str, Dimension], start: Parameters, excess: Excess, rng: np.random.Generator
) -> tuple[dict[str, Value], tuple[float, ...]]:
    """Parameters near `start` without excess, found by changing one dimension at a time.

    Each step takes a change after which no excess is left, drawn uniformly if there are several, or else the change
    with the least excess. The search ends when no change reduces the excess. Floats are never changed.

    Args:
        dimensions: Dimensions by name, parents before children.
        start: A value for each active dimension.
        excess: By how much parameters break each requirement.
        rng: Source of randomness.

    Returns:
        The parameters found, and the excess that remains.
    """
    found, least = dict(start), excess(start)
    while any(least):
        changes = [(excess(change), change) for change in _changes(dimensions, found, rng)]
        solutions = [(over, change) for over, change in changes if not any(over)]
        if solutions:
            least, found = solutions[int(rng.integers(len(solutions)))]
            break
        over, change = min(changes, key=lambda pair: pair[0], default=(least, found))
        if over >= least:
            break
        least, found = over, change
    return found, least


def drawn(dimensions: Mapping[str, Dimension], given: Parameters, rng: np.random.Generator) -> dict[str, Value]:
    """The given values of active dimensions, with a uniform draw for every active one that is missing.

    Args:
        dimensions: Dimensions by name, parents before children.
        given: Values of some of them; those of inactive dimensions are dropped.
        rng: Source of randomness.
    """
    values: dict[str, Value] = {}
    for name, dimension in dimensions.items():
        if dimension.is_active(values):
            values[name] = given[name] if name in given else draw(dimension.distribution, rng)
    return values


def _changes(
    dimensions: Mapping[str, Dimension], parameters: Parameters, rng: np.random.Generator
) -> Iterator[dict[str, Value]]:
    """All parameters with one category or whole number changed; dimensions that become active are drawn."""
    for name, value in parameters.items():
        for other in _values(dimensions[name]):
            if other != value:
                yield drawn(dimensions, {**parameters, name: other}, rng)


def _values(dimension: Dimension) -> tuple[Value, ...]:
    distribution = dimension.distribution
    if isinstance(distribution, CategoricalDistribution):
        return low_ends(distribution)
    if isinstance(distribution, IntDistribution):
        return tuple(range(distribution.low, distribution.high + 1, distribution.step))
    return ()
