"""Posterior of the objective at tried points: means, standard deviations, and probabilities to be the best."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from optuna.distributions import BaseDistribution
from optuna.study import Study, StudyDirection

from autokd.optimizers.history import History
from autokd.optimizers.models.surrogate import TAILS, Surrogate
from autokd.optimizers.space.encoding import Encoding
from autokd.optimizers.space.features import description_of

__all__ = ["Posterior", "posterior"]


@dataclass(frozen=True)
class Posterior:
    """Posterior of the objective of some trials at the last step, without observation noise.

    Attributes:
        mean: Posterior mean of each trial: the value at the mean score.
        deviation: Posterior standard deviation of each trial: half the difference of the values one standard deviation
            of the score above and below the mean score.
        probability_best: Posterior probability of each trial to be the best of them; the sum is 1.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    probability_best: tuple[float, ...]


def posterior(
    study: Study,
    search_space: Mapping[str, BaseDistribution],
    numbers: Sequence[int],
    n_samples: int,
    seed: int,
    features: Callable[[Mapping[str, Any]], Sequence[float]] | None = None,
    described: Collection[str] | None = None,
) -> Posterior:
    """Posterior of the trials with these numbers, given all trials of the study; deterministic for a seed.

    Args:
        study: Study of one objective with at least one value.
        search_space: Search space of the trials.
        numbers: Numbers of the trials, at least one.
        n_samples: Number of joint posterior samples from which `probability_best` is estimated.
        seed: Seed of the samples.
        features: As in `TrustRegionSampler`.
        described: As in `TrustRegionSampler`.
    """
    sign = 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
    encoding = Encoding.of({name: d for name, d in search_space.items() if not d.single()})
    trials = study.get_trials(deepcopy=False)
    history = History.of(trials, encoding, [sign])
    description = description_of(features, described, encoding)
    surrogate = Surrogate.fit(history.X, history.Y[:, 0], encoding.categories, history.has_steps, TAILS, description)
    points = torch.tensor([encoding.encode(trials[number].params) for number in numbers], dtype=torch.float64)
    mean, covariance = surrogate.joint(points)
    samples = _samples(mean, covariance, n_samples, seed)
    wins = torch.bincount(samples.argmax(1), minlength=len(numbers)) / n_samples
    deviation = covariance.diagonal().clamp_min(0).sqrt()
    spread = (surrogate.value(mean + deviation) - surrogate.value(mean - deviation)) / 2
    return Posterior(tuple((sign * surrogate.value(mean)).tolist()), tuple(spread.tolist()), tuple(wins.tolist()))


def _samples(mean: torch.Tensor, covariance: torch.Tensor, n: int, seed: int) -> torch.Tensor:
    """Joint normal samples, `n x points`. The covariance may be singular: equal points get equal samples."""
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp_min(0).sqrt()
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(n, len(mean), generator=generator, dtype=mean.dtype)
    samples: torch.Tensor = mean + noise @ root.T
    return samples
