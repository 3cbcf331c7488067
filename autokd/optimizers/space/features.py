"""What is known of a point beside its parameters: numbers that describe what these make, such as a graph's depth."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from autokd.optimizers.arrays import Array
from autokd.optimizers.errors import OptimizerError
from autokd.optimizers.space.encoding import Encoding

__all__ = ["NOTHING", "Description", "Features", "description_of"]


@dataclass(frozen=True)
class Description:
    """Features of points, and what they are features of.

    Attributes:
        features: Of codes, `n x d` with n > 0, as `n x f` numbers; f is the same for all points.
        coordinates: Numbers of the coordinates of the codes that they describe.
    """

    features: Callable[[Tensor], Array]
    coordinates: frozenset[int]


NOTHING = Description(lambda points: np.empty((len(points), 0)), frozenset())
"""The description without features."""


def description_of(
    features: Callable[[Mapping[str, Any]], Sequence[float]] | None, names: Collection[str] | None, encoding: Encoding
) -> Description:
    """A user's features of parameters as those of codes; asked for once a point, since several models look at it.

    The features raise an `OptimizerError` if a point's are not finite, or not as many as the first point's.

    Args:
        features: Of all parameters of a point; None is no description.
        names: The parameters that they describe; None is all.
        encoding: The space.
    """
    if features is None:
        return NOTHING
    known: dict[tuple[float, ...], list[float]] = {}

    def ask(row: tuple[float, ...]) -> list[float]:
        params = encoding.decode(row)
        found = [float(value) for value in features(params)]
        n_expected = len(next(iter(known.values()), found))
        if len(found) != n_expected or not all(map(math.isfinite, found)):
            raise OptimizerError(f"`features` must be {n_expected} finite numbers, but are {found} for {params}.")
        return found

    def of_codes(points: Tensor) -> Array:
        rows = [tuple(row) for row in points.tolist()]
        for row in rows:
            if row not in known:
                known[row] = ask(row)
        return np.array([known[row] for row in rows])

    coordinates = (k for k, name in enumerate(encoding.names) if names is None or name in names)
    return Description(of_codes, frozenset(coordinates))


@dataclass(frozen=True)
class Features:
    """Features on the scale of some points, whose smallest values are 0 and largest 1.

    Attributes:
        description: Of any points.
        lowest: Smallest values, `f`.
        ranges: How much larger the largest are, 1 where all are equal, `f`.
    """

    description: Description
    lowest: Array
    ranges: Array

    @classmethod
    def of(cls, description: Description, points: Tensor) -> "Features":
        """Features on the scale of these points, at least one."""
        values = description.features(points)
        lowest, ranges = values.min(axis=0), np.ptp(values, axis=0)
        return cls(description, lowest, np.where(ranges > 0, ranges, 1.0))

    @property
    def number(self) -> int:
        """How many there are, f."""
        return len(self.lowest)

    def __call__(self, points: Tensor) -> Array:
        """Of codes `n x d`, `n x f`."""
        if len(points) == 0:
            return np.empty((0, self.number))
        scaled: Array = (self.description.features(points) - self.lowest) / self.ranges
        return scaled
