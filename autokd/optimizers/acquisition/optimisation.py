"""Optimisation of the acquisition function: the best new point of the trust region, or a tried point again."""

from collections.abc import Callable, Container

import torch
from torch import Generator, Tensor

from autokd.optimizers.acquisition.candidates import Box, draw, vary
from autokd.optimizers.acquisition.functions import AcquisitionFunction
from autokd.optimizers.errors import OptimizerError
from autokd.optimizers.space.conditions import Conditions
from autokd.optimizers.space.encoding import Encoding, Key, unseen

__all__ = ["Allowed", "best_candidate", "spare_points"]

Allowed = Callable[[Tensor], Tensor]
"""Mask of the rows of codes, `n x d`, that satisfy the constraints known before a trial, `n`, bool."""

_N_CANDIDATES = 1024
_N_NEIGHBOURS = 512  # variations of the best tried points
_STEPS = (0.2, 0.05, 0.01)  # of the local search's rounds
_N_STARTS = 8
_N_MOVES = 256
_LARGEST_GRID = 8192  # finite spaces of up to this size are enumerated before a point is repeated
_N_ROUNDS = 32  # most rounds of random draws where few points are allowed


def best_candidate(
    encoding: Encoding,
    acquisition_function: AcquisitionFunction,
    box: Box,
    tops: Tensor,
    seen: Container[Key],
    allowed: Allowed,
    generator: Generator,
) -> Tensor:
    """Codes of the point of largest acquisition value, `d`.

    The first candidates are random points of the region and mutations of the best tried points. A local search follows
    from the best candidates, which changes few coordinates at a time, with ever shorter steps. If the region holds no
    unseen point, candidates come from the whole space; if that holds none either, seen points are candidates again.

    Args:
        encoding: Encoding of the search space.
        acquisition_function: The function to maximise.
        box: The trust region.
        tops: Codes of the best tried points, `k x d` with k > 0.
        seen: Keys of finished and pending points.
        allowed: Constraints that can be computed before a trial.
        generator: Source of randomness.
    """

    def fresh(points: Tensor) -> Tensor:
        new = unseen(points, seen)
        return new[allowed(new)]

    mutants = vary(box, encoding, tops, _N_NEIGHBOURS, _STEPS[0], generator)
    points = fresh(torch.cat([draw(box, encoding, _N_CANDIDATES, generator), mutants]))
    if len(points) == 0:
        points = spare_points(box.conditions, seen, allowed, generator)
    values = acquisition_function.log_value(points)
    for step in _STEPS:
        starts = points[values.topk(min(_N_STARTS, len(points))).indices]
        moves = fresh(vary(box, encoding, starts, _N_MOVES, step, generator))
        if len(moves):
            points = torch.cat([points, moves])
            values = torch.cat([values, acquisition_function.log_value(moves)])
    tried, values_again = acquisition_function.repeated()
    may_repeat = allowed(tried)
    return torch.cat([points, tried[may_repeat]])[torch.cat([values, values_again[may_repeat]]).argmax()]


def spare_points(conditions: Conditions, seen: Container[Key], allowed: Allowed, generator: Generator) -> Tensor:
    """Codes of allowed points from the whole space, `n x d` with n > 0; seen ones only if there is no unseen one.

    Args:
        conditions: The search space and its conditional parameters, which have the codes of missing values where they
            do not exist.
        seen: Keys of finished and pending points.
        allowed: Constraints that can be computed before a trial.
        generator: Source of randomness.

    Raises:
        OptimizerError: If no allowed point is found.
    """
    encoding = conditions.encoding
    if encoding.size <= _LARGEST_GRID:
        points = encoding.grid()
        points = conditions.canonical(points[torch.randperm(len(points), generator=generator)])
        return _preferably_unseen(points[allowed(points)], seen, len(points))
    n_drawn = 0
    kept = torch.empty(0, encoding.dimension, dtype=torch.float64)
    for _ in range(_N_ROUNDS):
        uniform = torch.rand(_N_CANDIDATES, encoding.dimension, dtype=torch.float64, generator=generator)
        points = conditions.canonical(encoding.snap(uniform))
        n_drawn += len(points)
        kept = torch.cat([kept, points[allowed(points)]])
        if len(unseen(kept, seen)):
            break
    return _preferably_unseen(kept, seen, n_drawn)


def _preferably_unseen(points: Tensor, seen: Container[Key], n_drawn: int) -> Tensor:
    if len(points) == 0:
        raise OptimizerError(f"`feasible` must allow some points, but it rejected all {n_drawn} that were tried.")
    fresh = unseen(points, seen)
    return fresh if len(fresh) else points
