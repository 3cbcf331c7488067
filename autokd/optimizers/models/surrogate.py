"""What the model believes of a space's points: a Gaussian process of an objective's scores, at the last step.

Where trials report at several steps, the step is one more coordinate of the model, and predictions are for the last.
Where points have features, these are further coordinates, before the parameters' codes.

No one way of seeing an objective is best for all. Where many students fail, the order of the values says more than
their differences, and where an objective is smooth, the differences do; so there are several, see `SURROGATE_CONFIGS`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from autokd.optimizers.arrays import Array
from autokd.optimizers.expected_improvement import log_expected_improvement
from autokd.optimizers.models.gaussian_process import GaussianProcess, KernelPrior, Prior
from autokd.optimizers.models.outcome_transforms import OutcomeTransform, compressed, ranked, standardised
from autokd.optimizers.space.features import NOTHING, Description, Features

__all__ = ["PLAIN", "RANKS", "SURROGATE_CONFIGS", "TAILS", "Surrogate", "SurrogateConfig"]

_CHUNK = 4096  # points scored at once, so that memory stays small


class SurrogateConfig(NamedTuple):
    """How an objective is modelled.

    Attributes:
        scale: OutcomeTransform of its values.
        kernel_prior: What is assumed of these.
    """

    scale: Callable[[Array], Array]
    kernel_prior: KernelPrior


_SMOOTH = KernelPrior(is_matern=True, number=0.0, category=0.0, spread=1.2, noise=-3.5)

RANKS = SurrogateConfig(ranked, KernelPrior())
TAILS = SurrogateConfig(compressed, _SMOOTH)
PLAIN = SurrogateConfig(standardised, _SMOOTH)

SURROGATE_CONFIGS = (RANKS, TAILS)
"""What the proposals of one objective take in turn: where one misleads, the next does not in the same way. On recorded
trainings the two together were better than either (`tests/benchmarks/search`). Several objectives are all modelled by
their tails, since ranks would give a front that is crowded somewhere too much of the hypervolume there; measured limits
are modelled as they are."""


@dataclass(frozen=True)
class Surrogate:
    """A fitted model, which predicts scores at the last step.

    Attributes:
        process: Over f features, d parameters, and perhaps the step.
        has_steps: Whether the last of these is the step.
        scores: Of the observed values.
        features: Of points.
    """

    process: GaussianProcess
    has_steps: bool
    scores: OutcomeTransform
    features: Features

    @classmethod
    def fit(
        cls,
        X: Tensor,
        y: Tensor,
        categories: Sequence[int],
        has_steps: bool,
        config: SurrogateConfig,
        description: Description = NOTHING,
    ) -> "Surrogate":
        """Model of the observations, at least one; depends on nothing but its arguments.

        Args:
            X: Observed points, `n x q`, float64.
            y: Observed values, `n`, float64.
            categories: Choices a coordinate as in `Encoding.categories`, without the step.
            has_steps: Whether the last column of X is the step, in [0, 1].
            config: How the values are modelled.
            description: What is known of points beside their codes.
        """
        scores = OutcomeTransform.of(y.numpy(), config.scale)
        points = X[:, : len(categories)]
        features = Features.of(description, points)
        before, after = [False] * features.number, [False] * has_steps
        categorical = [*before, *(n > 0 for n in categories), *after]
        is_described = [*before, *(k in description.coordinates for k in range(len(categories))), *after]
        known = np.concatenate([features(points), X.numpy()], axis=1)
        prior = Prior(config.kernel_prior, np.array(categorical), np.array(is_described))
        process = GaussianProcess.fit(known, scores.of_values, prior)
        return cls(process, has_steps, scores, features)

    @property
    def lengthscales(self) -> Tensor:
        """Length scales of the d parameters, `d`."""
        scales = torch.from_numpy(self.process.lengthscales)[self.features.number :]
        return scales[:-1] if self.has_steps else scales

    @property
    def noise(self) -> float:
        """Standard deviation of one observation's score."""
        return math.sqrt(self.process.noise)

    def mean(self, points: Tensor) -> Tensor:
        """Posterior mean at codes `n x d`, `n`."""
        return torch.from_numpy(self.process.mean(self._coordinates(points)))

    def estimates(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and standard deviation, without noise, at codes `n x d`, `n` each."""
        codes = self._coordinates(points)
        parts = [
            (self.process.mean(part), self.process.deviation(part))
            for part in np.array_split(codes, max(1, -(-len(codes) // _CHUNK)))
        ]
        means, deviations = zip(*parts, strict=True)
        return torch.from_numpy(np.concatenate(means)), torch.from_numpy(np.concatenate(deviations))

    def joint(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean, `n`, and covariance, `n x n`, without noise at codes `n x d`."""
        return self.mean(points), torch.from_numpy(self.process.covariance(self._coordinates(points)))

    def value(self, scores: Tensor) -> Tensor:
        """The objective's values at some scores, same shape."""
        return torch.from_numpy(self.scores.value(scores.numpy()))

    def believe(self, pending: Tensor) -> "Surrogate":
        """Model that has seen its own posterior mean at pending points `p x d` (Ginsbourger et al. 2010's believer).

        The mean stays as it is and only the variance near the pending points shrinks, so a pending point is no reason
        to expect an improvement. Sampled fantasies integrate over the outcome instead, but need Monte Carlo where this
        has the closed form of expected improvement.
        """
        if len(pending) == 0:
            return self
        return replace(self, process=self.process.having_seen(self._coordinates(pending)))

    def log_expected_improvement(self, points: Tensor, best: float) -> Tensor:
        """Logarithm of the expected improvement over the score `best` at codes `n x d`, `n`."""
        mean, deviation = self.estimates(points)
        return torch.from_numpy(log_expected_improvement(mean.numpy(), deviation.numpy(), best))

    def log_worth_of_repeating(self, points: Tensor) -> Tensor:
        """Logarithm of what one more observation of each of these points is expected to add to the best mean, `n`.

        The knowledge gradient of Frazier et al. 2008, https://doi.org/10.1137/070693424, section 5, for points that are
        taken for independent: with the deviation c by which a noisy observation would move a point's mean m, and the
        best mean b of the others, it is E max(m + c Z, b) - max(m, b). There must be two points at least.
        """
        mean, deviation = self.estimates(points)
        top = mean.topk(2)
        others = torch.where(torch.arange(len(mean)) == top.indices[0], top.values[1], top.values[0])
        change = deviation.square() / (deviation.square() + self.process.noise).sqrt()
        gap = -(mean - others).abs()
        return torch.from_numpy(log_expected_improvement(gap.numpy(), change.numpy(), 0.0))

    def _coordinates(self, points: Tensor) -> Array:
        """Of the model, at the last step."""
        last_step = np.ones((len(points), int(self.has_steps)))
        return np.concatenate([self.features(points), points.numpy(), last_step], axis=1)
