"""How much the points of a search space differ, compared with the noise of one observation.

    y_ij             value of observation j of point i, as many for each point
    r                number of observations of a point
    q                standard deviation of the objective over the space, as a multiple of the noise of a point's mean
    K                kernel between the points, for length scales l, scaled to variance 1 over the space
    A                (q^2 / r) K + I, the covariance of the observations in units of their noise

The objective is a Gaussian process of unknown mean and scale, both integrated out with their right Haar prior, so that

    p(y | q, l) = |A|^(-1/2) (1' A^-1 1)^(-1/2) (y' P y)^(-(N - 1) / 2),   P = A^-1 - A^-1 1 1' A^-1 / (1' A^-1 1)

up to a constant. It is averaged over length scales drawn from a prior: log l is normal with mean sqrt 2 + (log d) / 2
and variance 3, as in Hvarfner et al. 2024, https://arxiv.org/abs/2402.02229, section 5, for any number d of dimensions.

The evidence that points hardly differ is the likelihood of a small q over that of a large one, each averaged over some
values. It is an e-value (Perez-Ortiz et al. 2022, https://arxiv.org/abs/2208.07610): if points do differ, by a q of
`LARGE`, the probability that it exceeds 10 at any time of a search is at most 1 / 10, on average over `LARGE` and the
prior. That holds whatever chose the points, also if it saw the earlier values.

Points with one observation each tell signal from noise only as far as near points are alike; the differences of points
without any order look like noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp
from torch import Tensor

from autokd.optimizers.arrays import Array
from autokd.optimizers.models.gaussian_process import KernelPrior, Prior
from autokd.optimizers.space.conditions import Conditions
from autokd.optimizers.space.encoding import Encoding
from autokd.optimizers.space.features import NO_FEATURES, Description, Features

__all__ = ["SignalToNoise", "signal_to_noise"]

SMALL, MIDDLE, LARGE = (0.0, 0.25, 0.5), (1.0,), (2.0, 4.0, 8.0)  # values of q
ENOUGH = 10.0  # evidence
N_SCALES = 64  # draws of length scales
N_SPACE = 64  # points of the space over which the variance of the objective is computed
MOST_OBSERVATIONS = 100  # the first ones: each draw takes time cubic in their number
SEED = 0


@dataclass(frozen=True)
class SignalToNoise:
    """Posterior of the ratio q of signal to noise.

    Attributes:
        n: Number of points.
        observations: Number of observations of each point.
        ratio: Posterior median of q, which has equal prior probabilities at `SMALL`, `MIDDLE` and `LARGE`.
        low: 5 % quantile.
        high: 95 % quantile.
        evidence: Likelihood of a small q over that of a large one.
    """

    n: int
    observations: int
    ratio: float
    low: float
    high: float
    evidence: float

    @property
    def is_flat(self) -> bool:
        """Whether points evidently differ by less than the noise."""
        return self.evidence >= ENOUGH and self.ratio < 1


def signal_to_noise(
    points: Tensor, values: Array, encoding: Encoding, conditions: Conditions, description: Description = NO_FEATURES
) -> SignalToNoise | None:
    """Ratio of signal to noise; None if all values are equal, or there is nothing to choose. Deterministic.

    Args:
        points: Codes of the points, `n x d`.
        values: Observations of each point, `n x r`.
        encoding: Encoding of the search space.
        conditions: Its conditional parameters.
        description: Features of points.
    """
    if encoding.dimension == 0 or np.ptp(values) == 0:
        return None
    most = max(1, MOST_OBSERVATIONS // values.shape[1])
    points, values = points[:most], values[:most]
    ratios = np.array([*SMALL, *MIDDLE, *LARGE])
    kernels = _kernels(points, encoding, conditions, description)
    logs = logsumexp([_log_likelihoods(K, values, ratios) for K in kernels], axis=0)
    likelihoods = np.exp(logs - logs.max())
    posterior = np.cumsum(likelihoods / likelihoods.sum())
    low, middle, high = (float(ratios[np.searchsorted(posterior, share)]) for share in (0.05, 0.5, 0.95))
    evidence = likelihoods[: len(SMALL)].mean() / likelihoods[-len(LARGE) :].mean()
    return SignalToNoise(len(points), values.shape[1], middle, low, high, float(evidence))


def _kernels(points: Tensor, encoding: Encoding, conditions: Conditions, description: Description) -> Sequence[Array]:
    """Kernel between the points for each draw of length scales, `n x n`, with variance 1 over the space."""
    space = conditions.canonical(encoding.sobol(0, N_SPACE, SEED))
    features = Features.of(description, space)
    X, whole = (np.concatenate([features(codes), codes.numpy()], axis=1) for codes in (points, space))
    n_features, dimension = features.number, X.shape[1]
    categorical = np.array([False] * n_features + [n > 0 for n in encoding.categories])
    described = np.array([False] * n_features + [k in description.coordinates for k in range(encoding.dimension)])
    prior = Prior(KernelPrior(is_matern=True), categorical, described)
    draws = np.random.default_rng(SEED).normal(np.sqrt(2) + np.log(dimension) / 2, np.sqrt(3), (N_SCALES, dimension))
    return [_scaled_kernel(prior, X, whole, np.exp(draw)) for draw in draws]


def _scaled_kernel(prior: Prior, points: Array, space: Array, lengthscales: Array) -> Array:
    whole = prior.between(space, space, lengthscales)
    variance = 1 - (whole.sum() - len(space)) / (len(space) * (len(space) - 1))
    scaled: Array = prior.between(points, points, lengthscales) / max(variance, 1e-9)
    return scaled


def _log_likelihoods(K: Array, values: Array, ratios: Array) -> Array:
    """Log p(y | q, l) for each ratio q, up to a constant.

    Observations of a point enter by their mean, of covariance (q^2 K + I) / r, and by the squares around it.
    """
    n, r = values.shape
    roots, vectors = np.linalg.eigh(K)
    means = values.mean(axis=1)
    within = ((values - means[:, None]) ** 2).sum() / r  # in units of the noise of a mean
    y, ones = vectors.T @ means, vectors.sum(axis=0)
    spread = 1 + ratios[:, None] ** 2 * np.maximum(roots, 0)
    information = (ones**2 / spread).sum(axis=1)
    squares = (y**2 / spread).sum(axis=1) - (ones * y / spread).sum(axis=1) ** 2 / information
    found: Array = (
        -np.log(spread).sum(axis=1) / 2 - np.log(information) / 2 - (n * r - 1) / 2 * np.log(squares + within)
    )
    return found
