from itertools import combinations, product

import numpy as np
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from tasks import Task, choices

GRID = list(product(("sum", "concat", None), (8, 16, 24, 32), (0.0, 0.3)))


def test_rows_are_in_the_order_of_the_product_of_the_choices(small: Task) -> None:
    for row, point in enumerate(GRID):
        params = dict(zip(small.space, point, strict=True))
        assert small.row(params) == row
        assert small.params(row) == params


def test_a_float_that_is_off_by_rounding_is_the_same_point() -> None:
    task = Task("grid", {"share": FloatDistribution(0.0, 0.6, step=0.3)}, np.zeros((3, 1)), np.ones((3, 1)))
    assert task.row({"share": 0.1 + 0.2}) == 1
    assert choices(task.space["share"]) == pytest.approx((0.0, 0.3, 0.6))


def test_an_evaluation_is_one_seed_that_was_run_with_its_own_time(small: Task) -> None:
    rng = np.random.default_rng(0)
    for row in range(small.size):
        seen = {small.evaluate(small.params(row), rng)[:2] for _ in range(20)}
        pairs = zip(small.values[row], small.seconds[row], strict=True)
        assert seen == {(value, seconds) for value, seconds in pairs if not np.isnan(value)}


def test_each_seed_is_as_likely_as_the_others(small: Task) -> None:
    rng = np.random.default_rng(0)
    drawn = [small.evaluate(small.params(1), rng).value == small.values[1, 0] for _ in range(1000)]
    assert np.mean(drawn) == pytest.approx(0.5, abs=3 * 0.5 / np.sqrt(1000))


def test_the_optimum_is_the_best_mean_and_not_the_best_seed() -> None:
    values = np.array([[1.0, 9.0], [6.0, np.nan], [5.5, 5.0]])
    task = Task("three", {"layer": IntDistribution(0, 2)}, values, np.ones((3, 2)))
    assert task.optimum == 6.0
    assert [task.worth({"layer": layer}) for layer in range(3)] == [5.0, 6.0, 5.25]


def test_an_averaged_task_has_no_noise_and_the_same_worths(small: Task) -> None:
    averaged = small.averaged()
    rng = np.random.default_rng(0)
    for row in range(small.size):
        params = small.params(row)
        assert averaged.evaluate(params, rng).value == small.worth(params) == averaged.worth(params)


@pytest.mark.parametrize("n", [1, 2, 3, 23, 24])
def test_random_searchs_expectation_agrees_with_all_its_draws(small: Task, n: int) -> None:
    draws = [max(draw) for draw in combinations(small.means[:10], min(n, 10))]
    task = Task("ten", {"layer": IntDistribution(0, 9)}, small.values[:10], small.seconds[:10])
    assert task.expected_best(n) == pytest.approx(np.mean(draws))


@pytest.mark.parametrize("n", [1, 4, 8])
def test_random_searchs_expectation_counts_the_draws_without_a_feasible_point(limited: Task, n: int) -> None:
    assert limited.violations is not None
    space = {"layer": IntDistribution(0, 7)}
    eight = Task("eight", space, limited.values[:8], limited.seconds[:8], limited.violations[:8])
    worths = [eight.worth({"layer": layer}) for layer in range(8)]
    kept = [[worths[row] for row in draw if eight.feasible[row]] for draw in combinations(range(8), n)]
    assert eight.expected_best(n) == pytest.approx(np.mean([max(row, default=eight.consolation) for row in kept]))


def test_a_point_beyond_its_limits_is_worth_a_feasible_one_at_random(limited: Task) -> None:
    feasible = limited.means[::3]
    assert limited.optimum == feasible.max()
    assert limited.worth(limited.params(1)) == pytest.approx(feasible.mean())
    assert limited.worth(limited.params(3)) == limited.means[3]
    rng = np.random.default_rng(0)
    assert [limited.evaluate(limited.params(row), rng).violation for row in range(4)] == [0.0, 0.5, 0.5, 0.0]


def test_a_table_of_another_size_is_rejected(small: Task) -> None:
    with pytest.raises(ValueError, match="24 x seeds"):
        Task("short", small.space, small.values[:-1], small.seconds[:-1])


def test_a_point_that_nobody_trained_is_rejected(small: Task) -> None:
    with pytest.raises(ValueError, match="at least one seed"):
        Task("holes", small.space, np.full((24, 2), np.nan), small.seconds)


def test_a_task_without_short_trainings_says_so(small: Task) -> None:
    with pytest.raises(ValueError, match="'small' has no short trainings"):
        small.evaluate_early(small.params(0))


def test_a_continuum_is_rejected() -> None:
    with pytest.raises(ValueError, match="finitely many"):
        choices(FloatDistribution(0.0, 1.0))
