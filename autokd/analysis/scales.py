"""Positions of accuracies and of values of dimensions on an axis, and the axis' labels.

Accuracies stand on a logarithmic axis of the error, since a step from 98 to 99 % is as large as one from 80 to 90 %.
"""

from collections.abc import Sequence
from math import inf, isclose
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from autokd.optimizers.arrays import Array
from autokd.searches.tables import count

if TYPE_CHECKING:
    from matplotlib.axis import Axis

__all__ = [
    "NAME_HEIGHT",
    "accuracy_places",
    "apart",
    "jitter",
    "label_accuracies",
    "label_costs",
    "label_values",
    "short",
]

JITTER = 0.16  # of points that share a level
LEAST_ERROR = 0.01  # percent: the end of the axis of accuracies
ERRORS = (90, 70, *(step * 10.0**power for power in (1, 0, -1, -2) for step in (5, 3, 2, 1)))  # at ticks
FEWEST_TICKS = 4
LONGEST_NAME = 25  # letters
NAME_HEIGHT = 0.055  # of a name beside a point, as a share of the axes


def accuracy_places(accuracies: Sequence[float]) -> Array:
    """Positions of accuracies in percent on their logarithmic axis."""
    places: Array = -np.log10(np.maximum(100 - np.array(accuracies, dtype=float), LEAST_ERROR))
    return places


def label_accuracies(axis: "Axis", accuracies: Sequence[float]) -> None:
    """Label the axis of these accuracies in percent."""
    low, high = accuracy_places([min(accuracies), max(accuracies)])
    room = max(0.06 * (high - low), 0.02)
    ticks = _ticks(max(0, 100 - 10 ** (room - low)), min(100 - 10 ** (-room - high), 100 - LEAST_ERROR))
    last = 100 - LEAST_ERROR
    axis.set_ticks(accuracy_places(ticks), ["100" if isclose(tick, last) else f"{tick:g}" for tick in ticks])
    if high - low < room:  # else ticks of equal accuracies crowd in the middle
        _limit(axis, low - room, high + room)


def label_costs(axis: "Axis", costs: Sequence[float]) -> None:
    """Label the logarithmic axis of these costs by numbers with three digits and a unit; few lie within a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    is_narrow = max(costs) < 10 * min(costs)
    axis.set_major_locator(MaxNLocator(4) if is_narrow else LogLocator(subs=(1, 3)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: count(round(value))))


def apart(places: Sequence[float], least: float) -> list[float]:
    """Heights of names beside points, in the order of the points, so that names of equal points stand above each other.

    Args:
        places: Heights of the points.
        least: Smallest distance of two names.
    """
    heights, height = dict[int, float](), -inf
    for position in sorted(range(len(places)), key=lambda position: places[position]):
        height = max(places[position], height + least)
        heights[position] = height
    return [heights[position] for position in range(len(places))]


def label_values(
    axis: "Axis", distribution: BaseDistribution, values: Sequence[Any], rng: np.random.Generator
) -> Array:
    """Label the axis of a dimension, and return the positions of values on it; names and integers are jittered.

    Args:
        axis: The axis.
        distribution: Distribution of the dimension.
        values: Values of trials.
        rng: Randomness of the shifts.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator

    if isinstance(distribution, CategoricalDistribution):
        names = [str(choice) for choice in distribution.choices]
        axis.set_ticks(range(len(names)), [short(name) for name in names], parse_math=False)
        _limit(axis, -0.5, len(names) - 0.5)  # those of the shifted points would cut ticks off
        return np.array([names.index(str(value)) for value in values]) + jitter(len(values), rng)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    places = np.array(values, dtype=float)
    if distribution.log:
        low, high = distribution.low, distribution.high
        is_narrow = high < 10 * low  # few ticks of the other kind lie within a decade
        locator = MaxNLocator(4, steps=(1, 2, 5, 10)) if is_narrow else LogLocator(subs=(1, 2, 5))
        ticks = [tick for tick in locator.tick_values(low, high) if low <= tick <= high]
        axis.set_ticks(np.log10(ticks), [f"{tick:g}" for tick in ticks])
        places = np.log10(places)
    elif isinstance(distribution, IntDistribution):
        axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        places = places + jitter(len(values), rng)
    return places


def jitter(n: int, rng: np.random.Generator) -> Array:
    """Small random shifts, so that equal points are seen beside each other."""
    return rng.uniform(-JITTER, JITTER, n)


def short(name: str) -> str:
    """A long name without its middle: composed methods differ at their ends."""
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}\N{HORIZONTAL ELLIPSIS}{name[-half:]}"


def _limit(axis: "Axis", low: float, high: float) -> None:
    limit = axis.axes.set_xlim if axis is axis.axes.xaxis else axis.axes.set_ylim
    limit(low, high)


def _ticks(low: float, high: float) -> list[float]:
    """Round accuracies in percent from low to high."""
    from matplotlib.ticker import MaxNLocator

    ticks = [100 - error for error in ERRORS if low <= 100 - error <= high]
    if len(ticks) < FEWEST_TICKS and high - low > LEAST_ERROR:
        ticks = [tick for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]
    return ticks
