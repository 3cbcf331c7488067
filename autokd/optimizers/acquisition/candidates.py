"""The trust region's shape in a space of numbers and categories, and random points inside it.

    c      d         centre
    L                length of the region
    l      d         the model's length scales; over the numbers their geometric mean is divided out
    c_j +- L l_j / 2 the region of a number, within [0, 1]; a level is in it if a part of its cell is
    L >= 2           all of the space

Departures from Eriksson et al. 2019 for what is not continuous: a coordinate of levels always reaches the levels next
to the centre's, however short the region, since it would freeze otherwise; and of K categories at most
`max(1, ceil(K L))` may differ from the centre's at once, a Hamming ball as in Wan et al. 2021,
https://arxiv.org/abs/2102.07188, but with one length for both kinds.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from autokd.optimizers.space.coordinates import Levels
from autokd.optimizers.space.encoding import Encoding
from autokd.optimizers.trust_region import WHOLE

__all__ = ["Box", "draw", "vary"]

_N_PERTURBED = 20  # expected number of perturbed coordinates in a wide space, as in the paper
_N_VARIED = 2  # expected number of coordinates in which a variation differs


@dataclass(frozen=True)
class Box:
    """The trust region as bounds.

    Attributes:
        center: Codes of the centre, `d`; may be missing ones.
        lower: Lower bounds, `d`; 0 for a category.
        upper: Upper bounds, `d`; 1 for a category.
        categorical: Which coordinates are categories, `d`, bool.
        n_changes: How many of these may differ from the centre.
    """

    center: Tensor
    lower: Tensor
    upper: Tensor
    categorical: Tensor
    n_changes: int

    @classmethod
    def of(cls, encoding: Encoding, center: Tensor, length: float, lengthscales: Tensor) -> "Box":
        """The region of a length around a centre.

        Args:
            encoding: The space.
            center: Codes, `d`.
            length: Edge as a share of the unit cube's.
            lengthscales: The model's, `d`.
        """
        categorical = torch.tensor([n > 0 for n in encoding.categories])
        logs = lengthscales.log()
        half = length / 2 * (logs - logs[~categorical].mean()).exp() if length < WHOLE else torch.ones_like(center)
        lower, upper = (center - half).clamp(0, 1), (center + half).clamp(0, 1)
        for j, coordinate in enumerate(encoding.coordinates):
            if isinstance(coordinate, Levels):
                below, above = coordinate.neighbours(float(center[j]))
                lower[j], upper[j] = min(float(lower[j]), below), max(float(upper[j]), above)
        lower[categorical], upper[categorical] = 0.0, 1.0
        n_categories = int(categorical.sum())
        n_changes = min(max(1, math.ceil(n_categories * length)), n_categories)
        return cls(center, lower, upper, categorical, n_changes)

    def holds(self, points: Tensor) -> Tensor:
        """Which rows of `n x d` do not exceed the number of changed categories, `n`, bool."""
        return ((points != self.center) & self.categorical).sum(dim=1) <= self.n_changes


def draw(box: Box, encoding: Encoding, n: int, generator: Generator) -> Tensor:
    """Codes of n points of the region that differ from the centre in some coordinates, `n x d`.

    Each coordinate is redrawn with probability `min(1, 20 / d)`, and any one of them where that redraws none. A redrawn
    level or category may be the centre's again.
    """
    mask = _mask(n, encoding.dimension, _N_PERTURBED, generator)
    # Of the categories to redraw, the first few in a random order are.
    order = _rand(n, encoding.dimension, generator).masked_fill(~(mask & box.categorical), 2.0)
    place = order.argsort(dim=1).argsort(dim=1)
    mask &= ~box.categorical | (place < box.n_changes)
    points = box.lower + _rand(n, encoding.dimension, generator) * (box.upper - box.lower)
    return torch.where(mask, encoding.snap(points), box.center)


def vary(box: Box, encoding: Encoding, starts: Tensor, n: int, step: float, generator: Generator) -> Tensor:
    """Codes of points of the region near some others, at most `n x d`: the local search's moves.

    About two coordinates of a start change: a number by a normal step or, one time in two, to anywhere in the region; a
    category to any other.

    Args:
        box: The region.
        encoding: The space.
        starts: Codes, `s x d`; moves are spread evenly over them.
        n: Number of moves; those that leave the region are dropped.
        step: Standard deviation of a step as a share of the region's edge.
        generator: Source of randomness.
    """
    shape = (n, encoding.dimension)
    origin = starts[torch.arange(n) % len(starts)]
    edge = box.upper - box.lower
    near = origin + step * edge * torch.randn(shape, dtype=torch.float64, generator=generator)
    anywhere = box.lower + edge * _rand(*shape, generator)
    far = box.categorical | (_rand(*shape, generator) < 0.5)
    moved = torch.where(far, anywhere, near).clamp(box.lower, box.upper)
    points = torch.where(_mask(*shape, _N_VARIED, generator), encoding.snap(moved), origin)
    return points[box.holds(points)]


def _mask(n: int, dimension: int, n_expected: int, generator: Generator) -> Tensor:
    """Coordinates to change, `n x dimension`, at least one a row."""
    mask = _rand(n, dimension, generator) < n_expected / dimension
    # `high` is exclusive: it is d, not d - 1, or the last coordinate alone could never be chosen.
    chosen = torch.randint(dimension, (n,), generator=generator)
    empty = ~mask.any(dim=1)
    mask[empty, chosen[empty]] = True
    return mask


def _rand(n: int, dimension: int, generator: Generator) -> Tensor:
    return torch.rand(n, dimension, dtype=torch.float64, generator=generator)
