"""What further trials of a study would gain, by its model.

    m          the point that is chosen now: the one of largest posterior mean among the eligible trials
    C          `TRIALS` candidates, those of largest expected improvement over m
    f          a joint posterior sample of the values at m and C, without noise
    g          max(f(m), max f(C)) - f(m)
    d          posterior standard deviation of f(m)

The mean of g is the expected gain if C were tried, and the best was known afterwards. A search does better, since it
learns from each trial, and worse, since it chooses by noisy values; and the less certain f(m) is, the more there may be
to gain over it. In nine of ten searches over recorded trainings the gain was less than `FACTOR` (mean g + d). This
factor was fitted to one half of the tables and checked on the other, see `tests/benchmarks/search`, "When to stop".
Where values have a ceiling, the gain is at most the mean of what is left between f(m) and it.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from optuna.distributions import BaseDistribution
from optuna.study import Study
from torch import Generator, Tensor

from autokd.optimizers.acquisition.candidates import Box, draw, vary
from autokd.optimizers.models.study_model import StudyModel
from autokd.optimizers.space.conditions import Parents
from autokd.optimizers.space.encoding import keys, unseen
from autokd.optimizers.trust_region import WHOLE

__all__ = ["Gain", "gain"]

TRIALS = 20
FACTOR = 4.8  # holds for this number of trials only
N_CANDIDATES = 512  # drawn from the whole space, and as many near the best trials
N_TOPS = 5
STEP = 0.2  # standard deviation of a variation, as a share of the space's edge
N_SAMPLES = 1000
SEED = 0


@dataclass(frozen=True)
class Gain:
    """What further trials would gain.

    Attributes:
        trials: Number of further trials.
        most: In nine of ten cases the trial that is then chosen is better by less than this, in the objective's unit.
    """

    trials: int
    most: float


def gain(
    study: Study,
    search_space: Mapping[str, BaseDistribution],
    eligible: Sequence[int],
    features: Callable[[Mapping[str, Any]], Sequence[float]] | None = None,
    described: Collection[str] | None = None,
    conditions: Parents = MappingProxyType({}),
    ceiling: float = math.inf,
) -> Gain | None:
    """What 20 further trials would gain over the best one; None if there is nothing to choose. Deterministic.

    Args:
        study: Study of one objective with at least one value.
        search_space: Search space of its trials.
        eligible: Numbers of the trials among which the one of largest mean is chosen, at least one.
        features: As in `TrustRegionSampler`.
        described: As in `TrustRegionSampler`.
        conditions: As in `TrustRegionSampler`.
        ceiling: What no value of an objective that is maximised exceeds, such as 1 for an accuracy: the gain is at most
            what is left to it.
    """
    if all(distribution.single() for distribution in search_space.values()):
        return None
    model = StudyModel.fit(study, search_space, features, described)
    generator = torch.Generator().manual_seed(SEED)
    may_be_chosen = model.codes[list(eligible)]
    chosen = may_be_chosen[model.surrogate.mean(may_be_chosen).argmax()]
    candidates = _candidates(model, chosen, conditions, generator)
    scores, _ = model.samples(torch.cat([chosen[None], candidates]), N_SAMPLES, generator)
    now, best = model.surrogate.value(scores[:, 0]), model.surrogate.value(scores.max(dim=1).values)
    most = FACTOR * float((best - now).mean() + now.std())
    return Gain(TRIALS, min(most, max(0.0, ceiling - float(now.mean()))))


def _candidates(model: StudyModel, chosen: Tensor, conditions: Parents, generator: Generator) -> Tensor:
    """C, `c x d`: fewer than `TRIALS` points if hardly any are left to try.

    Args:
        model: Model of the study.
        chosen: m, `d`.
        conditions: The conditional parameters.
        generator: Source of randomness.
    """
    tried, surrogate = unseen(model.codes, ()), model.surrogate
    box = Box.of(model.encoding, chosen, WHOLE, surrogate.lengthscales, conditions)
    tops = tried[surrogate.mean(tried).argsort(descending=True)[:N_TOPS]]
    near = vary(box, model.encoding, tops, N_CANDIDATES, STEP, generator)
    points = unseen(torch.cat([draw(box, model.encoding, N_CANDIDATES, generator), near]), set(keys(tried)))
    if not len(points):
        return points
    best = float(surrogate.mean(chosen[None])[0])
    return points[surrogate.log_expected_improvement(points, best).argsort(descending=True)[:TRIALS]]
