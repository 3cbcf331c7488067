"""Which point of the trust region to try next: the largest expected improvement over the centre's posterior mean."""

import torch
from torch import Generator, Tensor

from autokd.optimizers.candidates import Box, draw, vary
from autokd.optimizers.encoding import Encoding, Key, unseen
from autokd.optimizers.surrogate import Surrogate

__all__ = ["best_candidate", "spare_points"]

_N_CANDIDATES = 1024
_STEPS = (0.2, 0.05, 0.01)  # of the local search's rounds
_N_STARTS = 8
_N_MOVES = 256
_LARGEST_GRID = 4096  # finite spaces up to here are searched whole before a point is repeated


def best_candidate(
    encoding: Encoding, surrogate: Surrogate, box: Box, best: float, seen: set[Key], generator: Generator
) -> Tensor:
    """Codes of the point of largest log expected improvement that has not been seen, `d`.

    Random points of the region come first, then a local search from the best of them: few coordinates at a time, with
    shorter and shorter steps. Where the region holds no unseen point the whole space is offered, and where that holds
    none either, the seen points again.

    Args:
        encoding: The space.
        surrogate: The model, which has seen pending points.
        box: The trust region.
        best: Value to improve upon.
        seen: Keys of finished and pending points.
        generator: Source of randomness.
    """
    points = unseen(draw(box, encoding, _N_CANDIDATES, generator), seen)
    if len(points) == 0:
        points = spare_points(encoding, seen, generator)
    scores = surrogate.log_expected_improvement(points, best)
    for step in _STEPS:
        starts = points[scores.topk(min(_N_STARTS, len(points))).indices]
        moves = unseen(vary(box, encoding, starts, _N_MOVES, step, generator), seen)
        if len(moves):
            points = torch.cat([points, moves])
            scores = torch.cat([scores, surrogate.log_expected_improvement(moves, best)])
    return points[scores.argmax()]


def spare_points(encoding: Encoding, seen: set[Key], generator: Generator) -> Tensor:
    """Codes of unseen points from anywhere, `n x d` with n > 0; of seen ones once a space is used up."""
    if encoding.size <= _LARGEST_GRID:
        points = encoding.grid()
        points = points[torch.randperm(len(points), generator=generator)]
    else:
        points = encoding.snap(torch.rand(_N_CANDIDATES, encoding.dimension, dtype=torch.float64, generator=generator))
    fresh = unseen(points, seen)
    return fresh if len(fresh) else points
