"""The start-up points that earlier tasks suggest: their best points, kept apart."""

from collections.abc import Container

import numpy as np
import torch
from torch import Tensor

from autokd.optimizers.acquisition.optimisation import Allowed
from autokd.optimizers.history import History
from autokd.optimizers.models.prior_mean import Memory
from autokd.optimizers.space.conditions import Conditions
from autokd.optimizers.space.encoding import Key, keys

__all__ = ["suggested"]

_APART = 1 / 3  # share of the candidates that a suggestion rules out, those nearest to it


def suggested(
    memory: Memory,
    history: History,
    own: Tensor,
    place: int,
    seen: Container[Key],
    allowed: Allowed,
    conditions: Conditions,
) -> Tensor | None:
    """Codes of the suggestion at a place of the portfolio, `d`, or of the first unseen one after it; None without one.

    Candidates are the points that the earlier tasks tried. The portfolio begins with the one that should be the best by
    the earlier tasks; each of the others is the best of those that are left when the third nearest to the suggestion
    before has been ruled out.

    Args:
        memory: The earlier tasks.
        history: This task's trials.
        own: Codes of the search's own start-up point, `d`: a suggestion has them where its task knows nothing.
        place: Place in the portfolio, from 0.
        seen: Keys of finished and pending points.
        allowed: Constraints that can be computed before a trial.
        conditions: The conditional parameters.
    """
    points = conditions.canonical(torch.cat([task.filled(own) for task in memory.tasks]))
    points = points[allowed(points)]
    merits = memory.merits(history.X, history.Y, points) if len(points) else None
    if merits is None:
        return None
    categorical = torch.tensor([n > 0 for n in conditions.encoding.categories])
    left = np.ones(len(points), dtype=bool)
    while left.any():
        best = int(np.where(left, merits, -np.inf).argmax())
        if place <= 0 and keys(points[best : best + 1])[0] not in seen:
            return points[best]
        difference = points - points[best]
        distance = torch.where(categorical, (difference != 0).double(), difference.square()).sum(dim=1).numpy()
        left &= distance > np.quantile(distance[left], _APART)
        place -= 1
    return None
