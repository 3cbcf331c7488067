"""A Gaussian process over numbers and categories; only its length scales and noise need numerical optimisation.

    X   n x q        points: codes of numbers, or of categories, which only count as equal or different
    y   n            values, standardised
    l   q            length scales
    delta_k          (x_k - x'_k)^2 for a number, [x_k != x'_k] for a category
    K                exp(-r / 2), the squared exponential kernel of r = sum_k delta_k / l_k^2, or Matern's of smoothness
                     5/2, (1 + u + u^2 / 3) exp(-u) with u = sqrt(5 r), n x n
                     If some coordinates describe others, K is 0.9 times this kernel over the coordinates that are not
                     described, plus 0.1 times the kernel over all coordinates.
    s                variance of the process
    v                variance of the noise, as a share of s
    A                K + v I

The variance of the process has an inverse gamma prior of shape and scale 1 and is integrated out. A process of fixed
variance 1 on standardised values could not have both long length scales and a large variance, which a nearly additive
function of categories needs. Up to a constant, the log posterior of log l and log v, which have normal priors (see
`KernelPrior`), is

    -(n / 2 + 1) log(y' A^-1 y / 2 + 1) - 1/2 log |A| + log p(log l) + log p(log v)

(Rasmussen and Williams 2006, equation 5.8, integrated over s). Its gradient has the closed form
1/2 tr((a a' / s - A^-1) dA) with a = A^-1 y and s = (y' A^-1 y / 2 + 1) / (n / 2 + 1) (there, equation 5.9).
Predictions are normal with this s; integrating over s would give Student's t with n + 2 degrees of freedom. All
computation is float64 on the CPU.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, lapack, solve_triangular
from scipy.optimize import minimize

from autokd.optimizers.arrays import Array

__all__ = ["GaussianProcess", "KernelPrior", "Prior"]

Mask = NDArray[np.bool_]

_SHORTEST, _LONGEST = math.log(0.025), math.log(1e4)
_LEAST_NOISE, _MOST_NOISE = math.log(1e-6), math.log(1e3)
_SHAPE, _SCALE = 1.0, 1.0  # prior of the variance
_MAX_ITERATIONS = 75  # of L-BFGS; a fit that converges does so in far fewer
_TOLERANCE = 1e-7  # relative, of the log posterior
NOISE_LEVELS = np.arange(-6.0, 3.0)  # values of log v over which processes average
_BLOCK = 2**15  # elements of a large matrix that are computed at once, so that what is in between stays in the cache
_KNOWN_SPREAD = 0.7  # prior standard deviation of log v where the noise is known but for a factor of two either way
_DECIDING = 0.9  # share of the variance that does not depend on the described coordinates


@dataclass(frozen=True)
class KernelPrior:
    """Kernel of a process and normal priors of the logarithms of l and v.

    Attributes:
        is_matern: Whether the kernel is Matern's; otherwise it is squared exponential.
        number: Prior mean of log l of a number.
        category: Prior mean of log l of a category.
        spread: Prior standard deviation of log l.
        noise: Prior mean of log v.
        noise_spread: Prior standard deviation of log v.
    """

    is_matern: bool = False
    number: float = -1.0
    category: float = -0.2
    spread: float = 1.5
    noise: float = -3.0
    noise_spread: float = 1.5

    def knowing(self, noise: float) -> "KernelPrior":
        """Prior for values whose noise is about known: v is the square of its standard deviation, since s is about 1.

        Args:
            noise: Standard deviation of the noise of a standardised value, positive.
        """
        return replace(self, noise=2 * math.log(noise), noise_spread=_KNOWN_SPREAD)

    @property
    def noise_levels(self) -> Array:
        """Values of log v over which a process averages: `NOISE_LEVELS`, or lower ones where it is known to be low."""
        if self.noise >= NOISE_LEVELS[0]:
            return NOISE_LEVELS
        return np.arange(max(self.noise - 3 * self.noise_spread, _LEAST_NOISE), NOISE_LEVELS[-1] + 1)

    def kernel(self, distance: Array) -> Array:
        """K at squared scaled distances r, any shape."""
        if not self.is_matern:
            kernel: Array = np.exp(distance / -2)
            return kernel
        u = np.sqrt(5 * distance)
        matern: Array = (1 + u + u * u / 3) * np.exp(-u)
        return matern

    def slope(self, distance: Array) -> Array:
        """-2 dK / dr at squared scaled distances r, any shape."""
        if not self.is_matern:
            return self.kernel(distance)
        u = np.sqrt(5 * distance)
        slope: Array = (1 + u) * np.exp(-u) * (5 / 3)
        return slope


@dataclass(frozen=True)
class Prior:
    """A kernel prior applied to given coordinates.

    Attributes:
        kernel_prior: Kernel, and priors of its length scales and of the noise.
        categorical: Mask of the categorical coordinates, `q`, bool.
        described: Mask of the coordinates that others describe, `q`, bool.
    """

    kernel_prior: KernelPrior
    categorical: Mask
    described: Mask

    @property
    def groups(self) -> list[Mask]:
        """Masks of the coordinates that are not described and, if there are any, of those that are."""
        return [~self.described, self.described] if self.described.any() else [~self.described]

    @property
    def means(self) -> Array:
        """Prior means of log l and log v, `q + 1`."""
        kernel_prior = self.kernel_prior
        return np.append(np.where(self.categorical, kernel_prior.category, kernel_prior.number), kernel_prior.noise)

    @property
    def spreads(self) -> Array:
        """Prior standard deviations of log l and log v, `q + 1`."""
        return np.append(np.full(len(self.categorical), self.kernel_prior.spread), self.kernel_prior.noise_spread)

    def kernel(self, distances: Sequence[Array]) -> Array:
        """K at the distances r of each group, any shape."""
        kernel, flat = np.empty(distances[0].shape), [each.reshape(-1) for each in distances]
        for start in range(0, kernel.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            kernel.reshape(-1)[block] = self._kernel_of_few([each[block] for each in flat])
        return kernel

    def _kernel_of_few(self, distances: Sequence[Array]) -> Array:
        if len(distances) == 1:
            return self.kernel_prior.kernel(distances[0])
        deciding, described = distances
        return _DECIDING * self.kernel_prior.kernel(deciding) + (1 - _DECIDING) * self.kernel_prior.kernel(
            deciding + described
        )

    def slopes(self, distances: Sequence[Array]) -> list[Array]:
        """-2 dK / dr with respect to the distances r of each group, in their shape."""
        if len(distances) == 1:
            return [self.kernel_prior.slope(distances[0])]
        deciding, described = distances
        of_both = (1 - _DECIDING) * self.kernel_prior.slope(deciding + described)
        return [_DECIDING * self.kernel_prior.slope(deciding) + of_both, of_both]

    def between(self, A: Array, B: Array, lengthscales: Array) -> Array:
        """K between all rows of A, `a x q`, and of B, `b x q`: a matrix `a x b`.

        Args:
            A: Points, `a x q`.
            B: Points, `b x q`.
            lengthscales: l, `q`, positive.
        """
        return self.kernel(
            [_distance(A[:, of], B[:, of], self.categorical[of], lengthscales[of]) for of in self.groups]
        )

    def deltas(self, X: Array) -> list[Array]:
        """Differences delta between all rows of X for each group, `n x n x` the number of its coordinates."""
        return [_deltas(X[:, of], self.categorical[of]) for of in self.groups]


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted process.

    Attributes:
        prior: Kernel and priors.
        lengthscales: l, `q`.
        variance: Variance of the process, s, without noise.
        noise: Variance of the noise, v s.
        X: Points of the data, which determine the mean, `n x q`.
        weights: A^-1 y, `n`.
        seen: Points that determine the variance, X first, `m x q`.
        root: Lower Cholesky factor of A at the seen points, `m x m`.
    """

    prior: Prior
    lengthscales: Array
    variance: float
    noise: float
    X: Array
    weights: Array
    seen: Array
    root: Array

    @classmethod
    def fit(cls, X: Array, y: Array, prior: Prior) -> "GaussianProcess":
        """Process with the length scales and noise of largest posterior density.

        The optimisation starts from the prior means and is deterministic.

        Args:
            X: Points, `n x q`.
            y: Standardised values, `n`.
            prior: Kernel and priors.
        """
        bounds = [(_SHORTEST, _LONGEST)] * X.shape[1] + [(_LEAST_NOISE, _MOST_NOISE)]
        found = minimize(
            _negative_log_posterior,
            prior.means,
            args=(prior.deltas(X), y, prior),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": _MAX_ITERATIONS, "ftol": _TOLERANCE},
        )
        return cls.of(X, y, prior, np.exp(found.x[:-1]), math.exp(found.x[-1]))

    @classmethod
    def of(cls, X: Array, y: Array, prior: Prior, lengthscales: Array, share: float) -> "GaussianProcess":
        """Process with given length scales and noise.

        Args:
            X: Points, `n x q`.
            y: Standardised values, `n`.
            prior: Kernel and priors.
            lengthscales: l, `q`.
            share: v, the noise as a share of the variance.
        """
        root = _root(prior.between(X, X, lengthscales), share)
        weights = cho_solve((root, True), y)
        variance = float(_SCALE + y @ weights / 2) / (_SHAPE + len(y) / 2)
        return cls(prior, lengthscales, variance, share * variance, X, weights, X, root)

    def of_others(self, X: Array, y: Array) -> "GaussianProcess":
        """Process of other data with the same length scales and noise as a share of the variance, as in `of`."""
        return self.of(X, y, self.prior, self.lengthscales, self.noise / self.variance)

    @cached_property
    def noise_levels(self) -> list[tuple[float, "GaussianProcess"]]:
        """The process with each of the prior's `noise_levels` in place of its noise, and their posterior probabilities.

        A few observations are explained as well by much noise as by little, and the most probable noise alone makes
        predictions too sure. The length scales stay as they are.
        """
        deltas, logs = self.prior.deltas(self.X), np.log(self.lengthscales)
        root = self.root[: len(self.X), : len(self.X)]
        y = root @ (root.T @ self.weights)
        levels = self.prior.kernel_prior.noise_levels
        density = -np.array(
            [_negative_log_posterior(np.append(logs, level), deltas, y, self.prior)[0] for level in levels]
        )
        weights = np.exp(density - density.max())
        processes = [self.of(self.X, y, self.prior, self.lengthscales, math.exp(level)) for level in levels]
        return list(zip((weights / weights.sum()).tolist(), processes, strict=True))

    def mean(self, points: Array) -> Array:
        """Posterior mean at `p x q` points, `p`."""
        mean: Array = self._kernel(points, self.X) @ self.weights
        return mean

    def deviation(self, points: Array) -> Array:
        """Posterior standard deviation of the process, without noise, at `p x q` points, `p`."""
        half = self._half(points)
        share: Array = np.maximum(1 - (half * half).sum(axis=0), 1e-12)
        return np.sqrt(self.variance * share)

    def covariance(self, points: Array) -> Array:
        """Posterior covariance of the process, without noise, at `p x q` points, `p x p`."""
        half = self._half(points)
        covariance: Array = self.variance * (self._kernel(points, points) - half.T @ half)
        return covariance

    def condition_on_mean(self, points: Array) -> "GaussianProcess":
        """Process conditioned on its own posterior mean at these points: the same mean, a smaller variance."""
        seen = np.concatenate([self.seen, points])
        root = _root(self._kernel(seen, seen), self.noise / self.variance)
        return replace(self, seen=seen, root=root)

    def _half(self, points: Array) -> Array:
        cross = self._kernel(self.seen, points)
        half: Array = solve_triangular(self.root, cross, lower=True, overwrite_b=True, check_finite=False)
        return half

    def _kernel(self, A: Array, B: Array) -> Array:
        return self.prior.between(A, B, self.lengthscales)


