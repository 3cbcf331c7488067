"""The model of a study of one objective, with which it is judged: what its trials are worth, and how sure that is."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from optuna.distributions import BaseDistribution
from optuna.study import Study, StudyDirection
from torch import Generator, Tensor

from autokd.optimizers.errors import OptimizerError
from autokd.optimizers.history import History
from autokd.optimizers.models.surrogate import TAILS, Surrogate
from autokd.optimizers.space.encoding import Encoding, keys
from autokd.optimizers.space.features import description_of

__all__ = ["StudyModel"]


@dataclass(frozen=True)
class StudyModel:
    """A surrogate fitted to all trials of a study, whose values have the sign with which larger is better.

    Attributes:
        surrogate: The surrogate, with the outcome transform `TAILS`.
        encoding: Encoding of the search space.
        history: The trials; where observations are left out, without these.
        sign: 1 if the study maximises its objective, -1 if it minimises it.
        codes: Codes of all trials by number, `n x d`.
        noise: What was known of the standard deviation of a value's noise; None if nothing.
    """

    surrogate: Surrogate
    encoding: Encoding
    history: History
    sign: float
    codes: Tensor
    noise: float | None = None

    @classmethod
    def fit(
        cls,
        study: Study,
        search_space: Mapping[str, BaseDistribution],
        features: Callable[[Mapping[str, Any]], Sequence[float]] | None = None,
        described: Collection[str] | None = None,
        most: int | None = None,
        noise: float | None = None,
    ) -> "StudyModel":
        """Model of a study of one objective with at least one value; deterministic.

        Args:
            study: The study.
            search_space: Search space of its trials.
            features: As in `TrustRegionSampler`.
            described: As in `TrustRegionSampler`.
            most: Most observations, to which a fit's time is cubic: the last one of each trial is kept first, and
                others spread evenly over the study; None keeps all.
            noise: What is known of the standard deviation of a value's noise, in the objective's unit; None or 0 if
                nothing.

        Raises:
            OptimizerError: If `noise` is negative or not finite.
        """
        if noise is not None and not 0 <= noise < math.inf:
            raise OptimizerError(f"`noise` must be finite and at least 0, but got {noise!r}.")
        noise = noise or None
        sign = 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
        encoding = Encoding.of({name: d for name, d in search_space.items() if not d.single()})
        trials = study.get_trials(deepcopy=False)
        history = _limited(History.of(trials, encoding, [sign]), most)
        description = description_of(features, described, encoding)
        surrogate = Surrogate.fit(
            history.X, history.Y[:, 0], encoding.categories, history.has_steps, TAILS, description, noise=noise
        )
        codes = torch.tensor([encoding.encode(trial.params) for trial in trials], dtype=torch.float64)
        return cls(surrogate, encoding, history, sign, codes, noise)

    def samples(self, points: Tensor, n: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Joint posterior samples of the scores at the last step, `n x p`, and the variance of the noise in each, `n`.

        The noise is not known either, and differs between samples, see `GaussianProcess.noise_levels`.

        Args:
            points: Codes, `p x d`.
            n: Number of samples.
            generator: Source of randomness.
        """
        probabilities, levels = zip(*self.surrogate.noise_levels, strict=True)
        drawn = torch.multinomial(torch.tensor(probabilities), n, replacement=True, generator=generator)
        scores, noises = [], []
        for number, count in enumerate(drawn.bincount(minlength=len(levels)).tolist()):
            if count:
                mean, covariance = levels[number].joint(points)
                scores.append(_normal(mean, covariance, count, generator))
                noises.append(torch.full((count,), levels[number].noise ** 2, dtype=torch.float64))
        return torch.cat(scores), torch.cat(noises)

    def observed(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """How often each of the points, `p x d`, was observed at the last step, `p`, and the mean score there, `p`.

        The mean score of a point that was not is 0.
        """
        at_last = self.history.X[:, -1] == 1 if self.history.has_steps else torch.ones(len(self.history.X)).bool()
        scores = torch.from_numpy(self.surrogate.transform.transformed)[at_last]
        place = {key: row for row, key in enumerate(keys(points))}
        rows = [place.get(key, len(points)) for key in keys(self.history.X[at_last][:, : points.shape[1]])]
        index = torch.tensor(rows, dtype=torch.int64)
        counts, sums = torch.zeros(2, len(points) + 1, dtype=torch.float64)
        counts.index_add_(0, index, torch.ones_like(scores))
        sums.index_add_(0, index, scores)
        return counts[:-1], (sums / counts.clamp_min(1))[:-1]


def _limited(history: History, most: int | None) -> History:
    """The history with at most so many observations, in their order."""
    if most is None or len(history.X) <= most:
        return history
    is_last = torch.ones(len(history.X), dtype=torch.bool)  # of its trial, whose observations are in the order of steps
    if history.has_steps:
        before, after = history.X[:-1], history.X[1:]
        is_last[:-1] = (before[:, :-1] != after[:, :-1]).any(dim=1) | (before[:, -1] >= after[:, -1])
    kept = _spread(is_last.nonzero().flatten(), most)
    kept = torch.cat([kept, _spread((~is_last).nonzero().flatten(), most - len(kept))]).sort().values
    return replace(history, X=history.X[kept], Y=history.Y[kept])


def _spread(places: Tensor, most: int) -> Tensor:
    """At most so many of the places, spread evenly."""
    n = len(places)
    return places if n <= most else places[torch.arange(most) * n // most]


def _normal(mean: Tensor, covariance: Tensor, n: int, generator: Generator) -> Tensor:
    """Joint normal samples, `n x points`. The covariance may be singular: equal points get equal samples."""
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp_min(0).sqrt()
    noise = torch.randn(n, len(mean), generator=generator, dtype=mean.dtype)
    samples: Tensor = mean + noise @ root.T
    return samples
