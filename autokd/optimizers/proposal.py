"""The next point as a pure function of a study's history."""

import torch
from torch import Tensor

from autokd.optimizers.acquisition import best_candidate, spare_points
from autokd.optimizers.candidates import Box
from autokd.optimizers.encoding import Encoding, keys, unseen
from autokd.optimizers.history import History
from autokd.optimizers.surrogate import Surrogate
from autokd.optimizers.trust_region import Rules, TrustRegion, fold
from autokd.seeds import derive

__all__ = ["propose"]

_MAX_OBSERVATIONS = 400
"""Observations in the model. A fit takes the cube of this; beyond it those nearest to the region's best point are kept,
since the model need only be right inside the region."""

_N_SOBOL = 64  # points of the sequence to look through for an unseen one


def propose(history: History, encoding: Encoding, rules: Rules, seed: int, number: int) -> Tensor:
    """Codes of the point that trial `number` should try, `d`.

    A region without its first points takes the Sobol point of the trial's own number, so that trials that start side by
    side differ and the sequence needs no memory; a region with them takes the best candidate inside it.

    Args:
        history: All other trials.
        encoding: The space.
        rules: Constants of the trust region.
        seed: The same for all trials of a study.
        number: Number of the trial.
    """
    generator = torch.Generator().manual_seed(derive(seed, number, "candidates"))
    seen = {*keys(history.finished), *keys(history.pending)}
    region = fold(history.outcomes, rules)
    if not region.is_open(rules):
        fresh = unseen(encoding.sobol(number, _N_SOBOL, derive(seed, "sobol")), seen)
        return fresh[0] if len(fresh) else spare_points(encoding, seen, generator)[0]
    near = _nearest(history, _anchor(history, region), encoding)
    surrogate = Surrogate.fit(history.X[near], history.y[near], encoding.categories, history.has_steps)
    members = history.finished[_members(history, region)]
    means = surrogate.mean(members)
    center = members[means.argmax()]
    box = Box.of(encoding, center, region.length, surrogate.lengthscales)
    believer = surrogate.believe(history.pending)
    return best_candidate(encoding, believer, box, float(means.max()), seen, generator)


def _members(history: History, region: TrustRegion) -> list[int]:
    """Which finished trials are this region's own and told the model something."""
    return [i for i, outcome in enumerate(history.outcomes) if outcome.observed and region.owns(outcome.started)]


def _anchor(history: History, region: TrustRegion) -> Tensor:
    """Codes of the region's best trial as observed, or of its last one while none is complete, `d`."""
    members = _members(history, region)
    worth = [(history.outcomes[i].value, i) for i in members if history.outcomes[i].value is not None]
    return history.finished[max(worth)[1] if worth else members[-1]]


def _nearest(history: History, anchor: Tensor, encoding: Encoding) -> Tensor:
    """Indices of the observations to learn from, in their order."""
    if len(history.y) <= _MAX_OBSERVATIONS:
        return torch.arange(len(history.y))
    difference = history.X[:, : encoding.dimension] - anchor
    categorical = torch.tensor([n > 0 for n in encoding.categories])
    distance = torch.where(categorical, (difference != 0).double(), difference.square()).sum(dim=1)
    return distance.argsort(stable=True)[:_MAX_OBSERVATIONS].sort().values
