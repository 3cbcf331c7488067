from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autokd.optimizers.errors import OptimizerError
from autokd.optimizers.trust_region import WHOLE, Outcome, Rules, TrustRegion, fold, update

RULES = Rules(n_startup=2, failure_tolerance=4, initial_length=0.8)
START = datetime(2026, 1, 1)


def outcomes(values, first=0):
    """Sequential trials, each a minute long."""
    times = [START + timedelta(minutes=first + i) for i in range(len(values) + 1)]
    return [Outcome(value, value is not None, times[i], times[i + 1]) for i, value in enumerate(values)]


def opened(best=1.0):
    return fold(outcomes([best, 0.0]), RULES)


@given(st.lists(st.one_of(st.none(), st.floats(-10, 10)), max_size=60))
def test_fold_is_update_step_by_step(values) -> None:
    region = TrustRegion(RULES.initial_length)
    for k, outcome in enumerate(outcomes(values)):
        assert region == fold(outcomes(values)[:k], RULES)
        region = update(region, outcome, RULES)


@given(st.lists(st.one_of(st.none(), st.floats(-10, 10)), max_size=200))
def test_length_stays_between_the_bounds(values) -> None:
    region = fold(outcomes(values), RULES)
    assert RULES.min_length <= region.length <= RULES.max_length
    assert region.successes < RULES.success_tolerance
    assert region.failures < RULES.failure_tolerance


def test_startup_counts_observed_trials_only() -> None:
    region = fold(outcomes([None, 3.0, None, 1.0]), RULES)
    assert region.is_open(RULES)
    assert (region.n_observed, region.best, region.failures) == (2, 3.0, 0)
    assert region.opened == START + timedelta(minutes=4)


def test_three_successes_in_a_row_double_the_length() -> None:
    values = [1.0, 0.0, 2.0, 3.0]
    assert fold(outcomes(values), RULES).length == 0.8
    assert fold(outcomes([*values, 4.0]), RULES).length == 1.6
    assert fold(outcomes([*values, 4.0, 5.0, 6.0, 7.0]), RULES).length == 2.0  # the longest


def test_failure_tolerance_failures_halve_the_length() -> None:
    values = [1.0, 0.0, 0.5, None, 0.5]
    assert fold(outcomes(values), RULES).length == 0.8
    assert fold(outcomes([*values, 0.5]), RULES) == replace(
        opened(), length=0.4, failures=0, opened=START + timedelta(minutes=2)
    )


def test_a_success_resets_the_failures_and_a_failure_the_successes() -> None:
    region = fold(outcomes([1.0, 0.0, 0.5, 0.5, 2.0]), RULES)
    assert (region.successes, region.failures) == (1, 0)
    region = fold(outcomes([1.0, 0.0, 2.0, 0.5]), RULES)
    assert (region.successes, region.failures) == (0, 1)


def test_an_improvement_within_the_margin_is_a_failure_but_becomes_the_best() -> None:
    region = fold(outcomes([100.0, 0.0, 100.05]), RULES)
    assert (region.failures, region.best) == (1, 100.05)
    noisy = replace(RULES, noise=2.0)
    assert fold(outcomes([100.0, 0.0, 101.9]), noisy).failures == 1
    assert fold(outcomes([100.0, 0.0, 102.1]), noisy).successes == 1


def test_restart_after_the_stated_number_of_failures() -> None:
    # 0.8 halves 6 times to 0.0125, and 0.00625 is below 1/128: the 7th halving restarts, at 4 failures each.
    before = fold(outcomes([1.0, 0.0] + [0.5] * 27), RULES)
    assert (before.restarts, before.length) == (0, 0.8 / 2**6)
    after = fold(outcomes([1.0, 0.0] + [0.5] * 28), RULES)
    end = START + timedelta(minutes=30)
    assert after == TrustRegion(0.8, restarts=1, n_observed=2, born=end, opened=end)


