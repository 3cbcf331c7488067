import math

import numpy as np
import pytest
from intervals import between_share, brier, estimate, sign_test
from scipy import stats


def test_the_interval_is_that_of_scipys_t_test() -> None:
    values = [0.3, -0.1, 0.4, 0.2, 0.25]
    found = estimate(values)
    assert found is not None
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    assert (found.mean, found.deviation) == pytest.approx((np.mean(values), np.std(values, ddof=1)))


def test_one_value_has_no_interval_and_none_no_estimate() -> None:
    found = estimate([1.0])
    assert found is not None
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert estimate([]) is None


@pytest.mark.parametrize(("signs", "p"), [("+++++", 2 / 2**5), ("++++-", 2 * 6 / 2**5), ("+0-", 1.0), ("00", 1.0)])
def test_the_sign_test_sums_the_binomial_tails(signs: str, p: float) -> None:
    assert sign_test([{"+": 0.5, "-": -2.0, "0": 0.0}[sign] for sign in signs]) == pytest.approx(p)


def test_the_share_between_groups_follows_from_the_f_statistic() -> None:
    groups = np.random.default_rng(0).normal(size=(8, 4)) + np.arange(8)[:, np.newaxis] / 2
    f = stats.f_oneway(*groups).statistic
    assert between_share(groups.tolist()) == pytest.approx((f - 1) / (f - 1 + 4))


def test_the_share_between_unequal_groups_has_the_size_of_the_analysis_of_variance() -> None:
    rng = np.random.default_rng(0)
    groups = [(rng.normal(size=size) + 2 * step).tolist() for step, size in enumerate((2, 3, 5))]
    f = stats.f_oneway(*groups).statistic
    size = (10 - (4 + 9 + 25) / 10) / 2
    assert between_share(groups) == pytest.approx((f - 1) / (f - 1 + size))
    assert between_share([[1.0], [1.0, 3.0, 2.0]]) == 0


def test_groups_that_differ_less_than_their_members_share_nothing() -> None:
    assert between_share([[1.0, 3.0], [3.0, 1.0]]) == 0
    assert between_share([[1.0, 1.0], [1.0, 1.0]]) == 0


def test_the_brier_score_of_equal_chances_of_five_is_16_hundredths() -> None:
    assert brier([0.1] * 5, 3) == pytest.approx((4 * 0.2**2 + 0.8**2) / 5)
    assert brier([0.0] * 5, 3) == pytest.approx(0.16)
    assert brier([0.0, 2.0], 1) == 0
