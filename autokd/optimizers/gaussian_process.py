"""A Gaussian process over numbers and categories, fitted in closed form but for its length scales and noise.

    X   n x q        points: codes of numbers, or of categories, of which only equality counts
    y   n            values, standardised
    l   q            length scales
    delta_k          (x_k - x'_k)^2 for a number, [x_k != x'_k] for a category
    K                exp(-1/2 sum_k delta_k / l_k^2): the squared exponential kernel, n x n
    v                variance of the noise
    A                K + v I

Priors: log l_k ~ N(sqrt 2 + log(q) / 2, 3), which widens with the number of coordinates so that none counts much until
the data say so, and a process of variance 1 (Hvarfner et al. 2024, https://arxiv.org/abs/2402.02229); log v ~ N(-4, 1).
Both are BoTorch's. The log posterior of l and v (not of their logarithms) is, up to a constant,

    -1/2 y' A^-1 y - 1/2 log |A| + log p(l) + log p(v)

where log p of a log-normal l is that of a normal log l whose mean is its variance lower. Its gradient has the closed
form 1/2 tr((a a' - A^-1) dA) with a = A^-1 y (Rasmussen and Williams 2006, equation 5.9). All is float64 on the CPU.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, lapack, solve_triangular
from scipy.optimize import minimize

__all__ = ["GaussianProcess"]

Array = NDArray[np.float64]

_SPREAD = math.sqrt(3)  # deviation of log l
_NOISE_MODE, _NOISE_SPREAD = -4.0 - 1.0, 1.0  # of log v
_SHORTEST, _LONGEST = math.log(0.025), math.log(1e4)
_LEAST_NOISE, _MOST_NOISE = math.log(1e-6), math.log(1e3)
_MAX_ITERATIONS = 75  # of L-BFGS; the fit has converged long before, or it is lost
_TOLERANCE = 1e-7  # relative, of the log posterior


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted process.

    Attributes:
        categorical: Which coordinates are categories, `q`, bool.
        lengthscales: l, `q`.
        noise: v.
        X: Points that decide the mean, `n x q`.
        weights: A^-1 y, `n`.
        seen: Points that decide the variance, X first, `m x q`.
        root: Lower Cholesky factor of A of these, `m x m`.
    """

    categorical: NDArray[np.bool_]
    lengthscales: Array
    noise: float
    X: Array
    weights: Array
    seen: Array
    root: Array

    @classmethod
    def fit(cls, X: Array, y: Array, categorical: Sequence[bool]) -> "GaussianProcess":
        """The process with the length scales and noise of largest posterior density.

        The search starts from the priors' modes and depends on nothing but its arguments.
        """
        chosen = np.array(categorical, dtype=bool)
        deltas = _deltas(X, chosen)
        start = np.array([*[_prior_mode(X.shape[1])] * X.shape[1], _NOISE_MODE])
        bounds = [(_SHORTEST, _LONGEST)] * X.shape[1] + [(_LEAST_NOISE, _MOST_NOISE)]
        found = minimize(
            _negative_log_posterior,
            start,
            args=(deltas, y),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": _MAX_ITERATIONS, "ftol": _TOLERANCE},
        )
        return cls.of(X, y, chosen, np.exp(found.x[:-1]), math.exp(found.x[-1]))

    @classmethod
    def of(
        cls, X: Array, y: Array, categorical: NDArray[np.bool_], lengthscales: Array, noise: float
    ) -> "GaussianProcess":
        """The process with these length scales and noise."""
        root = _root(_kernel(X, X, categorical, lengthscales), noise)
        weights = cho_solve((root, True), y)
        return cls(categorical, lengthscales, noise, X, weights, X, root)

    def mean(self, points: Array) -> Array:
        """Posterior mean at `p x q` points, `p`."""
        mean: Array = _kernel(points, self.X, self.categorical, self.lengthscales) @ self.weights
        return mean

    def deviation(self, points: Array) -> Array:
        """Posterior standard deviation of the process, without noise, at `p x q` points, `p`."""
        half = self._half(points)
        deviation: Array = np.sqrt(np.maximum(1 - (half * half).sum(axis=0), 1e-12))
        return deviation

    def covariance(self, points: Array) -> Array:
        """Posterior covariance of the process, without noise, at `p x q` points, `p x p`."""
        half = self._half(points)
        prior = _kernel(points, points, self.categorical, self.lengthscales)
        covariance: Array = prior - half.T @ half
        return covariance

    def having_seen(self, points: Array) -> "GaussianProcess":
        """The process that has seen its own posterior mean at these points: the same mean, a smaller variance."""
        seen = np.concatenate([self.seen, points])
        root = _root(_kernel(seen, seen, self.categorical, self.lengthscales), self.noise)
        return replace(self, seen=seen, root=root)

    def _half(self, points: Array) -> Array:
        cross = _kernel(self.seen, points, self.categorical, self.lengthscales)
        half: Array = solve_triangular(self.root, cross, lower=True, overwrite_b=True, check_finite=False)
        return half


def _prior_mode(q: int) -> float:
    """Of log l."""
    return math.sqrt(2) + math.log(q) / 2 - _SPREAD**2


def _negative_log_posterior(parameters: Array, deltas: Array, y: Array) -> tuple[float, Array]:
    """Of log l and log v, with its gradient; `deltas` are `n x n x q`."""
    q = deltas.shape[2]
    scales, noise = parameters[:-1], math.exp(parameters[-1])
    halves = np.exp(-2 * scales) / 2
    K = np.exp(-(deltas @ halves))
    root = _root(K, noise)
    inverse = _inverse(root)
    weights = inverse @ y
    value = y @ weights / 2 + np.log(np.diag(root)).sum()
    inner = np.outer(weights, weights) - inverse
    gradient = np.empty(q + 1)
    gradient[:-1] = -((inner * K).reshape(-1) @ deltas.reshape(-1, q)) * halves
    gradient[-1] = -np.trace(inner) * noise / 2
    off = (scales - _prior_mode(q)) / _SPREAD
    noise_off = (parameters[-1] - _NOISE_MODE) / _NOISE_SPREAD
    value += (off @ off + noise_off**2) / 2
    gradient[:-1] += off / _SPREAD
    gradient[-1] += noise_off / _NOISE_SPREAD
    return float(value), gradient


def _deltas(X: Array, categorical: NDArray[np.bool_]) -> Array:
    difference = X[:, None, :] - X[None, :, :]
    deltas: Array = np.where(categorical, difference != 0, difference * difference)
    return deltas


def _kernel(A: Array, B: Array, categorical: NDArray[np.bool_], lengthscales: Array) -> Array:
    """K between all rows of A and B."""
    numbers = ~categorical
    scaled_A, scaled_B = A[:, numbers] / lengthscales[numbers], B[:, numbers] / lengthscales[numbers]
    squares = (scaled_A**2).sum(axis=1)[:, None] + (scaled_B**2).sum(axis=1) - 2 * (scaled_A @ scaled_B.T)
    distance = np.maximum(squares, 0)
    for k in np.flatnonzero(categorical):
        distance += (A[:, k, None] != B[:, k]) / lengthscales[k] ** 2
    kernel: Array = np.exp(distance / -2)
    return kernel


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
    lower, _ = lapack.dpotri(root, lower=True)
    inverse: Array = np.tril(lower) + np.tril(lower, -1).T
    return inverse
