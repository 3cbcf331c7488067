"""A Gaussian process over numbers and categories, fitted in closed form but for its length scales and noise.

    X   n x q        points: codes of numbers, or of categories, of which only equality counts
    y   n            values, standardised
    l   q            length scales
    delta_k          (x_k - x'_k)^2 for a number, [x_k != x'_k] for a category
    K                exp(-r / 2), the squared exponential kernel of r = sum_k delta_k / l_k^2, or Matern's of smoothness
                     5/2, (1 + u + u^2 / 3) exp(-u) with u = sqrt(5 r), n x n
                     Where some coordinates describe others, it is 0.9 of this kernel without the described ones and
                     0.1 of it over all: the description decides, but for a tenth of the variance.
    s                variance of the process
    v                variance of the noise, as a share of s
    A                K + v I

The variance of the process has an inverse gamma prior of shape and scale 1 and is integrated out, since a process of
variance 1 on standardised values cannot be long-ranged and strong at a time, as a nearly additive function of
categories is. Up to a constant, the log posterior of log l and log v, which have normal priors (see `KernelPrior`), is

    -(n / 2 + 1) log(y' A^-1 y / 2 + 1) - 1/2 log |A| + log p(log l) + log p(log v)

(Rasmussen and Williams 2006, equation 5.8, integrated over s). Its gradient has the closed form
1/2 tr((a a' / s - A^-1) dA) with a = A^-1 y and s = (y' A^-1 y / 2 + 1) / (n / 2 + 1) (there, equation 5.9).
Predictions are normal with this s, where a full integration would make them Student's t of n + 2 degrees of freedom.
All is float64 on the CPU.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, lapack, solve_triangular
from scipy.optimize import minimize

from autokd.optimizers.arrays import Array

__all__ = ["GaussianProcess", "KernelPrior", "Prior"]

Mask = NDArray[np.bool_]

_SHORTEST, _LONGEST = math.log(0.025), math.log(1e4)
_LEAST_NOISE, _MOST_NOISE = math.log(1e-6), math.log(1e3)
_SHAPE, _SCALE = 1.0, 1.0  # of the variance's prior
_MAX_ITERATIONS = 75  # of L-BFGS; the fit has converged long before, or it is lost
_TOLERANCE = 1e-7  # relative, of the log posterior
_DECIDING = 0.9  # share of the variance that points have in common which differ in described coordinates alone


@dataclass(frozen=True)
class KernelPrior:
    """What is assumed of a process before there are data: normal priors of the logarithms of l and v.

    Attributes:
        is_matern: Whether the kernel is Matern's.
        number: Mean of log l of a number.
        category: Mean of log l of a category.
        spread: Standard deviation of either.
        noise: Mean of log v.
        noise_spread: Its standard deviation.
    """

    is_matern: bool = False
    number: float = -1.0
    category: float = -0.2
    spread: float = 1.5
    noise: float = -3.0
    noise_spread: float = 1.5

    def kernel(self, distance: Array) -> Array:
        """K of squared scaled distances r, any shape."""
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
    """A kernel prior over certain coordinates.

    Attributes:
        kernel_prior: The kernel, and what is assumed of its length scales and of the noise.
        categorical: Which coordinates are categories, `q`, bool.
        described: Which coordinates others describe, `q`, bool.
    """

    kernel_prior: KernelPrior
    categorical: Mask
    described: Mask

    @property
    def groups(self) -> list[Mask]:
        """Coordinates whose distances count together: those that are not described, and the others if there are any."""
        return [~self.described, self.described] if self.described.any() else [~self.described]

    @property
    def means(self) -> Array:
        """Of log l and log v, `q + 1`."""
        kernel_prior = self.kernel_prior
        return np.append(np.where(self.categorical, kernel_prior.category, kernel_prior.number), kernel_prior.noise)

    @property
    def spreads(self) -> Array:
        """Standard deviations of the same, `q + 1`."""
        return np.append(np.full(len(self.categorical), self.kernel_prior.spread), self.kernel_prior.noise_spread)

    def kernel(self, distances: Sequence[Array]) -> Array:
        """K of each group's r, any shape."""
        if len(distances) == 1:
            return self.kernel_prior.kernel(distances[0])
        deciding, described = distances
        return _DECIDING * self.kernel_prior.kernel(deciding) + (1 - _DECIDING) * self.kernel_prior.kernel(
            deciding + described
        )

    def slopes(self, distances: Sequence[Array]) -> list[Array]:
        """-2 dK / dr for each group's r, in their shape."""
        if len(distances) == 1:
            return [self.kernel_prior.slope(distances[0])]
        deciding, described = distances
        of_both = (1 - _DECIDING) * self.kernel_prior.slope(deciding + described)
        return [_DECIDING * self.kernel_prior.slope(deciding) + of_both, of_both]

    def between(self, A: Array, B: Array, lengthscales: Array) -> Array:
        """K between all rows of A, `a x q`, and of B, `b x q`; `a x b`."""
        return self.kernel(
            [_distance(A[:, of], B[:, of], self.categorical[of], lengthscales[of]) for of in self.groups]
        )

    def deltas(self, X: Array) -> list[Array]:
        """Matrices `delta` between all rows of X for each group's coordinates, `n x n x` their number."""
        return [_deltas(X[:, of], self.categorical[of]) for of in self.groups]


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted process.

    Attributes:
        prior: Its kernel, and what was assumed.
        lengthscales: l, `q`.
        variance: Of the process, without noise.
        noise: Variance of the noise, v times the former.
        X: Points that decide the mean, `n x q`.
        weights: A^-1 y, `n`.
        seen: Points that decide the variance, X first, `m x q`.
        root: Lower Cholesky factor of A of these, `m x m`.
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
        """The process with the length scales and noise of largest posterior density.

        The search starts from the priors' means and depends on nothing but its arguments.
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
        """The process with these length scales, and noise of this share v of the variance."""
        root = _root(prior.between(X, X, lengthscales), share)
        weights = cho_solve((root, True), y)
        variance = float(_SCALE + y @ weights / 2) / (_SHAPE + len(y) / 2)
        return cls(prior, lengthscales, variance, share * variance, X, weights, X, root)

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

    def having_seen(self, points: Array) -> "GaussianProcess":
        """The process that has seen its own posterior mean at these points: the same mean, a smaller variance."""
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
    """Of log l and log v, with its gradient; for each of the prior's groups there are `deltas`."""
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
    """Distance `r` between all rows of A and B."""
    numbers = ~categorical
    scaled_A, scaled_B = A[:, numbers] / lengthscales[numbers], B[:, numbers] / lengthscales[numbers]
    squares = (scaled_A**2).sum(axis=1)[:, None] + (scaled_B**2).sum(axis=1) - 2 * (scaled_A @ scaled_B.T)
    distance: Array = np.maximum(squares, 0)
    for k in np.flatnonzero(categorical):
        distance += (A[:, k, None] != B[:, k]) / lengthscales[k] ** 2
    return distance


def _root(K: Array, noise: float) -> Array:
    """Lower Cholesky factor of K + v I; a little is added to the diagonal where rounding asks for it."""
    A = K.copy()
    for extra in (0.0, 1e-8, 1e-6, 1e-4):
        A[np.diag_indices(len(A))] = 1 + noise + extra
        root, info = lapack.dpotrf(A, lower=True, clean=True)
        if not info:
            return np.ascontiguousarray(root)
    raise np.linalg.LinAlgError(f"A kernel matrix of {len(K)} points is not positive definite.")


def _inverse(root: Array) -> Array:
    """Of the matrix whose lower Cholesky factor this is."""
    lower, _ = lapack.dpotri(root, lower=True)  # above its diagonal it keeps the root's zeros
    inverse: Array = lower + lower.T
    inverse[np.diag_indices(len(lower))] /= 2
    return inverse
