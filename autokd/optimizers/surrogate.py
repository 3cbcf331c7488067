"""What the model believes of a space's points: a Gaussian process in the objective's unit, at the last step.

Where trials report at several steps, the step is one more coordinate of the model, and predictions are for the last.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.special import erfcx, ndtr
from torch import Tensor

from autokd.optimizers.gaussian_process import Array, GaussianProcess

__all__ = ["Surrogate", "log_expected_improvement"]

_CHUNK = 4096  # points scored at once, so that memory stays small


@dataclass(frozen=True)
class Surrogate:
    """A fitted model, which predicts at the last step.

    Attributes:
        process: Over d coordinates, or d + 1 with the step last.
        has_steps: Whether the last of these is the step.
        center: Mean of the observed values.
        scale: Their standard deviation; 1 if they are equal.
    """

    process: GaussianProcess
    has_steps: bool
    center: float
    scale: float

    @classmethod
    def fit(cls, X: Tensor, y: Tensor, categories: Sequence[int], has_steps: bool) -> "Surrogate":
        """Model of the observations, at least one; depends on nothing but its arguments.

        Args:
            X: Observed points, `n x q`, float64.
            y: Observed values, `n`, float64.
            categories: Choices a coordinate as in `Encoding.categories`, without the step.
            has_steps: Whether the last column of X is the step, in [0, 1].
        """
        values = y.numpy()
        center, scale = float(values.mean()), float(values.std()) or 1.0
        categorical = [n > 0 for n in categories] + [False] * has_steps
        process = GaussianProcess.fit(X.numpy(), (values - center) / scale, categorical)
        return cls(process, has_steps, center, scale)

    @property
    def lengthscales(self) -> Tensor:
        """Length scales of the d parameters, `d`."""
        scales = torch.from_numpy(self.process.lengthscales)
        return scales[:-1] if self.has_steps else scales

    @property
    def noise(self) -> float:
        """Standard deviation of one observation, in the objective's unit."""
        return self.scale * math.sqrt(self.process.noise)

    def mean(self, points: Tensor) -> Tensor:
        """Posterior mean at codes `n x d`, `n`."""
        return torch.from_numpy(self.center + self.scale * self.process.mean(self._at_last_step(points)))

    def joint(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean, `n`, and covariance, `n x n`, of the objective without noise at codes `n x d`."""
        covariance = self.scale**2 * self.process.covariance(self._at_last_step(points))
        return self.mean(points), torch.from_numpy(covariance)

    def believe(self, pending: Tensor) -> "Surrogate":
        """Model that has seen its own posterior mean at pending points `p x d` (Ginsbourger et al. 2010's believer).

        The mean stays as it is and only the variance near the pending points shrinks, so a pending point is no reason
        to expect an improvement. Sampled fantasies integrate over the outcome instead, but need Monte Carlo where this
        has the closed form of expected improvement.
        """
        if len(pending) == 0:
            return self
        return replace(self, process=self.process.having_seen(self._at_last_step(pending)))

    def log_expected_improvement(self, points: Tensor, best: float) -> Tensor:
        """Logarithm of the expected improvement over `best` at codes `n x d`, `n`."""
        parts = [
            self._score(part, best) for part in np.array_split(self._at_last_step(points), -(-len(points) // _CHUNK))
        ]
        return torch.from_numpy(np.concatenate(parts))

    def _score(self, points: Array, best: float) -> Array:
        mean = self.center + self.scale * self.process.mean(points)
        return log_expected_improvement(mean, self.scale * self.process.deviation(points), best)

    def _at_last_step(self, points: Tensor) -> Array:
        codes: Array = points.numpy()
        return np.concatenate([codes, np.ones((len(codes), 1))], axis=1) if self.has_steps else codes


def log_expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Logarithm of the expected improvement of normal beliefs over `best`, exact far below it, too.

    Ament et al. 2023, https://arxiv.org/abs/2310.20708, equation 9: with z = (mean - best) / deviation it is
    log(deviation) + log(phi(z) + z Phi(z)), whose second term cancels for z well below 0 unless phi is taken out of it.
    """
    z = (mean - best) / deviation
    low = np.minimum(z, -1.0)
    ratio = -low * erfcx(-low / math.sqrt(2)) * math.sqrt(math.pi / 2)  # 1 - 1 / z^2 for z far below 0
    factor = np.where(low < -1e5, 1 / (low * low), 1 - ratio)
    far = -low * low / 2 - math.log(2 * math.pi) / 2 + np.log(factor)
    high = np.maximum(z, -1.0)
    near = np.log(np.exp(-high * high / 2) / math.sqrt(2 * math.pi) + high * ndtr(high))
    scores: Array = np.log(deviation) + np.where(z > -1, near, far)
    return scores