def test_a_trial_of_the_region_before_a_restart_is_ignored() -> None:
    region = fold(outcomes([1.0, 0.0] + [0.5] * 28), RULES)
    late = Outcome(9.0, True, START + timedelta(minutes=29, seconds=59), START + timedelta(minutes=40))
    assert update(region, late, RULES) == region
    timely = replace(late, started=START + timedelta(minutes=30))
    assert update(region, timely, RULES).best == 9.0


def test_a_startup_trial_that_ends_late_updates_the_best_but_no_counter() -> None:
    late = Outcome(9.0, True, START + timedelta(minutes=1), START + timedelta(minutes=9))
    assert update(opened(), late, RULES) == replace(opened(), best=9.0)


def test_default_rules_grow_with_the_dimension() -> None:
    assert [Rules.of(d).n_startup for d in (1, 4, 30)] == [5, 6, 12]
    assert [Rules.of(d).failure_tolerance for d in (1, 4, 30)] == [16, 16, 120]


def test_a_region_begins_as_the_whole_space_and_gets_no_shorter_than_a_step() -> None:
    assert Rules.of(3).initial_length == WHOLE
    assert Rules.of(3).min_length == 0.5**7
    assert Rules.of(3, resolution=0.2).min_length == 0.2


def test_the_paper_s_rules_folded_by_hand_over_a_history() -> None:
    rules = Rules.of(2, n_startup=2, rules="turbo")
    assert (rules.failure_tolerance, rules.success_tolerance, rules.min_length) == (4, 3, 0.5**7)
    history = [1.0, 0.0]  # start-up
    for length in (0.8, 0.4, 0.2, 0.1, 0.05, 0.025, 0.0125):
        assert fold(outcomes(history), rules).length == pytest.approx(length)
        history += [0.5] * 4
    anew = fold(outcomes(history), rules)  # 0.00625 would be below 1/128
    assert (anew.restarts, anew.length, anew.n_observed, anew.is_open(rules)) == (1, 0.8, 0, False)
    again = fold(outcomes([*history, 0.1, 0.2]), rules)
    assert (again.is_open(rules), again.best, again.failures) == (True, 0.2, 0)
    assert fold(outcomes([*history, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]), rules).length == 1.6  # the longest


def test_without_rules_the_region_stays_the_whole_space() -> None:
    assert fold(outcomes([1.0] + [0.0] * 500), Rules.of(2, rules="none")).length == WHOLE


def test_rules_that_know_the_number_of_trials_let_the_region_halve_up_to_eight_times() -> None:
    tolerances = [Rules.of(10, n_startup=12, n_trials=n).failure_tolerance for n in (5, 40, 60, 100, 200, 1000)]
    assert tolerances == [4, 4, 6, 11, 24, 40]
    assert Rules.of(10).failure_tolerance == 40


def test_given_attributes_replace_our_own() -> None:
    assert Rules.of(3, rules={"initial_length": 0.5}) == replace(Rules.of(3), initial_length=0.5)


def test_a_region_that_begins_shorter_than_a_step_may_be_that_short() -> None:
    rules = Rules.of(1, resolution=1.0, rules={"initial_length": 0.8, "max_length": 1.6})
    assert (rules.min_length, rules.initial_length) == (0.8, 0.8)


def test_the_paper_s_region_begins_no_shorter_than_a_step() -> None:
    assert Rules.of(3, resolution=1.0, rules="turbo").min_length == 0.8


@pytest.mark.parametrize("rules", ["trade", {"minimum": 1}, 3, {"min_length": 1.0, "initial_length": 0.8}])
def test_unknown_rules_and_a_shortest_length_above_the_first_are_one_line(rules) -> None:
    with pytest.raises(OptimizerError, match=r"`rules` must be 'own', 'turbo', 'none'|`0 < min_length <=") as caught:
        Rules.of(2, rules=rules)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [{"n_startup": 0}, {"min_length": 1.0}, {"max_length": 0.5}, {"noise": -1.0}])
def test_rules_reject_invalid_constants(change) -> None:
    with pytest.raises(OptimizerError):
        replace(RULES, **change)
