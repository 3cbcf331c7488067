"""Shape of the trust region in a space of numbers and categories, and random points inside it.

    c      d         centre
    L                length of the region
    l      d         length scales of the model, divided by their geometric mean over the numeric coordinates
    c_j +- L l_j / 2 bounds of numeric coordinate j, within [0, 1]; a level is inside if part of its cell is
    L >= 2           the whole space

Eriksson et al. 2019 describe continuous coordinates only. [ours] A coordinate of levels always includes the levels next
to the centre's, however short the region; otherwise it would never change again. Of K categories at most
`max(1, ceil(K L))` may differ from the centre's at once: a Hamming ball as in Wan et al. 2021,
https://arxiv.org/abs/2102.07188, but with one length for numbers and categories.
"""

import math
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Generator, Tensor

from autokd.optimizers.space.conditions import Conditions, Parents
from autokd.optimizers.space.coordinates import MISSING, Levels
from autokd.optimizers.space.encoding import Encoding
from autokd.optimizers.trust_region import WHOLE

__all__ = ["Box", "draw", "vary"]

_N_PERTURBED = 20  # expected number of perturbed coordinates in a wide space, as in the paper
_N_VARIED = 2  # expected number of coordinates in which a variation differs


@dataclass(frozen=True)
class Box:
    """Bounds of the trust region.

    Attributes:
        center: Codes of the centre, `d`; may include the codes of missing values.
        lower: Lower bounds, `d`; 0 for a category.
        upper: Upper bounds, `d`; 1 for a category.
        categorical: Mask of the categorical coordinates, `d`, bool.
        n_changes: Number of categories that may differ from the centre's.
        conditions: The conditional parameters.
    """

    center: Tensor
    lower: Tensor
    upper: Tensor
    categorical: Tensor
    n_changes: int
    conditions: Conditions

    @classmethod
    def of(
        cls,
        encoding: Encoding,
        center: Tensor,
        length: float,
        lengthscales: Tensor,
        conditions: Parents = MappingProxyType({}),
    ) -> "Box":
        """Region of the given length around a centre.

        Args:
            encoding: Encoding of the search space.
            center: Codes of the centre, `d`.
            length: Edge of the region, as a share of the unit cube's edge.
            lengthscales: Length scales of the model, `d`.
            conditions: The conditional parameters.
        """
        known = Conditions(encoding, conditions)
        categorical = torch.tensor([n > 0 for n in encoding.categories])
        logs = lengthscales.log()
        half = length / 2 * (logs - logs[~categorical].mean()).exp() if length < WHOLE else torch.ones_like(center)
        lower, upper = (center - half).clamp(0, 1), (center + half).clamp(0, 1)
        for j, coordinate in enumerate(encoding.coordinates):
            if isinstance(coordinate, Levels):
                below, above = coordinate.neighbours(float(center[j]))
                lower[j], upper[j] = min(float(lower[j]), below), max(float(upper[j]), above)
        free = categorical | ~known.active(center[None])[0]
        lower[free], upper[free] = 0.0, 1.0
        n_categories = int(categorical.sum())
        n_changes = min(max(1, math.ceil(n_categories * length)), n_categories)
        return cls(center, lower, upper, categorical, n_changes, known)

    def holds(self, points: Tensor) -> Tensor:
        """Mask of the rows of `n x d` that change at most `n_changes` categories, `n`, bool."""
        is_missing = (points == MISSING) | (self.center == MISSING)
        counted = self.categorical & ~(self.conditions.conditional & is_missing)
        return ((points != self.center) & counted).sum(dim=1) <= self.n_changes


def draw(box: Box, encoding: Encoding, n: int, generator: Generator) -> Tensor:
    """Codes of n random points of the region, `n x d`; each differs from the centre in some coordinates only.

    Each coordinate is redrawn with probability `min(1, 20 / d)`; if that selects no coordinate of a point, one chosen
    at random is redrawn. A redrawn level or category may equal the centre's.

    Args:
        box: The region.
        encoding: Encoding of the search space.
        n: Number of points.
        generator: Source of randomness.
    """
    mask = _mask(n, encoding.dimension, _N_PERTURBED, generator)
    # If more than `n_changes` categories are selected, a random subset of them is redrawn.
    order = _rand(n, encoding.dimension, generator).masked_fill(~(mask & box.categorical), 2.0)
    place = order.argsort(dim=1).argsort(dim=1)
    mask &= ~box.categorical | (place < box.n_changes)
    points = encoding.snap(box.lower + _rand(n, encoding.dimension, generator) * (box.upper - box.lower))
    return box.conditions.settled(torch.where(mask, points, box.center), box.center[None], points)


def vary(box: Box, encoding: Encoding, starts: Tensor, n: int, step: float, generator: Generator) -> Tensor:
    """Codes of points of the region near the given ones, at most `n x d`: the moves of the local search.

    About two coordinates of a start change. A number moves by a normal step or, with probability one half, to a uniform
    point of the region; a category is redrawn.

    Args:
        box: The region.
        encoding: Encoding of the search space.
        starts: Codes of the starting points, `s x d`; moves are spread evenly over them.
        n: Number of moves; those that leave the region are dropped.
        step: Standard deviation of a step, as a share of the region's edge.
        generator: Source of randomness.
    """
    shape = (n, encoding.dimension)
    origin = starts[torch.arange(n) % len(starts)]
    edge = box.upper - box.lower
    near = origin + step * edge * torch.randn(shape, dtype=torch.float64, generator=generator)
    anywhere = box.lower + edge * _rand(*shape, generator)
    far = box.categorical | (_rand(*shape, generator) < 0.5)
    moved = torch.where(far, anywhere, near).clamp(box.lower, box.upper)
    changed = torch.where(_mask(*shape, _N_VARIED, generator), encoding.snap(moved), origin)
    points = box.conditions.settled(changed, origin, encoding.snap(anywhere))
    return points[box.holds(points)]


def _mask(n: int, dimension: int, n_expected: int, generator: Generator) -> Tensor:
    """Mask of the coordinates to change, `n x dimension`, at least one in each row."""
    mask = _rand(n, dimension, generator) < n_expected / dimension
    # `high` is exclusive, so it must be d: with d - 1 the last coordinate could never be chosen alone.
    chosen = torch.randint(dimension, (n,), generator=generator)
    empty = ~mask.any(dim=1)
    mask[empty, chosen[empty]] = True
    return mask


def _rand(n: int, dimension: int, generator: Generator) -> Tensor:
    return torch.rand(n, dimension, dtype=torch.float64, generator=generator)
