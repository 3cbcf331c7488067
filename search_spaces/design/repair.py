"""The parameters nearest to given ones that are as good as asked for: how a proposal is made to fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from optuna.distributions import CategoricalDistribution, IntDistribution

from search_spaces.design.dimensions import Dimension, Parameters, Value, draw, low_ends

__all__ = ["drawn", "repair"]

Excess = Callable[[Parameters], tuple[float, ...]]
"""What is wrong with parameters, the worst first; all zeros if nothing is."""


def repair(
    dimensions: Mapping[str, Dimension], start: Parameters, excess: Excess, rng: np.random.Generator
) -> tuple[dict[str, Value], tuple[float, ...]]:
    """`start` if nothing is wrong with it; else one dimension after another is changed until nothing is.

    Each time it is the change that makes all well, drawn evenly if there are several, or else the one with the least
    excess. It ends where no change makes the excess less, so it always ends. Floats are left as they are.

    Returns:
        The parameters found, and the excess that is left.
    """
    found, least = dict(start), excess(start)
    while any(least):
        changes = [(excess(change), change) for change in _changes(dimensions, found, rng)]
        well = [(over, change) for over, change in changes if not any(over)]
        if well:
            least, found = well[int(rng.integers(len(well)))]
            break
        over, change = min(changes, key=lambda pair: pair[0], default=(least, found))
        if over >= least:
            break
        least, found = over, change
    return found, least


def drawn(dimensions: Mapping[str, Dimension], given: Parameters, rng: np.random.Generator) -> dict[str, Value]:
    """The given values of active dimensions, and an even draw of every active one that is missing."""
    values: dict[str, Value] = {}
    for name, dimension in dimensions.items():
        if dimension.is_active(values):
            values[name] = given[name] if name in given else draw(dimension.distribution, rng)
    return values


def _changes(
    dimensions: Mapping[str, Dimension], parameters: Parameters, rng: np.random.Generator
) -> Iterator[dict[str, Value]]:
    """The parameters with one category or whole number changed; what that makes active is drawn."""
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
