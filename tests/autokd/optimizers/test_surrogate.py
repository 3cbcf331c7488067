import logging
import math
from statistics import NormalDist

import pytest
import torch

from autokd.optimizers import surrogate as module
from autokd.optimizers.coordinates import MISSING
from autokd.optimizers.surrogate import MixedKernel, Surrogate

CATEGORIES = (0, 0, 3)


def data(n=12, categories=CATEGORIES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    X = torch.rand(n, len(categories), dtype=torch.float64, generator=generator)
    for j, count in enumerate(categories):
        if count:
            X[:, j] = (X[:, j] * count).floor() / count
    y = -(X[:, 0] - 0.3).square() - 0.5 * X[:, 1] + 0.3 * (X[:, -1] == 1 / 3)
    return X, y + 0.01 * torch.randn(n, dtype=torch.float64, generator=generator)


def kernel_by_hand(A, B, scales, categories):
    K = torch.zeros(len(A), len(B), dtype=torch.float64)
    for i, a in enumerate(A.tolist()):
        for k, b in enumerate(B.tolist()):
            deltas = [float(p != q) if n else p - q for p, q, n in zip(a, b, categories, strict=True)]
            K[i, k] = math.exp(-0.5 * sum((d / s) ** 2 for d, s in zip(deltas, scales.tolist(), strict=True)))
    return K


def posterior_by_hand(surrogate, X, y, points, categories):
    """Mean and standard deviation of the latent function by the textbook formula."""
    mean, sd = y.mean(), y.std()
    scales = surrogate.model.covar_module.lengthscale.detach().reshape(-1)
    variance = surrogate.model.likelihood.noise.item()
    inverse = torch.linalg.inv(kernel_by_hand(X, X, scales, categories) + variance * torch.eye(len(X)))
    cross = kernel_by_hand(points, X, scales, categories)
    constant = surrogate.model.mean_module.constant.item()
    latent = constant + cross @ inverse @ ((y - mean) / sd - constant)
    spread = (1 - (cross @ inverse * cross).sum(dim=1)).sqrt()
    return mean + sd * latent, sd * spread


def test_posterior_mean_is_the_textbook_formula():
    X, y = data()
    surrogate = Surrogate.fit(X, y, CATEGORIES, has_steps=False, seed=0)
    points, _ = data(seed=1)
    mean, _ = posterior_by_hand(surrogate, X, y, points, CATEGORIES)
    torch.testing.assert_close(surrogate.mean(points), mean, rtol=1e-6, atol=1e-8)


def test_log_expected_improvement_is_the_textbook_formula():
    X, y = data()
    surrogate = Surrogate.fit(X, y, CATEGORIES, has_steps=False, seed=0)
    points, _ = data(seed=1)
    mean, sd = posterior_by_hand(surrogate, X, y, points, CATEGORIES)
    normal, best = NormalDist(), float(mean.min())  # far below it the textbook formula cancels
    for score, m, s in zip(surrogate.log_expected_improvement(points, best), mean.tolist(), sd.tolist(), strict=True):
        z = (m - best) / s
        assert float(score) == pytest.approx(math.log(s * (z * normal.cdf(z) + normal.pdf(z))), rel=1e-4, abs=1e-4)


def test_pending_points_leave_the_mean_and_shrink_the_spread_as_data_would():
    X, y = data()
    surrogate = Surrogate.fit(X, y, CATEGORIES, has_steps=False, seed=0)
    points, _ = data(n=8, seed=1)
    pending = points[:3]
    believer = surrogate.believe(pending)
    torch.testing.assert_close(believer.mean(points), surrogate.mean(points), rtol=1e-6, atol=1e-7)
    scales = surrogate.lengthscales
    all_X = torch.cat([X, pending])
    noisy = kernel_by_hand(all_X, all_X, scales, CATEGORIES) + surrogate.model.likelihood.noise.item() * torch.eye(15)
    cross = kernel_by_hand(points, all_X, scales, CATEGORIES)
    variance = y.std() ** 2 * (1 - (cross @ torch.linalg.inv(noisy) * cross).sum(dim=1))
    with torch.no_grad():
        torch.testing.assert_close(
            believer.model.posterior(points).variance.squeeze(-1), variance, rtol=1e-5, atol=1e-9
        )


def test_without_categories_it_is_botorchs_default_model():
    X, y = data(categories=(0, 0, 0))
    ours = Surrogate.fit(X, y, (0, 0, 0), has_steps=False, seed=0)
    theirs = module.SingleTaskGP(X, y.unsqueeze(-1))
    assert ours.model.covar_module.lengthscale_prior.loc == theirs.covar_module.lengthscale_prior.loc
    assert ours.model.covar_module.lengthscale_prior.scale == theirs.covar_module.lengthscale_prior.scale
    module._maximise(theirs, seed=0)
    torch.testing.assert_close(ours.lengthscales, theirs.covar_module.lengthscale.detach()[0], rtol=1e-4, atol=1e-6)


def test_kernel_of_a_missing_category_differs_from_each_choice_alike():
    kernel = MixedKernel((3,)).double()
    codes = torch.tensor([[0.0], [1 / 3], [2 / 3], [MISSING]], dtype=torch.float64)
    K = kernel(codes, codes).to_dense()
    off = math.exp(-0.5 / kernel.lengthscale.item() ** 2)
    torch.testing.assert_close(K, torch.full((4, 4), off).double().fill_diagonal_(1.0))


def test_fit_is_deterministic_and_leaves_the_global_generator_alone():
    X, y = data()
    before = torch.random.get_rng_state()
    first, second = (Surrogate.fit(X, y, CATEGORIES, has_steps=False, seed=0) for _ in range(2))
    assert torch.equal(first.lengthscales, second.lengthscales)
    assert torch.equal(before, torch.random.get_rng_state())


def test_predictions_are_for_the_last_step():
    X = torch.linspace(0, 1, 20, dtype=torch.float64).unsqueeze(1)
    step = (torch.arange(20, dtype=torch.float64) % 2).unsqueeze(1)
    y = torch.where(step == 1, X + 5, -X).squeeze(1)
    surrogate = Surrogate.fit(torch.cat([X, step], dim=1), y, (0,), has_steps=True, seed=0)
    points = torch.tensor([[0.2], [0.8]], dtype=torch.float64)
    torch.testing.assert_close(surrogate.mean(points), torch.tensor([5.2, 5.8], dtype=torch.float64), rtol=0, atol=0.2)
    assert len(surrogate.lengthscales) == 1


@pytest.mark.parametrize("rows", [[0], [0, 0, 0, 0], [0, 1]])
def test_few_or_equal_observations_are_no_trouble(rows):
    X, y = data()
    surrogate = Surrogate.fit(X[rows], y[rows], CATEGORIES, has_steps=False, seed=0)
    assert torch.isfinite(surrogate.log_expected_improvement(X, float(y.max()))).all()


def test_a_failed_fit_falls_back_to_the_priors_modes_and_says_so(monkeypatch, caplog):
    def fail(*args, **kwargs):
        raise module.ModelFittingError("no step was found")

    monkeypatch.setattr(module, "fit_gpytorch_mll", fail)
    X, y = data()
    with caplog.at_level(logging.WARNING, logger=module.__name__):
        surrogate = Surrogate.fit(X, y, CATEGORIES, has_steps=False, seed=0)
    prior = surrogate.model.covar_module.lengthscale_prior
    torch.testing.assert_close(surrogate.lengthscales, prior.mode.double().expand(3))
    assert "no step was found" in caplog.text


def test_noise_is_in_the_objectives_unit():
    generator = torch.Generator().manual_seed(0)
    X = torch.rand(80, 1, dtype=torch.float64, generator=generator)
    y = 100 * X[:, 0] + 5 * torch.randn(80, dtype=torch.float64, generator=generator)
    assert Surrogate.fit(X, y, (0,), has_steps=False, seed=0).noise == pytest.approx(5, rel=0.3)
