"""Which point to try next: the one that is worth most to the goal, new in the trust region or tried before."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from autokd.optimizers.acquisition.candidates import Box, draw, vary
from autokd.optimizers.acquisition.functions import AcquisitionFunction
from autokd.optimizers.errors import OptimizerError
from autokd.optimizers.space.encoding import Encoding, Key, unseen

__all__ = ["Allowed", "best_candidate", "spare_points"]

Allowed = Callable[[Tensor], Tensor]
"""Which rows of codes, `n x d`, keep the limits that can be computed beforehand, `n`, bool."""

_N_CANDIDATES = 1024
_N_NEIGHBOURS = 512  # variations of the best tried points
_STEPS = (0.2, 0.05, 0.01)  # of the local search's rounds
_N_STARTS = 8
_N_MOVES = 256
_LARGEST_GRID = 8192  # finite spaces up to here are searched whole before a point is repeated
_N_ROUNDS = 32  # draws from a space of which hardly a point is allowed


def best_candidate(
    encoding: Encoding,
    acquisition_function: AcquisitionFunction,
    box: Box,
    tops: Tensor,
    seen: set[Key],
    allowed: Allowed,
    generator: Generator,
) -> Tensor:
    """Codes of the point that is worth most, `d`.

    Random points of the region and variations of the best tried points come first, as evolution would mutate its best;
    then a local search from those worth most: few coordinates at a time, with shorter and shorter steps. Where the
    region holds no unseen point the whole space is offered, and where that holds none either, the seen points again.

    Args:
        encoding: The space.
        acquisition_function: What points are worth.
        box: The trust region.
        tops: The best tried points, `k x d` with k > 0.
        seen: Keys of finished and pending points.
        allowed: Limits that can be computed.
        generator: Source of randomness.
    """

    def fresh(points: Tensor) -> Tensor:
        new = unseen(points, seen)
        return new[allowed(new)]

    mutants = vary(box, encoding, tops, _N_NEIGHBOURS, _STEPS[0], generator)
    points = fresh(torch.cat([draw(box, encoding, _N_CANDIDATES, generator), mutants]))
    if len(points) == 0:
        points = spare_points(encoding, seen, allowed, generator)
    worths = acquisition_function.log_worth(points)
    for step in _STEPS:
        starts = points[worths.topk(min(_N_STARTS, len(points))).indices]
        moves = fresh(vary(box, encoding, starts, _N_MOVES, step, generator))
        if len(moves):
            points = torch.cat([points, moves])
            worths = torch.cat([worths, acquisition_function.log_worth(moves)])
    tried, worths_again = acquisition_function.repeated()
    return torch.cat([points, tried])[torch.cat([worths, worths_again]).argmax()]


def spare_points(encoding: Encoding, seen: set[Key], allowed: Allowed, generator: Generator) -> Tensor:
    """Codes of allowed unseen points from anywhere, `n x d` with n > 0; of seen ones once a space is used up.

    Raises:
        OptimizerError: If no point is found to be allowed.
    """
    if encoding.size <= _LARGEST_GRID:
        points = encoding.grid()
        points = points[torch.randperm(len(points), generator=generator)]
        return _preferably_unseen(points[allowed(points)], seen, len(points))
    n_drawn = 0
    kept = torch.empty(0, encoding.dimension, dtype=torch.float64)
    for _ in range(_N_ROUNDS):
        uniform = torch.rand(_N_CANDIDATES, encoding.dimension, dtype=torch.float64, generator=generator)
        points = encoding.snap(uniform)
        n_drawn += len(points)
        kept = torch.cat([kept, points[allowed(points)]])
        if len(unseen(kept, seen)):
            break
    return _preferably_unseen(kept, seen, n_drawn)


def _preferably_unseen(points: Tensor, seen: set[Key], n_drawn: int) -> Tensor:
    if len(points) == 0:
        raise OptimizerError(f"`feasible` must allow some points, but refused all of the {n_drawn} that were tried.")
    fresh = unseen(points, seen)
    return fresh if len(fresh) else points