def _negative_log_posterior(parameters: Array, deltas: Sequence[Array], y: Array, prior: Prior) -> tuple[float, Array]:
    """Negative log posterior of log l and log v, with its gradient; `deltas` has an entry for each of the groups."""
    n, groups = len(y), prior.groups
    precisions, share = np.exp(-2 * parameters[:-1]), math.exp(parameters[-1])
    distances = [delta @ precisions[of] for of, delta in zip(groups, deltas, strict=True)]
    root = _root(prior.kernel(distances), share)
    inverse = _inverse(root)
    weights = inverse @ y
    shape, scale = _SHAPE + n / 2, _SCALE + y @ weights / 2
    inner = shape / scale * np.outer(weights, weights) - inverse
    gradient = np.empty(len(parameters))
    for of, delta, slope in zip(groups, deltas, prior.slopes(distances), strict=True):
        sums = (inner * slope).reshape(-1) @ delta.reshape(n * n, -1)
        gradient[:-1][of] = -sums * precisions[of] / 2
    gradient[-1] = -np.trace(inner) * share / 2
    spreads = prior.spreads
    off = (parameters - prior.means) / spreads
    value = shape * math.log(scale) + np.log(np.diag(root)).sum() + off @ off / 2
    return float(value), gradient + off / spreads


