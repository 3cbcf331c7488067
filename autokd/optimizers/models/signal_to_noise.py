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

If some parameters divide the space into parts of their own, as the choice of a space does, points may differ within the
parts although these are equally good on average, or the other way round. So there is a second model, in which each part
has a mean of its own (1 becomes a matrix with a column for each part) and a K of variance 1 over it, and the smaller of
the two evidences counts.

Points with one observation each tell signal from noise only as far as near points are alike; the differences of points
without any order look like noise.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
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
    points: Tensor,
    values: Array,
    conditions: Conditions,
    description: Description = NO_FEATURES,
    dividing: Collection[str] = (),
) -> SignalToNoise | None:
    """Ratio of signal to noise; None if all values are equal, or there is nothing to choose. Deterministic.

    Args:
        points: Codes of the points, `n x d`.
        values: Observations of each point, `n x r`.
        conditions: The conditional parameters and the encoding of the search space.
        description: Features of points.
        dividing: Names of the parameters that divide the space into parts.
    """
    encoding = conditions.encoding
    if encoding.dimension == 0 or np.ptp(values) == 0:
        return None
    most = max(1, MOST_OBSERVATIONS // values.shape[1])
    points, values = points[:most], values[:most]
    space = conditions.canonical(encoding.sobol(0, N_SPACE, SEED))
    kernels = _kernels(torch.cat([points, space]), encoding, description)
    columns = [column for column, name in enumerate(encoding.names) if name in dividing]
    found = [
        _posterior(kernels, values, _parts(torch.cat([points, space])[:, divided]))
        for divided in ([[], columns] if columns else [[]])
    ]
    return min(found, key=lambda one: one.evidence)


def _posterior(kernels: Sequence[Array], values: Array, parts: NDArray[np.int64]) -> SignalToNoise:
    """Posterior in the model whose parts have means of their own.

    Args:
        kernels: For each draw of length scales, the kernel between the n points and others all over the space.
        values: Observations of the n points, `n x r`.
        parts: Part of each point of the kernels.
    """
    n, ratios = len(values), np.array([*SMALL, *MIDDLE, *LARGE])
    means = (parts[:n, None] == np.unique(parts[:n])).astype(float)
    scaled = [_scaled(K, n, parts) for K in kernels]
    logs = logsumexp([_log_likelihoods(K, values, ratios, means) for K in scaled], axis=0)
    likelihoods = np.exp(logs - logs.max())
    posterior = np.cumsum(likelihoods / likelihoods.sum())
    low, middle, high = (float(ratios[np.searchsorted(posterior, share)]) for share in (0.05, 0.5, 0.95))
    evidence = likelihoods[: len(SMALL)].mean() / likelihoods[-len(LARGE) :].mean()
    return SignalToNoise(n, values.shape[1], middle, low, high, float(evidence))


def _kernels(points: Tensor, encoding: Encoding, description: Description) -> list[Array]:
    """Kernel between the points for each draw of length scales."""
    features = Features.of(description, points)
    X = np.concatenate([features(points), points.numpy()], axis=1)
    n_features, dimension = features.number, X.shape[1]
    categorical = np.array([False] * n_features + [n > 0 for n in encoding.categories])
    described = np.array([False] * n_features + [k in description.coordinates for k in range(encoding.dimension)])
    prior = Prior(KernelPrior(is_matern=True), categorical, described)
    draws = np.random.default_rng(SEED).normal(np.sqrt(2) + np.log(dimension) / 2, np.sqrt(3), (N_SCALES, dimension))
    return [prior.between(X, X, np.exp(draw)) for draw in draws]


def _parts(codes: Tensor) -> NDArray[np.int64]:
    """Number of the part of each row, `n`; all rows of a part have the same codes. Without codes there is one part."""
    if not codes.shape[1]:
        return np.zeros(len(codes), dtype=np.int64)
    return np.unique(codes.numpy(), axis=0, return_inverse=True)[1].reshape(-1)


def _scaled(K: Array, n: int, parts: NDArray[np.int64]) -> Array:
    """The kernel between the first n points, so that the process has an expected variance of 1 over each part.

    Without this, a draw whose shortest length scales are of parameters of one part would be constant over all others.
    """
    among = K[n:, n:]
    pairs = ~np.eye(len(among), dtype=bool)
    scales = np.ones(n)
    for part in np.unique(parts[:n]):
        inside = np.ix_(parts[n:] == part, parts[n:] == part)
        chosen = among[inside][pairs[inside]]
        scales[parts[:n] == part] = max(1 - float(chosen.mean() if len(chosen) else among[pairs].mean()), 1e-9)
    scaled: Array = K[:n, :n] / np.sqrt(scales[:, None] * scales)
    return scaled


def _log_likelihoods(K: Array, values: Array, ratios: Array, means: Array) -> Array:
    """Log p(y | q, l) for each ratio q, up to a constant.

    Observations of a point enter by their mean, of covariance (q^2 K + I) / r, and by the squares around it.

    Args:
        K: Kernel between the n points.
        values: Observations, `n x r`.
        ratios: The ratios q.
        means: The columns that stand for 1, `n x m`.
    """
    n, r = values.shape
    average = values.mean(axis=1)
    within = ((values - average[:, None]) ** 2).sum() / r  # in units of the noise of a mean
    roots, vectors = np.linalg.eigh(K)
    y, H = vectors.T @ average, vectors.T @ means
    spread = 1 + ratios[:, None] ** 2 * np.maximum(roots, 0)
    information = np.einsum("ia,qi,ib->qab", H, 1 / spread, H)
    score = np.einsum("ia,qi,i->qa", H, 1 / spread, y)
    explained = (score * np.linalg.solve(information, score[..., None])[..., 0]).sum(axis=1)
    squares = (y**2 / spread).sum(axis=1) - explained + within
    determinants = np.log(spread).sum(axis=1) + np.linalg.slogdet(information)[1]
    found: Array = -determinants / 2 - (n * r - means.shape[1]) / 2 * np.log(np.maximum(squares, 1e-300))
    return found
