import math
from statistics import NormalDist

import numpy as np
import pytest

from autokd.optimizers.expected_improvement import log_expected_improvement


def test_log_expected_improvement_is_the_textbook_formula() -> None:
    normal = NormalDist()
    for mean, deviation, best in [(1.0, 0.5, 0.2), (0.0, 1.0, 3.0), (-2.0, 0.1, -1.9), (5.0, 2.0, 5.0)]:
        z = (mean - best) / deviation
        expected = math.log(deviation * (z * normal.cdf(z) + normal.pdf(z)))
        (score,) = log_expected_improvement(np.array([mean]), np.array([deviation]), best)
        assert score == pytest.approx(expected, rel=1e-9)


def test_log_expected_improvement_is_right_where_the_formula_cancels() -> None:
    """Asymptotic series for z far below 0: log phi(z) - 2 log |z| + log(1 - 3 / z^2 + 15 / z^4)."""
    for z in (-20.0, -100.0, -1e4, -1e5, -1.1e5, -1e8):
        (score,) = log_expected_improvement(np.array([z]), np.array([1.0]), 0.0)
        series = -z * z / 2 - math.log(2 * math.pi) / 2 - 2 * math.log(-z) + math.log1p(-3 / z**2 + 15 / z**4)
        assert score == pytest.approx(series, rel=1e-6)


def test_log_expected_improvement_is_continuous_where_the_formulas_meet() -> None:
    for z in (-1.0, -1e5):
        below, above = log_expected_improvement(np.array([z * (1 + 1e-9), z * (1 - 1e-9)]), np.ones(2), 0.0)
        assert above == pytest.approx(below, rel=1e-6)
        assert above > below
