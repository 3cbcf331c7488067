"""Optuna's search spaces as unit cubes with one coordinate for each parameter, and points as rows of codes."""

import functools
import itertools
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from optuna.distributions import BaseDistribution
from torch import Tensor
from torch.quasirandom import SobolEngine

from autokd.optimizers.space.coordinates import MISSING, Category, Coordinate, coordinate

__all__ = ["Encoding", "Key", "keys", "nearest", "unseen"]

Key = bytes
"""Hashable form of a point, see `keys`."""

_KEY_DIGITS = 9  # points whose codes agree to these digits are the same; no sensible space has narrower levels


@dataclass(frozen=True)
class Encoding:
    """A search space as `dimension` coordinates, sorted by the parameters' names.

    Sorting makes proposals independent of the order in which an objective asks for its parameters.
    """

    names: tuple[str, ...]
    coordinates: tuple[Coordinate, ...]

    @classmethod
    def of(cls, search_space: Mapping[str, BaseDistribution]) -> "Encoding":
        """Encoding of a search space whose distributions each hold more than one value."""
        names = tuple(sorted(search_space))
        return cls(names, tuple(coordinate(name, search_space[name]) for name in names))

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.names)

    @property
    def categories(self) -> tuple[int, ...]:
        """Number of choices of each coordinate, 0 for a numeric one."""
        return tuple(c.n_levels if isinstance(c, Category) else 0 for c in self.coordinates)

    @property
    def size(self) -> float:
        """Number of points in the space, infinity if any coordinate is continuous."""
        return math.prod(math.inf if c.n_levels is None else c.n_levels for c in self.coordinates)

    @property
    def resolution(self) -> float:
        """Length of the shortest step between two points, as a share of the unit cube's edge; 0 if continuous.

        The step of k categories is 1 / k, since in a region of this length one of them may change.
        """
        n_categories = sum(n > 0 for n in self.categories)
        widths = [1 / n_categories] if n_categories else []
        numbers = [c for c in self.coordinates if not isinstance(c, Category)]
        return min(widths + [0.0 if c.n_levels is None else 1 / c.n_levels for c in numbers])

    def encode(self, params: Mapping[str, Any]) -> list[float]:
        """Codes of one trial's parameters; unknown names are ignored, absent ones get the code of a missing value."""
        pairs = zip(self.names, self.coordinates, strict=True)
        return [c.encode(params[name]) if name in params else c.missing() for name, c in pairs]

    def decode(self, codes: Sequence[float]) -> dict[str, Any]:
        """Parameters at one row of codes, without missing categories."""
        pairs = enumerate(zip(self.names, self.coordinates, codes, strict=True))
        return {name: c.decode(code) for column, (name, c, code) in pairs if not self.is_missing(column, code)}

    def is_missing(self, column: int, code: float) -> bool:
        """Whether a coordinate's code is that of a missing category; the code of a missing number is also a value."""
        return isinstance(self.coordinates[column], Category) and code == MISSING

    def to_internal(self, params: Mapping[str, Any]) -> dict[str, float]:
        """Parameters in Optuna's internal representation: numbers, so that any choice can be stored as JSON."""
        pairs = zip(self.names, self.coordinates, strict=True)
        return {name: c.distribution.to_internal_repr(params[name]) for name, c in pairs if name in params}

    def from_internal(self, numbers: Mapping[str, float]) -> dict[str, Any]:
        """Parameters from Optuna's internal representation, the inverse of `to_internal`."""
        pairs = zip(self.names, self.coordinates, strict=True)
        return {name: c.distribution.to_external_repr(numbers[name]) for name, c in pairs if name in numbers}

    def snap(self, points: Tensor) -> Tensor:
        """Codes of the values nearest to arbitrary points of the unit cube, `n x dimension`."""
        return torch.stack([c.snap(points[:, j]) for j, c in enumerate(self.coordinates)], dim=1)

    def sobol(self, first: int, n: int, seed: int) -> Tensor:
        """Codes of consecutive points of a scrambled Sobol sequence, `n x dimension`.

        Args:
            first: Index of the first point.
            n: Number of points.
            seed: Seed of the scrambling.
        """
        engine = SobolEngine(self.dimension, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
        engine.fast_forward(first)  # type: ignore[no-untyped-call]
        return self.snap(engine.draw(n, dtype=torch.float64))

    def grid(self) -> Tensor:
        """All points of a finite space, `size x dimension`."""
        rows = list(itertools.product(*(c.levels() for c in self.coordinates)))
        return torch.tensor(rows, dtype=torch.float64)


def keys(points: Tensor) -> list[Key]:
    """Hashable key of each row; rows that are equal up to rounding have the same key."""
    return [row.tobytes() for row in points.numpy().round(_KEY_DIGITS) + 0.0]  # no -0.0, whose bytes differ


def unseen(points: Tensor, seen: Container[Key]) -> Tensor:
    """Rows whose keys are not among the seen ones, without repetitions and in order."""
    kept: dict[Key, int] = {}
    for row, key in enumerate(keys(points)):
        if key not in seen:
            kept.setdefault(key, row)
    return points[list(kept.values())]


def nearest(points: Tensor, centers: Tensor, categories: Sequence[int], most: int) -> Tensor:
    """Indices of at most `most` of the points, those nearest to a centre, in their order; of ties, the first ones.

    The distance is the sum of squared differences of numbers and of the number of different categories.

    Args:
        points: Codes, `n x d`.
        centers: Codes, `m x d`, of which the nearest to a point counts.
        categories: Number of choices of each coordinate, as in `Encoding.categories`.
        most: Largest number of points, at least 1.
    """
    if len(points) <= most:
        return torch.arange(len(points))
    categorical = torch.tensor([n > 0 for n in categories])
    differences = (points - center for center in centers)
    distance = functools.reduce(
        torch.minimum,
        (torch.where(categorical, (each != 0).double(), each.square()).sum(dim=1) for each in differences),
    )
    edge = distance.kthvalue(most).values
    inside = (distance < edge).nonzero().flatten()
    at_edge = (distance == edge).nonzero().flatten()[: most - len(inside)]
    return torch.cat([inside, at_edge]).sort().values
