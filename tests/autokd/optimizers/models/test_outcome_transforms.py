import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from autokd.optimizers.models.outcome_transforms import OutcomeTransform, compressed, ranked, standardised

SCALES = (standardised, ranked, compressed)
values = st.lists(st.integers(-50, 50), min_size=1, max_size=30).map(lambda rows: np.array(rows, dtype=np.float64))


@given(values, st.sampled_from(SCALES))
def test_scores_keep_the_order_and_the_ties(y, scale) -> None:
    scores = scale(y)
    assert np.isfinite(scores).all()
    for i in range(len(y)):
        assert ((scores > scores[i]) == (y > y[i])).all()


@given(values, st.sampled_from(SCALES))
def test_scores_have_mean_0_and_deviation_1_unless_all_are_equal(y, scale) -> None:
    scores = scale(y)
    assert scores.mean() == pytest.approx(0, abs=1e-9)
    assert scores.std() == pytest.approx(1.0 if len(set(y.tolist())) > 1 else 0.0, abs=1e-9)


def test_ranks_are_normal_quantiles_whatever_the_values() -> None:
    expected = norm.ppf([0.1, 0.3, 0.5, 0.7, 0.9])
    np.testing.assert_allclose(ranked(np.array([-1e9, 0.0, 1e-9, 3.0, 1e300])), expected / expected.std(), atol=1e-9)


def test_the_lower_tail_is_compressed_and_the_upper_half_is_not() -> None:
    scores = compressed(np.array([-1e6, -10.0, 0.0, 1.0, 2.0]))  # median 0, mean above it 1.5
    gaps = np.diff(scores)
    assert gaps[3] == pytest.approx(gaps[2])
    assert (scores[2] - scores[1]) / gaps[2] == pytest.approx(1.5 * np.log1p(10 / 1.5))
    assert (scores[2] - scores[0]) / gaps[2] == pytest.approx(1.5 * np.log1p(1e6 / 1.5))


@given(values, st.sampled_from(SCALES), st.floats(-3, 3))
def test_values_and_scores_are_inverse_to_each_other(y, scale, score) -> None:
    transform = OutcomeTransform.of(y, scale)
    np.testing.assert_allclose(transform.value(transform.transformed), y, atol=1e-9)
    np.testing.assert_allclose(transform.score(y), transform.transformed, atol=1e-9)
    at = np.array([score])
    np.testing.assert_allclose(transform.score(transform.value(at)), at, atol=1e-6)


def test_values_are_extrapolated_with_the_mean_slope() -> None:
    transform = OutcomeTransform.of(np.array([0.0, 1.0, 4.0]), standardised)
    low, high = transform.scores[0], transform.scores[-1]
    assert transform.value(np.array([high + 0.5]))[0] == pytest.approx(4 + 0.5 * 4 / (high - low))
    assert transform.value(np.array([low - 0.5]))[0] == pytest.approx(-0.5 * 4 / (high - low))


def test_one_bad_value_does_not_tell_what_the_best_may_gain() -> None:
    good = np.linspace(92.0, 93.9, 10)
    alone, beside = (OutcomeTransform.of(np.array([*bad, *good]), compressed) for bad in ([], [10.0]))
    gains = [each.value(each.scores[-1:] + 1 / each.slope)[0] - 93.9 for each in (alone, beside)]
    assert gains == pytest.approx([1.0 / alone.slope**2, 1.0 / beside.slope**2])
    assert beside.value(beside.scores[-1:] + 1)[0] - 93.9 < 3 * (alone.value(alone.scores[-1:] + 1)[0] - 93.9)


def test_the_slope_is_that_of_the_better_half() -> None:
    transform = OutcomeTransform.of(np.array([-1e6, -10.0, 0.0, 1.0, 2.0]), compressed)
    assert transform.slope == pytest.approx((transform.scores[-1] - transform.scores[2]) / 2)
    assert OutcomeTransform.of(np.array([3.0, 3.0]), compressed).slope == 1
    assert OutcomeTransform.of(np.array([1.0, 5.0]), standardised).slope == pytest.approx(0.5)


@given(st.floats(-1e100, 1e100), st.integers(1, 30), st.sampled_from(SCALES))
def test_scores_of_equal_values_are_0_however_their_mean_is_rounded(value, n, scale) -> None:
    assert not scale(np.full(n, value)).any()
    assert not standardised(np.full(12, -0.1)).any()
