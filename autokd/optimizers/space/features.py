"""Features of points: numbers that describe what the parameters produce, such as the depth of a graph."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from torch import Tensor

from autokd.optimizers.arrays import Array
from autokd.optimizers.errors import OptimizerError
from autokd.optimizers.space.encoding import Encoding

__all__ = ["NO_FEATURES", "Description", "Features", "description_of"]


_N_KEPT = 2**14  # points whose features are kept: those that the model is shown at each proposal, and candidates


@dataclass(frozen=True)
class Description:
    """A function that computes features, and the coordinates that it describes.

    Attributes:
        features: Function from codes, `n x d` with n > 0, to features, `n x f`; f is the same for all points.
        coordinates: Indices of the coordinates that the features describe.
    """

    features: Callable[[Tensor], Array]
    coordinates: frozenset[int]


NO_FEATURES = Description(lambda points: np.empty((len(points), 0)), frozenset())
"""The description without features."""


def description_of(
    features: Callable[[Mapping[str, Any]], Sequence[float]] | None, names: Collection[str] | None, encoding: Encoding
) -> Description:
    """Description by a user's function of parameters, called once for each point that was not asked for recently.

    The resulting function raises `OptimizerError` if a point's features are not finite, or are not as many as those of
    the first point.

    Args:
        features: Function from the parameters of a point to its features; None for no features.
        names: Names of the parameters that the features describe; None for all.
        encoding: Encoding of the search space.
    """
    if features is None:
        return NO_FEATURES
    n_features: list[int] = []  # of the first point

    @lru_cache(_N_KEPT)
    def ask(row: tuple[float, ...]) -> list[float]:
        params = encoding.decode(row)
        found = [float(value) for value in features(params)]
        n_expected = n_features[0] if n_features else len(found)
        if len(found) != n_expected or not all(map(math.isfinite, found)):
            raise OptimizerError(f"`features` must be {n_expected} finite numbers, but got {found} for {params}.")
        n_features[:] = [n_expected]
        return found

    def of_codes(points: Tensor) -> Array:
        return np.array([ask(tuple(row)) for row in points.tolist()])

    coordinates = (k for k, name in enumerate(encoding.names) if names is None or name in names)
    return Description(of_codes, frozenset(coordinates))


@dataclass(frozen=True)
class Features:
    """Features scaled to [0, 1] over given points.

    Attributes:
        description: Function that computes the unscaled features.
        lowest: Smallest value of each feature, `f`.
        ranges: Largest minus smallest value of each feature, 1 if they are equal, `f`.
    """

    description: Description
    lowest: Array
    ranges: Array

    @classmethod
    def of(cls, description: Description, points: Tensor) -> "Features":
        """Features scaled over these points, at least one."""
        values = description.features(points)
        lowest, ranges = values.min(axis=0), np.ptp(values, axis=0)
        return cls(description, lowest, np.where(ranges > 0, ranges, 1.0))

    @property
    def number(self) -> int:
        """Number of features, f."""
        return len(self.lowest)

    def __call__(self, points: Tensor) -> Array:
        """Scaled features of codes `n x d`, `n x f`."""
        if len(points) == 0:
            return np.empty((0, self.number))
        scaled: Array = (self.description.features(points) - self.lowest) / self.ranges
        return scaled
