import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import approx_fprime, minimize
from scipy.stats import invgamma, multivariate_normal, multivariate_t, norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, Matern

from autokd.optimizers.models import gaussian_process as module
from autokd.optimizers.models.gaussian_process import GaussianProcess, KernelPrior, Prior

CATEGORICAL = np.array([False, False, True])
RUGGED = KernelPrior()
SMOOTH = KernelPrior(is_matern=True, number=0.0, category=0.3, spread=1.2, noise=-3.5)

kernel_priors = pytest.mark.parametrize("kernel_prior", [RUGGED, SMOOTH])
descriptions = pytest.mark.parametrize("described", [(), (1,), (0, 2)])


def data(n: int = 25, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.random((n, 3))
    X[:, 2] = np.floor(3 * X[:, 2]) / 3
    y = -((X[:, 0] - 0.3) ** 2) - 0.5 * X[:, 1] + 0.3 * (X[:, 2] == 1 / 3) + 0.02 * rng.normal(size=n)
    return X, (y - y.mean()) / y.std()


def prior(kernel_prior: KernelPrior, described: tuple[int, ...] = (), categorical: np.ndarray = CATEGORICAL) -> Prior:
    return Prior(kernel_prior, categorical, np.isin(np.arange(len(categorical)), described))


def kernel_by_hand(
    A: np.ndarray, B: np.ndarray, scales: np.ndarray, kernel_prior: KernelPrior, described: tuple[int, ...] = ()
) -> np.ndarray:
    def of(r: float) -> float:
        u = math.sqrt(5 * r)
        return (1 + u + u**2 / 3) * math.exp(-u) if kernel_prior.is_matern else math.exp(-r / 2)

    K = np.zeros((len(A), len(B)))
    for i, a in enumerate(A):
        for j, b in enumerate(B):
            deltas = [float(p != q) if c else (p - q) ** 2 for p, q, c in zip(a, b, CATEGORICAL, strict=True)]
            scaled = [d / s**2 for d, s in zip(deltas, scales, strict=True)]
            K[i, j] = of(sum(scaled))
            if described:
                K[i, j] = 0.1 * K[i, j] + 0.9 * of(sum(d for k, d in enumerate(scaled) if k not in described))
    return K


@kernel_priors
@descriptions
def test_the_posterior_is_the_textbook_formula(kernel_prior: KernelPrior, described: tuple[int, ...]) -> None:
    X, y = data()
    points, _ = data(seed=1)
    process = GaussianProcess.fit(X, y, prior(kernel_prior, described))
    scales, variance = process.lengthscales, process.variance
    shape = (scales, kernel_prior, described)
    inverse = np.linalg.inv(variance * kernel_by_hand(X, X, *shape) + process.noise * np.eye(len(X)))
    cross = variance * kernel_by_hand(points, X, *shape)
    covariance = variance * kernel_by_hand(points, points, *shape) - cross @ inverse @ cross.T
    np.testing.assert_allclose(process.mean(points), cross @ inverse @ y, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(process.covariance(points), covariance, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(process.deviation(points), np.sqrt(np.diag(covariance)), rtol=1e-6)


@kernel_priors
def test_on_numbers_it_predicts_the_same_as_scikit_learn(kernel_prior: KernelPrior) -> None:
    rng = np.random.default_rng(0)
    X, points = rng.random((30, 2)), rng.random((10, 2))
    y = np.sin(5 * X[:, 0]) + X[:, 1]
    process = GaussianProcess.fit(X, y, prior(kernel_prior, categorical=np.array([False, False])))
    kernel = Matern(process.lengthscales, nu=2.5) if kernel_prior.is_matern else RBF(process.lengthscales)
    theirs = GaussianProcessRegressor(process.variance * kernel, alpha=process.noise, optimizer=None).fit(X, y)
    mean, deviation = theirs.predict(points, return_std=True)
    np.testing.assert_allclose(process.mean(points), mean, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(process.deviation(points), deviation, rtol=1e-5)


@kernel_priors
@descriptions
@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_is_that_of_the_log_posterior(
    seed: int, kernel_prior: KernelPrior, described: tuple[int, ...]
) -> None:
    X, y = data(15, seed)
    assumed = prior(kernel_prior, described)
    others = (assumed.deltas(X), y, assumed)
    at = np.random.default_rng(seed).normal(size=4) - [0, 0, 0, 2]
    _, gradient = module._negative_log_posterior(at, *others)
    numeric = approx_fprime(at, lambda p: module._negative_log_posterior(p, *others)[0], 1e-7)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-5)


@kernel_priors
def test_the_log_posterior_is_the_likelihood_over_all_variances_times_the_priors(kernel_prior: KernelPrior) -> None:
    X, y = data(8)

    def log_density(at: np.ndarray) -> float:
        A = kernel_by_hand(X, X, np.exp(at[:-1]), kernel_prior) + math.exp(at[-1]) * np.eye(len(X))

        def joint(variance: float) -> float:
            return float(multivariate_normal(cov=variance * A).pdf(y) * invgamma(1, scale=1).pdf(variance))

        means = [kernel_prior.number, kernel_prior.number, kernel_prior.category, kernel_prior.noise]
        spreads = [kernel_prior.spread] * 3 + [kernel_prior.noise_spread]
        return math.log(quad(joint, 0, np.inf, epsabs=0, epsrel=1e-9)[0]) + float(norm(means, spreads).logpdf(at).sum())

    first, second = np.array([0.1, -0.4, 0.3, -2.0]), np.array([1.0, 0.2, -0.5, -4.0])
    others = (prior(kernel_prior).deltas(X), y, prior(kernel_prior))
    ours = [module._negative_log_posterior(at, *others)[0] for at in (first, second)]
    assert ours[1] - ours[0] == pytest.approx(log_density(first) - log_density(second), rel=1e-6)


@kernel_priors
def test_no_other_start_finds_a_much_better_optimum(kernel_prior: KernelPrior) -> None:
    X, y = data(40)
    others = (prior(kernel_prior).deltas(X), y, prior(kernel_prior))
    process = GaussianProcess.fit(X, y, prior(kernel_prior))
    found = np.array([*np.log(process.lengthscales), math.log(process.noise / process.variance)])
    value, gradient = module._negative_log_posterior(found, *others)
    assert np.abs(gradient).max() < 0.05
    for seed in range(5):
        start = found + np.random.default_rng(seed).normal(size=4)
        other = minimize(module._negative_log_posterior, start, args=others, jac=True, method="L-BFGS-B")
        assert value < other.fun + 0.01


def test_conditioning_on_the_mean_is_the_same_as_having_data_with_its_values() -> None:
    X, y = data()
    points, _ = data(8, seed=1)
    process = GaussianProcess.fit(X, y, prior(RUGGED))
    seen = process.condition_on_mean(points[:3])
    all_X = np.concatenate([X, points[:3]])
    all_y = np.concatenate([y, process.mean(points[:3])])
    share = process.noise / process.variance
    full = GaussianProcess.of(all_X, all_y, prior(RUGGED), process.lengthscales, share)
    np.testing.assert_allclose(seen.mean(points), full.mean(points), atol=1e-7)
    ratio = math.sqrt(process.variance / full.variance)  # conditioning does not change the variance of the process
    np.testing.assert_allclose(seen.deviation(points), ratio * full.deviation(points))
    assert (seen.deviation(points) < process.deviation(points)).all()


@pytest.mark.parametrize("rows", [[0], [0, 0, 0, 0], [0, 1], [0] * 200])
def test_few_or_repeated_points_can_be_fitted(rows: list[int]) -> None:
    X, y = data()
    process = GaussianProcess.fit(X[rows], y[rows] - y[rows].mean(), prior(RUGGED))
    assert np.isfinite(process.mean(X)).all()
    assert (process.deviation(X) > 0).all()


def test_relevant_coordinates_get_the_shortest_length_scales() -> None:
    rng = np.random.default_rng(0)
    X = rng.random((80, 6))
    X[:, 3:] = np.floor(4 * X[:, 3:]) / 4
    y = np.sin(6 * X[:, 1]) + (X[:, 4] == 0.25) + 0.05 * rng.normal(size=80)
    assumed = prior(RUGGED, categorical=np.array([False] * 3 + [True] * 3))
    scales = GaussianProcess.fit(X, (y - y.mean()) / y.std(), assumed).lengthscales
    assert set(np.argsort(scales)[:2]) == {1, 4}


@kernel_priors
def test_noise_levels_are_weighted_by_the_marginal_likelihood_and_their_prior(kernel_prior: KernelPrior) -> None:
    """By hand: y is Student's t over all variances, with 2 degrees of freedom and the scale matrix K + v I."""
    X, y = data(n=8)
    fitted = GaussianProcess.fit(X, y, prior(kernel_prior))
    K = kernel_by_hand(X, X, fitted.lengthscales, kernel_prior)
    logs = []
    for level in module.NOISE_LEVELS:
        likelihood = multivariate_t(shape=K + math.exp(level) * np.eye(8), df=2).logpdf(y)
        logs.append(likelihood + norm(kernel_prior.noise, kernel_prior.noise_spread).logpdf(level))
    expected = np.exp(logs) / np.exp(logs).sum()
    assert [probability for probability, _ in fitted.noise_levels] == pytest.approx(expected.tolist(), abs=1e-8)
    again = GaussianProcess.of(X, y, prior(kernel_prior), fitted.lengthscales, math.exp(module.NOISE_LEVELS[3]))
    points, _ = data(seed=1)
    assert fitted.noise_levels[3][1].mean(points) == pytest.approx(again.mean(points))
    assert fitted.noise_levels[3][1].noise == pytest.approx(again.noise)
