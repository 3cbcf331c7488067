from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from grids import choices
from optuna.distributions import FloatDistribution, IntDistribution
from tasks import Task

CLIMB = ((0, None), (1, 0), (2, 1))
GRID = list(product(("sum", "concat", None), (8, 16, 24, 32), (0.0, 0.3)))


def test_rows_are_in_the_order_of_the_product_of_the_choices(small: Task) -> None:
    for row, point in enumerate(GRID):
        params = dict(zip(small.space, point, strict=True))
        assert small.row(params) == small.row(params, trained={row}) == row
        assert small.params(row) == params


def test_a_float_that_is_off_by_rounding_is_the_same_point() -> None:
    task = Task("grid", {"share": FloatDistribution(0.0, 0.6, step=0.3)}, np.zeros((3, 1)), np.ones((3, 1)))
    assert task.row({"share": 0.1 + 0.2}) == 1
    assert choices(task.space["share"]) == pytest.approx((0.0, 0.3, 0.6))


def test_an_evaluation_is_one_seed_that_was_run_with_its_own_time(small: Task) -> None:
    rng = np.random.default_rng(0)
    for row in range(small.size):
        seen = {small.evaluate(row, rng)[:2] for _ in range(20)}
        pairs = zip(small.values[row], small.seconds[row], strict=True)
        assert seen == {(value, seconds) for value, seconds in pairs if not np.isnan(value)}


def test_each_seed_is_as_likely_as_the_others(small: Task) -> None:
    rng = np.random.default_rng(0)
    drawn = [small.evaluate(1, rng).value == small.values[1, 0] for _ in range(1000)]
    assert np.mean(drawn) == pytest.approx(0.5, abs=3 * 0.5 / np.sqrt(1000))


def test_the_optimum_is_the_best_mean_and_not_the_best_seed() -> None:
    values = np.array([[1.0, 9.0], [6.0, np.nan], [5.5, 5.0]])
    task = Task("three", {"layer": IntDistribution(0, 2)}, values, np.ones((3, 2)))
    assert task.optimum == 6.0
    assert task.worths.tolist() == [5.0, 6.0, 5.25]


def test_an_averaged_task_has_no_noise_and_the_same_worths(small: Task) -> None:
    averaged = small.averaged()
    rng = np.random.default_rng(0)
    for row in range(small.size):
        assert averaged.evaluate(row, rng).value == small.worths[row] == averaged.worths[row]


@pytest.mark.parametrize("n", [1, 2, 3, 23, 24])
def test_random_searchs_expectation_agrees_with_all_its_draws(small: Task, n: int) -> None:
    draws = [max(draw) for draw in combinations(small.means[:10], min(n, 10))]
    task = Task("ten", {"layer": IntDistribution(0, 9)}, small.values[:10], small.seconds[:10])
    assert task.expected_best(n) == pytest.approx(np.mean(draws))


@pytest.mark.parametrize("n", [1, 4, 8])
def test_random_searchs_expectation_counts_the_draws_without_a_feasible_point(limited: Task, n: int) -> None:
    limits = {name: replace(limit, excesses=limit.excesses[:8]) for name, limit in limited.limits.items()}
    space = {"layer": IntDistribution(0, 7)}
    eight = Task("eight", space, limited.values[:8], limited.seconds[:8], limits)
    kept = [[eight.worths[row] for row in draw if eight.feasible[row]] for draw in combinations(range(8), n)]
    assert eight.expected_best(n) == pytest.approx(np.mean([max(row, default=eight.consolation) for row in kept]))


def test_a_point_beyond_its_limits_is_worth_a_feasible_one_at_random(limited: Task) -> None:
    feasible = limited.means[::3]
    assert limited.optimum == feasible.max()
    assert limited.worths[:4] == pytest.approx([feasible[0], feasible.mean(), feasible.mean(), feasible[1]])


def test_a_training_tells_by_how_much_each_limit_is_exceeded(limited: Task) -> None:
    rng = np.random.default_rng(0)
    measured = [limited.evaluate(row, rng) for row in range(4)]
    assert [m.excesses for m in measured[:3]] == [
        {"params": -0.5, "latency": -0.25},
        {"params": 0.5, "latency": -0.25},
        {"params": -0.5, "latency": 0.25},
    ]
    assert [m.violation for m in measured] == [0.0, 0.5, 0.25, 0.0]


def test_only_what_is_measured_comes_as_a_surprise(limited: Task) -> None:
    assert [limited.keeps_computable(limited.params(row)) for row in range(6)] == [True, False, True] * 2
    assert limited.feasible[:6].tolist() == [True, False, False] * 2


def test_without_limits_every_point_is_feasible(small: Task) -> None:
    assert small.feasible.all()
    assert small.keeps_computable(small.params(5))


def test_a_training_that_goes_on_pays_the_further_steps_only(laddered: Task) -> None:
    rng = np.random.default_rng(0)
    climb = [laddered.train(7, rung, below, rng) for rung, below in ((0, None), (1, 0), (2, 1))]
    mean = np.nanmean(laddered.seconds[7])
    assert [m.value for m in climb[:2]] == [7.0, 14.0]
    assert [m.seconds for m in climb[:2]] == pytest.approx([0.2 * mean, 0.3 * mean])
    seed = laddered.values[7].tolist().index(climb[2].value)
    assert climb[2].seconds == pytest.approx(0.5 * laddered.seconds[7, seed])


def test_a_training_with_a_schedule_of_its_own_pays_all_its_steps(laddered: Task) -> None:
    anew = replace(laddered, ladder=replace(laddered.ladder, continues=False)).averaged()
    rng = np.random.default_rng(0)
    shares = [anew.train(7, rung, below, rng).seconds / anew.seconds[7, 0] for rung, below in CLIMB]
    assert shares == pytest.approx([0.2, 0.5, 1.0])


def test_a_training_from_the_beginning_is_a_whole_one(laddered: Task) -> None:
    averaged, rng = laddered.averaged(), np.random.default_rng(0)
    assert averaged.train(3, 2, None, rng) == averaged.evaluate(3, rng)


def test_a_task_without_a_ladder_has_the_full_training_only(small: Task) -> None:
    assert (small.ladder.top, small.ladder.share(0, None)) == (0, 1.0)


def test_the_mean_time_counts_each_point_once() -> None:
    values = np.array([[1.0, 1.0], [1.0, np.nan]])
    task = Task("two", {"layer": IntDistribution(0, 1)}, values, np.array([[2.0, 4.0], [9.0, np.nan]]))
    assert task.mean_seconds == 6.0


def test_a_table_of_another_size_is_rejected(small: Task) -> None:
    with pytest.raises(ValueError, match="24 x seeds"):
        Task("short", small.space, small.values[:-1], small.seconds[:-1])


def test_a_point_that_nobody_trained_is_rejected(small: Task) -> None:
    with pytest.raises(ValueError, match="at least one seed"):
        Task("holes", small.space, np.full((24, 2), np.nan), small.seconds)
