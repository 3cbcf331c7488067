"""The surrogate of an objective: a Gaussian process of its scores (see `outcome_transforms`).

If trials report at several steps, the step is the model's last coordinate, and predictions are for the last step. If
points have features, these are further coordinates, before the codes of the parameters.

No single outcome transform and prior suit all objectives. If many students fail, the order of the values is more
informative than their differences; if an objective is smooth, the differences are. So there are several, see
`SURROGATE_CONFIGS`.
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
from autokd.optimizers.space.features import NO_FEATURES, Description, Features

__all__ = ["PLAIN", "RANKS", "SURROGATE_CONFIGS", "TAILS", "Surrogate", "SurrogateConfig"]

_CHUNK = 4096  # points scored at once, so that memory stays small


class SurrogateConfig(NamedTuple):
    """An outcome transform with a kernel and priors that suit it.

    Attributes:
        scale: Function that computes scores from values.
        kernel_prior: Kernel and priors of a process of these scores.
    """

    scale: Callable[[Array], Array]
    kernel_prior: KernelPrior


_SMOOTH = KernelPrior(is_matern=True, number=0.0, category=0.0, spread=1.2, noise=-3.5)

RANKS = SurrogateConfig(ranked, KernelPrior())
TAILS = SurrogateConfig(compressed, _SMOOTH)
PLAIN = SurrogateConfig(standardised, _SMOOTH)

SURROGATE_CONFIGS = (RANKS, TAILS)
"""Configurations between which the proposals of one objective alternate, since two rarely mislead in the same way. On
recorded trainings the two together were better than either alone (`tests/benchmarks/search`). With several objectives
each uses `TAILS`, since ranks would exaggerate the hypervolume where the front is crowded. Measured constraints use
`PLAIN`."""


@dataclass(frozen=True)
class Surrogate:
    """A fitted model, which predicts scores at the last step.

    Attributes:
        process: Gaussian process over f features, d parameters, and the step if there are several.
        has_steps: Whether the last coordinate is the step.
        transform: Outcome transform fitted to the observed values.
        features: Features of points.
        prior_mean: Prior mean of the score at codes `n x d`, `n`, if it is not 0; the process is of the difference.
    """

    process: GaussianProcess
    has_steps: bool
    transform: OutcomeTransform
    features: Features
    prior_mean: Callable[[Tensor], Array] | None = None

    @classmethod
    def fit(
        cls,
        X: Tensor,
        y: Tensor,
        categories: Sequence[int],
        has_steps: bool,
        config: SurrogateConfig,
        description: Description = NO_FEATURES,
        prior_mean: Callable[[Tensor], Array] | None = None,
        noise: float | None = None,
    ) -> "Surrogate":
        """Model fitted to at least one observation; deterministic.

        Args:
            X: Observed points, `n x q`, float64.
            y: Observed values, `n`, float64.
            categories: Number of choices of each coordinate as in `Encoding.categories`, without the step.
            has_steps: Whether the last column of X is the step, in [0, 1].
            config: Outcome transform and priors.
            description: Features of points.
            prior_mean: As in the attribute.
            noise: What is known of the standard deviation of an observation's noise, in the unit of y; None if nothing.
        """
        transform = OutcomeTransform.of(y.numpy(), config.scale)
        points = X[:, : len(categories)]
        features = Features.of(description, points)
        before, after = [False] * features.number, [False] * has_steps
        categorical = [*before, *(n > 0 for n in categories), *after]
        is_described = [*before, *(k in description.coordinates for k in range(len(categories))), *after]
        kernel_prior = config.kernel_prior if noise is None else config.kernel_prior.knowing(noise * transform.slope)
        prior = Prior(kernel_prior, np.array(categorical, dtype=bool), np.array(is_described, dtype=bool))
        process = GaussianProcess.fit(*_data(X, points, transform, features, prior_mean), prior)
        return cls(process, has_steps, transform, features, prior_mean)

    def of_others(
        self, X: Tensor, y: Tensor, config: SurrogateConfig, prior_mean: Callable[[Tensor], Array] | None = None
    ) -> "Surrogate":
        """Model of other observations with the same length scales, noise as a share of the variance, and features.

        Args:
            X: Observed points as in `fit`.
            y: Observed values as in `fit`.
            config: The configuration of this model.
            prior_mean: As in the attribute.
        """
        transform, points = OutcomeTransform.of(y.numpy(), config.scale), X[:, : X.shape[1] - self.has_steps]
        process = self.process.of_others(*_data(X, points, transform, self.features, prior_mean))
        return replace(self, process=process, transform=transform, prior_mean=prior_mean)

    @property
    def lengthscales(self) -> Tensor:
        """Length scales of the d parameters, `d`."""
        scales = torch.from_numpy(self.process.lengthscales)[self.features.number :]
        return scales[:-1] if self.has_steps else scales

    @property
    def noise(self) -> float:
        """Standard deviation of the noise of one observation, as a score."""
        return math.sqrt(self.process.noise)

    def mean(self, points: Tensor) -> Tensor:
        """Posterior mean score at codes `n x d`, `n`."""
        mean = torch.from_numpy(self.process.mean(self._coordinates(points)))
        return mean if self.prior_mean is None else mean + torch.from_numpy(self.prior_mean(points))

    def estimates(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and standard deviation of the score, without noise, at codes `n x d`, `n` each."""
        codes = self._coordinates(points)
        parts = [
            (self.process.mean(part), self.process.deviation(part))
            for part in np.array_split(codes, max(1, -(-len(codes) // _CHUNK)))
        ]
        means, deviations = (np.concatenate(each) for each in zip(*parts, strict=True))
        if self.prior_mean is not None:
            means = means + self.prior_mean(points)
        return torch.from_numpy(means), torch.from_numpy(deviations)

    def joint(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean, `n`, and covariance, `n x n`, of the scores, without noise, at codes `n x d`."""
        return self.mean(points), torch.from_numpy(self.process.covariance(self._coordinates(points)))

    @property
    def noise_levels(self) -> list[tuple[float, "Surrogate"]]:
        """The surrogate with other noise, and the probability of each, see `GaussianProcess.noise_levels`."""
        return [(probability, replace(self, process=process)) for probability, process in self.process.noise_levels]

    def value(self, scores: Tensor) -> Tensor:
        """Values of the objective at the given scores, same shape."""
        return torch.from_numpy(self.transform.value(scores.numpy()))

    def condition_on_pending(self, pending: Tensor) -> "Surrogate":
        """Model conditioned on its own posterior mean at pending points `p x d`.

        This is the kriging believer of Ginsbourger et al. 2010. The mean does not change, and the variance near the
        pending points shrinks, so no improvement is expected there.
        Sampled fantasies would integrate over the outcomes, but they need Monte Carlo sampling, whereas here expected
        improvement keeps its closed form.
        """
        if len(pending) == 0:
            return self
        return replace(self, process=self.process.condition_on_mean(self._coordinates(pending)))

    def log_expected_improvement(self, points: Tensor, best: float) -> Tensor:
        """Logarithm of the expected improvement over the score `best` at codes `n x d`, `n`."""
        mean, deviation = self.estimates(points)
        return torch.from_numpy(log_expected_improvement(mean.numpy(), deviation.numpy(), best))

    def log_knowledge_gradient(self, points: Tensor) -> Tensor:
        """Logarithm of the knowledge gradient of one more observation of each of at least two points, `n`.

        It is the expected increase of the largest posterior mean (Frazier et al. 2008,
        https://doi.org/10.1137/070693424, section 5), where the points are assumed to be independent. With the standard
        deviation c of the change of a point's mean m by a noisy observation, and the largest mean b of the other
        points, it is E max(m + c Z, b) - max(m, b).
        """
        mean, deviation = self.estimates(points)
        top = mean.topk(2)
        others = torch.where(torch.arange(len(mean)) == top.indices[0], top.values[1], top.values[0])
        change = deviation.square() / (deviation.square() + self.process.noise).sqrt()
        gap = -(mean - others).abs()
        return torch.from_numpy(log_expected_improvement(gap.numpy(), change.numpy(), 0.0))

    def _coordinates(self, points: Tensor) -> Array:
        """Coordinates of the model for codes `n x d`, at the last step."""
        last_step = np.ones((len(points), int(self.has_steps)))
        return np.concatenate([self.features(points), points.numpy(), last_step], axis=1)


def _data(
    X: Tensor,
    points: Tensor,
    transform: OutcomeTransform,
    features: Features,
    prior_mean: Callable[[Tensor], Array] | None,
) -> tuple[Array, Array]:
    """Coordinates of the observations in a model, `n x coordinates`, and what its process is to fit, `n`."""
    scores = transform.transformed if prior_mean is None else transform.transformed - prior_mean(points)
    return np.concatenate([features(points), X.numpy()], axis=1), scores
