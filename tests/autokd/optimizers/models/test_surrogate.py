import pytest
import torch

from autokd.optimizers.models.surrogate import PLAIN, RANKS, TAILS, Surrogate
from autokd.optimizers.space.features import Description

CATEGORIES = (0, 0, 3)


def data(n=12, categories=CATEGORIES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    X = torch.rand(n, len(categories), dtype=torch.float64, generator=generator)
    for j, count in enumerate(categories):
        if count:
            X[:, j] = (X[:, j] * count).floor() / count
    y = -(X[:, 0] - 0.3).square() - 0.5 * X[:, 1] + 0.3 * (X[:, -1] == 1 / 3)
    return X, y + 0.01 * torch.randn(n, dtype=torch.float64, generator=generator)


def fit(X, y, categories=CATEGORIES, has_steps=False, config=RANKS):
    return Surrogate.fit(X, y, categories, has_steps, config)


@pytest.mark.parametrize("config", [RANKS, TAILS, PLAIN])
def test_the_objectives_unit_does_not_matter(config) -> None:
    X, y = data()
    points, _ = data(seed=1)
    first, second = fit(X, y, config=config), fit(X, 100 + 7 * y, config=config)
    torch.testing.assert_close(first.mean(points), second.mean(points))
    torch.testing.assert_close(100 + 7 * first.value(first.mean(points)), second.value(second.mean(points)))


def test_estimates_are_the_diagonal_of_the_joint_posterior() -> None:
    X, y = data()
    points, _ = data(n=5000, seed=1)
    surrogate = fit(X, y)
    mean, deviation = surrogate.estimates(points)
    some = [0, 4095, 4096, 4999]
    joint_mean, covariance = surrogate.joint(points[some])
    torch.testing.assert_close(mean[some], joint_mean)
    torch.testing.assert_close(deviation[some].square(), covariance.diagonal())


def test_the_knowledge_gradient_is_the_mean_increase_of_the_best_mean() -> None:
    """Compared with Monte Carlo over the mean of a point after one more observation."""
    X, y = data(6)
    surrogate = fit(X, y + 0.2 * torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    mean, deviation = surrogate.estimates(X)
    gradients = surrogate.log_knowledge_gradient(X).exp()
    draws = torch.randn(400_000, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for point in range(6):
        change = deviation[point] ** 2 / (deviation[point] ** 2 + surrogate.noise**2).sqrt()
        others = torch.cat([mean[:point], mean[point + 1 :]]).max()
        gain = (mean[point] + change * draws).clamp_min(others).mean() - mean.max()
        assert float(gradients[point]) == pytest.approx(float(gain), abs=4e-3 * float(change))


def test_pending_points_keep_the_mean_and_reduce_the_deviation() -> None:
    X, y = data()
    surrogate = fit(X, y)
    points, _ = data(n=8, seed=1)
    conditioned = surrogate.condition_on_pending(points[:3])
    assert torch.equal(conditioned.mean(points), surrogate.mean(points))
    assert (conditioned.joint(points)[1].diagonal() < surrogate.joint(points)[1].diagonal()).all()
    assert surrogate.condition_on_pending(points[:0]) is surrogate


def test_predictions_are_for_the_last_step() -> None:
    X = torch.linspace(0, 1, 20, dtype=torch.float64).unsqueeze(1)
    step = (torch.arange(20, dtype=torch.float64) % 2).unsqueeze(1)
    y = torch.where(step == 1, X + 5, -X).squeeze(1)
    surrogate = fit(torch.cat([X, step], dim=1), y, (0,), has_steps=True, config=PLAIN)
    points = torch.tensor([[0.2], [0.8]], dtype=torch.float64)
    torch.testing.assert_close(
        surrogate.value(surrogate.mean(points)), torch.tensor([5.2, 5.8], dtype=torch.float64), rtol=0, atol=0.2
    )
    assert len(surrogate.lengthscales) == 1


@pytest.mark.parametrize("rows", [[0], [0, 0, 0, 0], [0, 1]])
def test_few_or_equal_observations_can_be_fitted(rows) -> None:
    X, y = data()
    surrogate = fit(X[rows], y[rows])
    assert torch.isfinite(surrogate.log_expected_improvement(X, float(y.max()))).all()


def test_noise_is_estimated() -> None:
    generator = torch.Generator().manual_seed(0)
    X = torch.rand(80, 1, dtype=torch.float64, generator=generator)
    y = 100 * X[:, 0] + 5 * torch.randn(80, dtype=torch.float64, generator=generator)
    assert fit(X, y, (0,), config=PLAIN).noise * float(y.std(correction=0)) == pytest.approx(5, rel=0.3)


def test_points_of_equal_features_are_predicted_nearly_equal() -> None:
    """The value is a function of the sum of five categories' numbers, which is the feature."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randint(0, 4, (140, 5), generator=generator).double()
    points, X = X[:100], X[100:]
    truth, y = (torch.sin(codes.sum(dim=1)) for codes in (points, X))
    sums = Description(lambda codes: codes.sum(dim=1, keepdim=True).numpy(), frozenset(range(5)))
    plain = Surrogate.fit(X, y, (4,) * 5, False, PLAIN)
    informed = Surrogate.fit(X, y, (4,) * 5, False, PLAIN, sums)
    errors = [(model.value(model.mean(points)) - truth).square().mean() / truth.var() for model in (plain, informed)]
    assert errors[0] > 0.5
    assert errors[1] < 0.1


def test_features_and_steps_can_be_combined() -> None:
    X, y = data()
    stepped = torch.cat([X, (torch.arange(len(X), dtype=torch.float64) % 2).unsqueeze(1)], dim=1)
    description = Description(lambda codes: codes[:, :2].numpy(), frozenset({0, 2}))
    surrogate = Surrogate.fit(stepped, y, CATEGORIES, True, RANKS, description)
    assert surrogate.process.prior.described.tolist() == [False, False, True, False, True, False]
    assert surrogate.process.X.shape == (len(X), 2 + 3 + 1)
    assert len(surrogate.lengthscales) == 3
    assert torch.isfinite(surrogate.condition_on_pending(X[:2]).estimates(X)[1]).all()


@pytest.mark.parametrize("config", [RANKS, TAILS])
def test_the_model_of_other_observations_keeps_the_length_scales_and_the_share_of_noise(config) -> None:
    (X, y), points = data(), data(seed=1)[0]
    fitted = fit(X, y, config=config)
    torch.testing.assert_close(fitted.of_others(X, y, config).estimates(points), fitted.estimates(points))
    others = fitted.of_others(*data(n=30, seed=2), config)
    assert others.process.noise / others.process.variance == pytest.approx(
        fitted.process.noise / fitted.process.variance
    )
    torch.testing.assert_close(others.lengthscales, fitted.lengthscales)
    assert not torch.allclose(others.mean(points), fitted.mean(points))
