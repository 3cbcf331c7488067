"""What is known of a point beside its parameters: numbers that describe what these make, such as a graph's depth."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from autokd.optimizers.arrays import Array
from autokd.optimizers.encoding import Encoding
from autokd.optimizers.errors import OptimizerError

__all__ = ["Describe", "Features", "described", "no_features"]

Describe = Callable[[Tensor], Array]
"""Features of codes, `n x d`, as `n x f` numbers; f is the same for all points."""


def no_features(points: Tensor) -> Array:
    """None of any point, `n x 0`."""
    return np.empty((len(points), 0))


def described(features: Callable[[Mapping[str, Any]], Sequence[float]], encoding: Encoding) -> Describe:
    """A user's features of parameters as those of codes; asked for once a point, since several models look at it.

    What it returns raises:
        OptimizerError: If a point's features are not finite, or not as many as the first point's.
    """
    known: dict[tuple[float, ...], list[float]] = {}

    def ask(row: tuple[float, ...]) -> list[float]:
        params = encoding.decode(row)
        found = [float(value) for value in features(params)]
        n_expected = len(next(iter(known.values()), found))
        if len(found) != n_expected or not all(map(math.isfinite, found)):
            raise OptimizerError(f"`features` must be {n_expected} finite numbers, but are {found} for {params}.")
        return found

    def describe(points: Tensor) -> Array:
        rows = [tuple(row) for row in points.tolist()]
        for row in rows:
            if row not in known:
                known[row] = ask(row)
        return np.array([known[row] for row in rows])

    return describe


@dataclass(frozen=True)
class Features:
    """Features on the scale of some points, whose smallest values are 0 and largest 1.

    Attributes:
        describe: Of any points.
        lowest: Smallest values, `f`.
        ranges: How much larger the largest are, 1 where all are equal, `f`.
    """

    describe: Describe
    lowest: Array
    ranges: Array

    @classmethod
    def of(cls, describe: Describe, points: Tensor) -> "Features":
        """Features on the scale of these points, at least one."""
        values = describe(points)
        lowest, ranges = values.min(axis=0), np.ptp(values, axis=0)
        return cls(describe, lowest, np.where(ranges > 0, ranges, 1.0))

    @property
    def number(self) -> int:
        """How many there are, f."""
        return len(self.lowest)

    def __call__(self, points: Tensor) -> Array:
        """Of codes `n x d`, `n x f`."""
        if len(points) == 0:
            return np.empty((0, self.number))
        scaled: Array = (self.describe(points) - self.lowest) / self.ranges
        return scaled
