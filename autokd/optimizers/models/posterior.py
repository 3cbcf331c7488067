"""Posterior of the objective at tried points: means, deviations, intervals, and probabilities to be the best.

    f          posterior sample of the scores at the points
    s^2        variance of the noise in this sample
    w          what the points are worth
    k          number of observations of each point at the last step, and m their mean score
    rho        share of the noise that belongs to the point, and would be seen again in every further observation of it

A point is worth what further observations of it would give on average. The model explains a part of each observation by
its neighbours and calls the rest noise, but some of that is the point's own: w = f + e, where e is normal of variance
rho s^2. Given the observations, with a = rho k / (rho k + 1 - rho), it has the mean a (m - f) and the variance
rho (1 - a) s^2.

The probability that w is the largest is the share of the samples. With known noise it is right as it is, see
`tests/benchmarks/search`, "The noise of a training", and the mean of a point is that of w. Where nothing is known of
the noise, the mean is that of f, and the probability of the point which would be chosen is calibrated by Platt's
scaling (1999): its logit is `SHIFT` + `SLOPE` times that of the share. The constants were fitted to searches over
recorded trainings and checked on others, see "When to stop" there. The intervals have no such constants.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from optuna.distributions import BaseDistribution
from optuna.study import Study
from torch import Tensor

from autokd.optimizers.models.study_model import StudyModel
from autokd.optimizers.space.encoding import keys, unseen

__all__ = ["Posterior", "calibrated", "posterior"]

RHO = 0.2
SHIFT, SLOPE = 0.41, 0.64
_RAREST = 0.005  # smallest distance of a sampled probability from 0 and from 1
_ENDS = (0.05, 0.95)


@dataclass(frozen=True)
class Posterior:
    """Posterior of the objective of some trials at the last step.

    Attributes:
        mean: Posterior mean of what each trial's point is worth, as the value at the mean score; where the noise is not
            known, of the model's part f of it.
        deviation: Posterior standard deviation of the same: half the difference of the values one standard deviation of
            the score above and below the mean score.
        probability_best: Posterior probability of each trial's point to be the best of them; the sum over different
            points is 1.
        low: A further observation of each trial's point exceeds this with a probability of 95 %.
        high: It stays below this with the same probability.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    probability_best: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def posterior(
    study: Study,
    search_space: Mapping[str, BaseDistribution],
    numbers: Sequence[int],
    n_samples: int,
    seed: int,
    features: Callable[[Mapping[str, Any]], Sequence[float]] | None = None,
    described: Collection[str] | None = None,
    eligible: Collection[int] | None = None,
    averaged: int = 1,
    model: StudyModel | None = None,
) -> Posterior:
    """Posterior of the trials with these numbers, given all trials of the study; deterministic for a seed.

    Args:
        study: Study of one objective with at least one value.
        search_space: Search space of the trials.
        numbers: Numbers of the trials, at least one.
        n_samples: Number of joint posterior samples from which probabilities and intervals are estimated.
        seed: Seed of the samples.
        features: As in `TrustRegionSampler`.
        described: As in `TrustRegionSampler`.
        eligible: Those of the numbers among which the one of largest mean is chosen, such as the trials that reached
            the last step; all by default. Where the noise is not known, the probability of this one is calibrated, and
            the others share the rest.
        averaged: Number of values of which each value of a trial is the mean; the intervals are for a single one.
        model: Of the study, if it is fitted already.
    """
    model = model or StudyModel.fit(study, search_space, features, described)
    points = model.codes[list(numbers)]
    different = unseen(points, ())
    place = {key: row for row, key in enumerate(keys(different))}
    rows = torch.tensor([place[key] for key in keys(points)])
    generator = torch.Generator().manual_seed(seed)
    samples, noises = model.samples(different, n_samples, generator)
    worths = _worths(samples, noises, *model.observed(different), generator)
    wins = (torch.bincount(worths.argmax(1), minlength=len(different)) / n_samples).double()
    if model.noise is None:
        mean, covariance = model.surrogate.joint(points)
        deviation = covariance.diagonal().clamp_min(0).sqrt()
        may_be_chosen = torch.tensor([eligible is None or number in eligible for number in numbers])
        wins = calibrated(wins, int(rows[torch.where(may_be_chosen, mean, -torch.inf).argmax()]))
    else:
        mean, deviation = worths.mean(0)[rows], worths.std(0)[rows]
    spread = (model.surrogate.value(mean + deviation) - model.surrogate.value(mean - deviation)) / 2
    noise = torch.randn(samples.shape, generator=generator, dtype=samples.dtype)
    observations = samples + (averaged * noises).sqrt()[:, None] * noise
    ends = torch.from_numpy(np.quantile(observations.numpy(), _ENDS, axis=0))[:, rows]
    low, high = (model.sign * model.surrogate.value(ends)).sort(dim=0).values
    return Posterior(
        mean=tuple((model.sign * model.surrogate.value(mean)).tolist()),
        deviation=tuple(spread.tolist()),
        probability_best=tuple(wins[rows].tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
    )


def calibrated(probabilities: Tensor, chosen: int) -> Tensor:
    """Probabilities of which that of the chosen point is calibrated; the others share the rest in proportion, `n`.

    Args:
        probabilities: What samples say, `n`; the sum is 1.
        chosen: Index of the chosen point.
    """
    if len(probabilities) == 1:
        return probabilities
    sampled = probabilities[chosen]
    its_own = torch.sigmoid(SHIFT + SLOPE * sampled.clamp(_RAREST, 1 - _RAREST).logit())
    others = probabilities.index_fill(0, torch.tensor([chosen]), 0.0)
    rest = others / others.sum() if sampled < 1 else torch.full_like(others, 1 / (len(others) - 1))
    found: Tensor = (1 - its_own) * rest
    found[chosen] = its_own
    return found


def _worths(samples: Tensor, noises: Tensor, counts: Tensor, observed: Tensor, generator: torch.Generator) -> Tensor:
    """Posterior samples of what points are worth, w, `n x p`.

    Args:
        samples: f, `n x p`.
        noises: s^2, `n`.
        counts: k, `p`.
        observed: m, `p`.
        generator: Source of randomness.
    """
    known = RHO * counts / (RHO * counts + 1 - RHO)
    own = torch.randn(samples.shape, generator=generator, dtype=samples.dtype)
    return samples + known * (observed - samples) + (RHO * (1 - known) * noises[:, None]).sqrt() * own
