import optuna
import pytest
import torch
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from autokd.optimizers.posterior import _samples, posterior

SPACE = {"x": FloatDistribution(0, 1)}


def study_of(values, direction):
    study = optuna.create_study(direction=direction)
    for x, value in values:
        study.add_trial(create_trial(value=value, params={"x": x}, distributions=SPACE))
    return study


def test_beliefs_follow_the_values_in_their_own_unit_and_direction():
    values = [(0.1, 3.0), (0.5, 1.0), (0.9, 2.0)]
    smaller = posterior(study_of(values, "minimize"), SPACE, [0, 1, 2], 500, seed=0)
    larger = posterior(study_of([(x, -v) for x, v in values], "maximize"), SPACE, [0, 1, 2], 500, seed=0)
    assert smaller.mean == pytest.approx(tuple(-m for m in larger.mean))
    assert smaller.deviation == larger.deviation
    assert smaller.probability_best == larger.probability_best
    assert sum(smaller.probability_best) == pytest.approx(1)
    assert max(range(3), key=smaller.probability_best.__getitem__) == 1


def test_samples_have_the_given_moments_and_are_equal_at_equal_points():
    mean = torch.tensor([1.0, 1.0, -2.0], dtype=torch.float64)
    covariance = torch.tensor([[1.0, 1.0, 0.5], [1.0, 1.0, 0.5], [0.5, 0.5, 2.0]], dtype=torch.float64)
    samples = _samples(mean, covariance, 20_000, seed=0)
    torch.testing.assert_close(samples[:, 0], samples[:, 1], rtol=0, atol=1e-6)
    torch.testing.assert_close(samples.mean(0), mean, rtol=0, atol=0.05)
    torch.testing.assert_close(samples.T.cov(), covariance, rtol=0, atol=0.05)