def _deltas(X: Array, categorical: Mask) -> Array:
    difference = X[:, None, :] - X[None, :, :]
    deltas: Array = np.where(categorical, difference != 0, difference * difference)
    return deltas


def _distance(A: Array, B: Array, categorical: Mask, lengthscales: Array) -> Array:
    """Distances r between all rows of A, `a x q`, and of B, `b x q`: a matrix `a x b`."""
    numbers = ~categorical
    scaled_A, scaled_B = A[:, numbers] / lengthscales[numbers], B[:, numbers] / lengthscales[numbers]
    distance: Array = (scaled_A**2).sum(axis=1)[:, None] + (scaled_B**2).sum(axis=1)
    distance -= 2 * (scaled_A @ scaled_B.T)
    np.maximum(distance, 0, out=distance)
    n_rows = -(-_BLOCK // max(1, len(B)))
    for rows in (slice(start, start + n_rows) for start in range(0, len(A), n_rows)):
        for k in np.flatnonzero(categorical):
            distance[rows] += (A[rows, k, None] != B[:, k]) / lengthscales[k] ** 2
    return distance


def _root(K: Array, noise: float) -> Array:
    """Lower Cholesky factor of K + v I; jitter is added to the diagonal if rounding makes it necessary."""
    A = K.copy()
    for extra in (0.0, 1e-8, 1e-6, 1e-4):
        A[np.diag_indices(len(A))] = 1 + noise + extra
        root, info = lapack.dpotrf(A, lower=True, clean=True)
        if not info:
            return np.ascontiguousarray(root)
    raise np.linalg.LinAlgError(f"A kernel matrix must be positive definite, but that of {len(K)} points is not.")


def _inverse(root: Array) -> Array:
    """Inverse of the matrix with this lower Cholesky factor."""
    lower, _ = lapack.dpotri(root, lower=True)  # above the diagonal the zeros of the root remain
    inverse: Array = lower + lower.T
    inverse[np.diag_indices(len(lower))] /= 2
    return inverse
