import math
from statistics import NormalDist

import numpy as np
import pytest
import torch

from autokd.optimizers.surrogate import Surrogate, log_expected_improvement

CATEGORIES = (0, 0, 3)


def data(n=12, categories=CATEGORIES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    X = torch.rand(n, len(categories), dtype=torch.float64, generator=generator)
    for j, count in enumerate(categories):
        if count:
            X[:, j] = (X[:, j] * count).floor() / count
    y = -(X[:, 0] - 0.3).square() - 0.5 * X[:, 1] + 0.3 * (X[:, -1] == 1 / 3)
    return X, y + 0.01 * torch.randn(n, dtype=torch.float64, generator=generator)


def test_beliefs_are_the_processes_in_the_objectives_unit():
    X, y = data()
    points, _ = data(seed=1)
    surrogate = Surrogate.fit(X, 100 + 7 * y, CATEGORIES, has_steps=False)
    plain = Surrogate.fit(X, y, CATEGORIES, has_steps=False)
    mean, covariance = surrogate.joint(points)
    torch.testing.assert_close(mean, 100 + 7 * plain.mean(points))
    torch.testing.assert_close(covariance, 49 * plain.joint(points)[1])
    assert surrogate.noise == pytest.approx(7 * plain.noise)


def test_log_expected_improvement_is_the_textbook_formula():
    normal = NormalDist()
    for mean, deviation, best in [(1.0, 0.5, 0.2), (0.0, 1.0, 3.0), (-2.0, 0.1, -1.9), (5.0, 2.0, 5.0)]:
        z = (mean - best) / deviation
        expected = math.log(deviation * (z * normal.cdf(z) + normal.pdf(z)))
        (score,) = log_expected_improvement(np.array([mean]), np.array([deviation]), best)
        assert score == pytest.approx(expected, rel=1e-9)


def test_log_expected_improvement_is_right_where_the_formula_cancels():
    """For z far below 0 it is log phi(z) - 2 log |z| and less by 3 / z^2, the tail's asymptotic series."""
    for z in (-20.0, -100.0, -1e4, -1e5, -1.1e5, -1e8):
        (score,) = log_expected_improvement(np.array([z]), np.array([1.0]), 0.0)
        series = -z * z / 2 - math.log(2 * math.pi) / 2 - 2 * math.log(-z) + math.log1p(-3 / z**2 + 15 / z**4)
        assert score == pytest.approx(series, rel=1e-6)


def test_log_expected_improvement_has_no_jump_where_the_forms_meet():
    for z in (-1.0, -1e5):
        below, above = log_expected_improvement(np.array([z * (1 + 1e-9), z * (1 - 1e-9)]), np.ones(2), 0.0)
        assert above == pytest.approx(below, rel=1e-6)
        assert above > below


def test_scores_of_many_points_are_those_of_each():
    X, y = data()
    surrogate = Surrogate.fit(X, y, CATEGORIES, has_steps=False)
    points, _ = data(n=5000, seed=1)
    scores = surrogate.log_expected_improvement(points, float(y.max()))
    some = [0, 4095, 4096, 4999]
    torch.testing.assert_close(scores[some], surrogate.log_expected_improvement(points[some], float(y.max())))


def test_pending_points_leave_the_mean_and_shrink_the_spread():
    X, y = data()
    surrogate = Surrogate.fit(X, y, CATEGORIES, has_steps=False)
    points, _ = data(n=8, seed=1)
    believer = surrogate.believe(points[:3])
    assert torch.equal(believer.mean(points), surrogate.mean(points))
    assert (believer.joint(points)[1].diagonal() < surrogate.joint(points)[1].diagonal()).all()
    assert surrogate.believe(points[:0]) is surrogate


def test_predictions_are_for_the_last_step():
    X = torch.linspace(0, 1, 20, dtype=torch.float64).unsqueeze(1)
    step = (torch.arange(20, dtype=torch.float64) % 2).unsqueeze(1)
    y = torch.where(step == 1, X + 5, -X).squeeze(1)
    surrogate = Surrogate.fit(torch.cat([X, step], dim=1), y, (0,), has_steps=True)
    points = torch.tensor([[0.2], [0.8]], dtype=torch.float64)
    torch.testing.assert_close(surrogate.mean(points), torch.tensor([5.2, 5.8], dtype=torch.float64), rtol=0, atol=0.2)
    assert len(surrogate.lengthscales) == 1


@pytest.mark.parametrize("rows", [[0], [0, 0, 0, 0], [0, 1]])
def test_few_or_equal_observations_are_no_trouble(rows):
    X, y = data()
    surrogate = Surrogate.fit(X[rows], y[rows], CATEGORIES, has_steps=False)
    assert torch.isfinite(surrogate.log_expected_improvement(X, float(y.max()))).all()


def test_noise_is_in_the_objectives_unit():
    generator = torch.Generator().manual_seed(0)
    X = torch.rand(80, 1, dtype=torch.float64, generator=generator)
    y = 100 * X[:, 0] + 5 * torch.randn(80, dtype=torch.float64, generator=generator)
    assert Surrogate.fit(X, y, (0,), has_steps=False).noise == pytest.approx(5, rel=0.3)
