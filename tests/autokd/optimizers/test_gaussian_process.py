import math

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from autokd.optimizers import gaussian_process as module
from autokd.optimizers.gaussian_process import GaussianProcess

CATEGORICAL = np.array([False, False, True])


def data(n: int = 25, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.random((n, 3))
    X[:, 2] = np.floor(3 * X[:, 2]) / 3
    y = -((X[:, 0] - 0.3) ** 2) - 0.5 * X[:, 1] + 0.3 * (X[:, 2] == 1 / 3) + 0.02 * rng.normal(size=n)
    return X, (y - y.mean()) / y.std()


def kernel_by_hand(A: np.ndarray, B: np.ndarray, scales: np.ndarray) -> np.ndarray:
    K = np.zeros((len(A), len(B)))
    for i, a in enumerate(A):
        for j, b in enumerate(B):
            deltas = [float(p != q) if c else (p - q) ** 2 for p, q, c in zip(a, b, CATEGORICAL, strict=True)]
            K[i, j] = math.exp(-0.5 * sum(d / s**2 for d, s in zip(deltas, scales, strict=True)))
    return K


def test_the_posterior_is_the_textbook_formula() -> None:
    X, y = data()
    points, _ = data(seed=1)
    process = GaussianProcess.fit(X, y, CATEGORICAL)
    scales = process.lengthscales
    inverse = np.linalg.inv(kernel_by_hand(X, X, scales) + process.noise * np.eye(len(X)))
    cross = kernel_by_hand(points, X, scales)
    covariance = kernel_by_hand(points, points, scales) - cross @ inverse @ cross.T
    np.testing.assert_allclose(process.mean(points), cross @ inverse @ y, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(process.covariance(points), covariance, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(process.deviation(points), np.sqrt(np.diag(covariance)), rtol=1e-6)


def test_on_numbers_it_predicts_what_scikit_learn_does() -> None:
    rng = np.random.default_rng(0)
    X, points = rng.random((30, 2)), rng.random((10, 2))
    y = np.sin(5 * X[:, 0]) + X[:, 1]
    process = GaussianProcess.fit(X, y, [False, False])
    theirs = GaussianProcessRegressor(RBF(process.lengthscales), alpha=process.noise, optimizer=None).fit(X, y)
    mean, deviation = theirs.predict(points, return_std=True)
    np.testing.assert_allclose(process.mean(points), mean, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(process.deviation(points), deviation, rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_is_that_of_the_log_posterior(seed: int) -> None:
    X, y = data(15, seed)
    deltas = module._deltas(X, CATEGORICAL)
    at = np.random.default_rng(seed).normal(size=4) - [0, 0, 0, 2]
    _, gradient = module._negative_log_posterior(at, deltas, y)
    numeric = approx_fprime(at, lambda p: module._negative_log_posterior(p, deltas, y)[0], 1e-7)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-5)


def test_the_log_posterior_is_the_likelihood_times_the_priors() -> None:
    from scipy.stats import lognorm, multivariate_normal

    X, y = data(8)
    deltas = module._deltas(X, CATEGORICAL)

    def log_density(at: np.ndarray) -> float:
        A = kernel_by_hand(X, X, np.exp(at[:-1])) + math.exp(at[-1]) * np.eye(len(X))
        likelihood = multivariate_normal(cov=A).logpdf(y)
        scales = lognorm(math.sqrt(3), scale=math.exp(math.sqrt(2)) * math.sqrt(3)).logpdf(np.exp(at[:-1])).sum()
        return float(likelihood + scales + lognorm(1, scale=math.exp(-4)).logpdf(math.exp(at[-1])))

    first, second = np.array([0.1, -0.4, 0.3, -2.0]), np.array([1.0, 0.2, -0.5, -4.0])
    ours = [module._negative_log_posterior(at, deltas, y)[0] for at in (first, second)]
    assert ours[1] - ours[0] == pytest.approx(log_density(first) - log_density(second), rel=1e-9)


def test_the_fit_is_an_optimum_that_no_start_beats_by_much() -> None:
    from scipy.optimize import minimize

    X, y = data(40)
    deltas = module._deltas(X, CATEGORICAL)
    process = GaussianProcess.fit(X, y, CATEGORICAL)
    found = np.array([*np.log(process.lengthscales), math.log(process.noise)])
    value, gradient = module._negative_log_posterior(found, deltas, y)
    assert np.abs(gradient).max() < 0.05
    for seed in range(5):
        start = found + np.random.default_rng(seed).normal(size=4)
        other = minimize(module._negative_log_posterior, start, args=(deltas, y), jac=True, method="L-BFGS-B")
        assert value < other.fun + 0.01


def test_having_seen_points_is_having_data_of_the_mean_there() -> None:
    X, y = data()
    points, _ = data(8, seed=1)
    process = GaussianProcess.fit(X, y, CATEGORICAL)
    seen = process.having_seen(points[:3])
    all_X = np.concatenate([X, points[:3]])
    all_y = np.concatenate([y, process.mean(points[:3])])
    full = GaussianProcess.of(all_X, all_y, CATEGORICAL, process.lengthscales, process.noise)
    np.testing.assert_allclose(seen.mean(points), full.mean(points), atol=1e-7)
    np.testing.assert_allclose(seen.deviation(points), full.deviation(points))
    assert (seen.deviation(points) < process.deviation(points)).all()


@pytest.mark.parametrize("rows", [[0], [0, 0, 0, 0], [0, 1], [0] * 200])
def test_few_or_repeated_points_are_no_trouble(rows: list[int]) -> None:
    X, y = data()
    process = GaussianProcess.fit(X[rows], y[rows] - y[rows].mean(), CATEGORICAL)
    assert np.isfinite(process.mean(X)).all()
    assert (process.deviation(X) > 0).all()


def test_it_finds_which_coordinates_count() -> None:
    rng = np.random.default_rng(0)
    X = rng.random((80, 6))
    X[:, 3:] = np.floor(4 * X[:, 3:]) / 4
    y = np.sin(6 * X[:, 1]) + (X[:, 4] == 0.25) + 0.05 * rng.normal(size=80)
    scales = GaussianProcess.fit(X, (y - y.mean()) / y.std(), [False] * 3 + [True] * 3).lengthscales
    assert set(np.argsort(scales)[:2]) == {1, 4}
