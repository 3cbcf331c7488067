import math

import optuna
import pytest
import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import create_trial

from autokd.optimizers.models.posterior import _samples, posterior
from autokd.optimizers.models.surrogate import Surrogate

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1)}


def study_of(values, direction):
    study = optuna.create_study(direction=direction)
    for x, value in values:
        study.add_trial(create_trial(value=value, params={"x": x}, distributions=SPACE))
    return study


def test_the_posterior_has_the_unit_and_direction_of_the_values() -> None:
    values = [(0.1, 3.0), (0.5, 1.0), (0.9, 2.0)]
    smaller = posterior(study_of(values, "minimize"), SPACE, [0, 1, 2], 500, seed=0)
    larger = posterior(study_of([(x, -v) for x, v in values], "maximize"), SPACE, [0, 1, 2], 500, seed=0)
    assert smaller.mean == pytest.approx(tuple(-m for m in larger.mean))
    assert smaller.deviation == larger.deviation
    assert smaller.probability_best == larger.probability_best
    assert sum(smaller.probability_best) == pytest.approx(1)
    assert max(range(3), key=smaller.probability_best.__getitem__) == 1


def test_samples_have_the_given_moments_and_are_equal_at_equal_points() -> None:
    mean = torch.tensor([1.0, 1.0, -2.0], dtype=torch.float64)
    covariance = torch.tensor([[1.0, 1.0, 0.5], [1.0, 1.0, 0.5], [0.5, 0.5, 2.0]], dtype=torch.float64)
    samples = _samples(mean, covariance, 20_000, seed=0)
    torch.testing.assert_close(samples[:, 0], samples[:, 1], rtol=0, atol=1e-6)
    torch.testing.assert_close(samples.mean(0), mean, rtol=0, atol=0.05)
    torch.testing.assert_close(samples.T.cov(), covariance, rtol=0, atol=0.05)


class Given:
    """Stub of a model with a known joint normal posterior."""

    def __init__(self, mean, covariance):
        self.mean = torch.tensor(mean, dtype=torch.float64)
        self.covariance = torch.tensor(covariance, dtype=torch.float64)

    def value(self, scores):
        return scores

    def joint(self, points):
        assert len(points) == len(self.mean)
        return self.mean, self.covariance


def posterior_of(given, monkeypatch, direction="maximize", seed=0):
    monkeypatch.setattr(Surrogate, "fit", lambda *args: given)
    points = [(0.1 + 0.2 * k, float(k)) for k in range(len(given.mean))]
    return posterior(study_of(points, direction), SPACE, list(range(len(points))), 40_000, seed)


@pytest.mark.parametrize(
    ("mean", "covariance"),
    [
        ([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]]),
        ([0.5, 0.0], [[1.0, 0.0], [0.0, 1.0]]),
        ([0.5, 0.0], [[1.0, 0.9], [0.9, 1.0]]),
        ([-1.0, 0.3], [[4.0, -0.5], [-0.5, 0.25]]),
    ],
)
def test_the_probability_of_two_points_is_that_of_their_difference(mean, covariance, monkeypatch) -> None:
    estimates = posterior_of(Given(mean, covariance), monkeypatch)
    spread = math.sqrt(covariance[0][0] + covariance[1][1] - 2 * covariance[0][1])
    expected = (1 + math.erf((mean[0] - mean[1]) / spread / math.sqrt(2))) / 2
    assert estimates.probability_best[0] == pytest.approx(expected, abs=0.01)  # four standard errors
    assert sum(estimates.probability_best) == pytest.approx(1)
    assert estimates.mean == tuple(mean)
    assert estimates.deviation == pytest.approx((covariance[0][0] ** 0.5, covariance[1][1] ** 0.5))


def test_equal_independent_points_have_equal_probabilities(monkeypatch) -> None:
    estimates = posterior_of(Given([0.0] * 5, torch.eye(5).tolist()), monkeypatch)
    assert estimates.probability_best == pytest.approx([0.2] * 5, abs=0.01)


def test_the_same_trials_and_seed_give_the_same_posterior(monkeypatch) -> None:
    given = Given([0.1, 0.0], [[1.0, 0.2], [0.2, 1.0]])
    first, again, other = (posterior_of(given, monkeypatch, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.probability_best != other.probability_best


def test_a_single_point_is_certainly_the_best() -> None:
    estimates = posterior(study_of([(0.2, 0.5), (0.8, 0.6)], "maximize"), SPACE, [1], 100, seed=0)
    assert estimates.probability_best == (1.0,)


def test_features_reduce_the_uncertainty_where_little_was_observed() -> None:
    """The value is the distance to the nearer end, which is the feature."""
    values = [(x, float(min(x, 1 - x))) for x in (0.0, 0.1, 0.2, 0.3, 0.4, 0.95)]
    informed = posterior(
        study_of(values, "maximize"),
        SPACE,
        range(6),
        10,
        seed=0,
        features=lambda params: [min(params["x"], 1 - params["x"])],
    )
    blind = posterior(study_of(values, "maximize"), SPACE, range(6), 10, seed=0)
    assert informed.deviation[5] < 0.7 * blind.deviation[5]
