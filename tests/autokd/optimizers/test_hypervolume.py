import math
from itertools import combinations, product

import numpy as np
import pytest

from autokd.optimizers.expected_improvement import log_expected_improvement
from autokd.optimizers.hypervolume import (
    boxes,
    exclusive_hypervolume,
    front,
    hypervolume,
    log_expected_hypervolume_improvement,
    order_by_fronts,
    reference_point,
)

OBJECTIVES = (2, 3, 4)
SIDE = 5  # of the grid of unit cells that the whole numbers of `whole` can dominate


def whole(m: int, seed: int, n: int = 12) -> np.ndarray:
    """Rows with many ties, some equal, some not above 0 in every objective."""
    return np.random.default_rng(seed).integers(-1, SIDE + 1, size=(n, m)).astype(float)


def cells(m: int, side: int) -> np.ndarray:
    """Centres of the unit cells of the cube `[0, side]^m`."""
    return np.array(list(product(range(side), repeat=m))) + 0.5


def dominated(points: np.ndarray, values: np.ndarray) -> np.ndarray:
    return (values[None] >= points[:, None]).all(axis=2).any(axis=1)  # type: ignore[return-value]


def added_volume(points: np.ndarray, values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Volume that each point adds to the rows' hypervolume, by inclusion and exclusion over all sets of rows."""
    added = np.zeros(len(points))
    for size in range(len(values) + 1):
        for chosen in combinations(values, size):
            common = np.minimum(points, np.min(chosen, axis=0, initial=math.inf))
            added += (-1) ** size * np.clip(common - reference, 0, None).prod(axis=1)
    return added


def a_front(m: int, n: int = 4) -> np.ndarray:
    """Rows on a sphere around 0, so that none dominates another."""
    directions = np.abs(np.random.default_rng(m).normal(size=(n, m)))
    return np.asarray(directions / np.linalg.norm(directions, axis=1, keepdims=True))


@pytest.mark.parametrize("m", OBJECTIVES)
@pytest.mark.parametrize("seed", range(5))
def test_a_row_of_the_front_has_the_cells_that_no_other_row_of_it_dominates(m: int, seed: int) -> None:
    values, points = whole(m, seed), cells(m, SIDE)
    on_front = front(values)

    def of_its_own(j: int) -> int:
        others = values[on_front & (np.arange(len(values)) != j)]
        return int((dominated(points, values[[j]]) & ~dominated(points, others)).sum())

    expected = [of_its_own(j) if on_front[j] else 0 for j in range(len(values))]
    assert exclusive_hypervolume(values, np.zeros(m)) == pytest.approx(expected)


@pytest.mark.parametrize("m", OBJECTIVES)
@pytest.mark.parametrize("seed", range(5))
def test_a_row_is_on_the_front_if_no_other_is_at_least_as_good_everywhere(m: int, seed: int) -> None:
    values = whole(m, seed, n=30)

    def beaten(j: int) -> bool:
        better = [(row >= values[j]).all() and ((row > values[j]).any() or i < j) for i, row in enumerate(values)]
        return any(better)

    assert front(values).tolist() == [not beaten(j) for j in range(len(values))]


def test_only_the_first_of_equal_rows_is_on_the_front() -> None:
    assert front(np.array([[0.0, 1.0], [2.0, 1.0], [2.0, 1.0], [1.0, 3.0]])).tolist() == [False, True, False, True]


@pytest.mark.parametrize("m", OBJECTIVES)
@pytest.mark.parametrize("seed", range(5))
def test_hypervolume_is_the_number_of_dominated_cells(m: int, seed: int) -> None:
    values = whole(m, seed)
    assert hypervolume(values, np.zeros(m)) == dominated(cells(m, SIDE), values).sum()


@pytest.mark.parametrize("m", OBJECTIVES)
def test_hypervolume_is_the_sum_of_the_volumes_that_rows_add(m: int) -> None:
    values, reference = np.random.default_rng(m).normal(size=(8, m)), np.full(m, -1.0)
    parts = [added_volume(values[i : i + 1], values[:i], reference)[0] for i in range(len(values))]
    assert hypervolume(values, reference) == pytest.approx(sum(parts), rel=1e-9)


@pytest.mark.parametrize("values", [np.empty((0, 3)), np.array([[9.0, 9.0, 0.0]])])
def test_if_no_row_exceeds_the_reference_there_is_one_box(values: np.ndarray) -> None:
    lower, upper = boxes(values, np.zeros(3))
    assert hypervolume(values, np.zeros(3)) == 0
    assert lower.tolist() == [[0.0] * 3]
    assert upper.tolist() == [[math.inf] * 3]


@pytest.mark.parametrize("m", OBJECTIVES)
@pytest.mark.parametrize("seed", range(5))
def test_each_cell_is_in_one_box_or_dominated(m: int, seed: int) -> None:
    values, points = whole(m, seed), cells(m, SIDE + 1)
    lower, upper = boxes(values, np.zeros(m))
    holders = ((lower < points[:, None]) & (points[:, None] < upper)).all(axis=2).sum(axis=1)
    np.testing.assert_array_equal(holders, ~dominated(points, values))


@pytest.mark.parametrize("m", OBJECTIVES)
def test_boxes_are_disjoint_and_fill_the_rest_of_the_hypervolume(m: int) -> None:
    values, reference = np.random.default_rng(m).normal(size=(20, m)), np.full(m, -1.0)
    lower, upper = boxes(values, reference)
    overlaps = (np.maximum(lower[:, None], lower) < np.minimum(upper[:, None], upper)).all(axis=2)
    np.testing.assert_array_equal(overlaps, np.eye(len(lower), dtype=bool))
    outer = 4.0
    extents = np.clip(np.minimum(upper, outer) - lower, 0, None)
    total = extents.prod(axis=1).sum() + hypervolume(values, reference)
    assert total == pytest.approx((outer - reference).prod(), rel=1e-12)


@pytest.mark.parametrize(("m", "expected"), [(2, 31), (3, 61)])
def test_boxes_are_as_few_as_the_paper_says(m: int, expected: int) -> None:
    """A front of n rows has n + 1 boxes with two objectives and 2n + 1 with three."""
    assert len(boxes(a_front(m, n=30), np.zeros(m))[0]) == expected


@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("level", [0.2, 0.6, 1.0])
def test_expected_improvement_is_the_mean_volume_that_samples_add(m: int, level: float) -> None:
    values, reference, n = a_front(m), np.zeros(m), 200_000
    mean, deviation = np.full(m, level), np.linspace(0.2, 0.5, m)
    added = added_volume(np.random.default_rng(0).normal(mean, deviation, (n, m)), values, reference)
    (score,) = log_expected_hypervolume_improvement(mean[None], deviation[None], *boxes(values, reference))
    assert math.exp(score) == pytest.approx(added.mean(), abs=4 * added.std() / math.sqrt(n))


@pytest.mark.parametrize("m", OBJECTIVES)
def test_expected_improvement_of_certain_outcomes_is_a_difference_of_hypervolumes(m: int) -> None:
    values, reference = a_front(m, n=10), np.zeros(m)
    points = np.random.default_rng(1).uniform(-0.2, 1.5, (200, m))
    before = hypervolume(values, reference)
    gains = np.array([hypervolume(np.vstack([values, point]), reference) - before for point in points])
    scores = log_expected_hypervolume_improvement(points, np.full_like(points, 1e-9), *boxes(values, reference))
    assert (gains == 0).any()
    np.testing.assert_allclose(np.exp(scores), gains, rtol=1e-6, atol=1e-8)


def test_without_rows_expected_improvement_is_the_product_over_objectives() -> None:
    mean, deviation, reference = np.array([[0.3, -2.0]]), np.array([[0.5, 1.0]]), np.array([0.1, 0.7])
    scores = log_expected_hypervolume_improvement(mean, deviation, *boxes(np.empty((0, 2)), reference))
    parts = [log_expected_improvement(mean[:, i], deviation[:, i], reference[i]) for i in range(2)]
    np.testing.assert_allclose(scores, sum(parts))


def test_the_logarithm_is_accurate_where_the_expected_improvement_underflows() -> None:
    """With one row at 0 and the reference at -1 it is EI(-1) EI'(0) + EI(0) EI'(-1) - EI(0) EI'(0)."""
    mean, one = np.array([[-30.0, -40.0]]), np.ones((1, 2))
    (score,) = log_expected_hypervolume_improvement(mean, one, *boxes(np.zeros((1, 2)), np.full(2, -1.0)))
    first, second = (
        [float(log_expected_improvement(mean[:, i], one[:, i], a)[0]) for a in (-1.0, 0.0)] for i in range(2)
    )
    either = np.logaddexp(first[0] + second[1], first[1] + second[0])
    assert math.exp(score) == 0
    assert score == pytest.approx(either + math.log1p(-math.exp(first[1] + second[1] - either)), rel=1e-12)


@pytest.mark.parametrize("m", OBJECTIVES)
def test_far_below_the_front_a_larger_mean_still_scores_higher(m: int) -> None:
    levels = np.linspace(-100, 0, 50)
    for i in range(m):
        mean = np.full((len(levels), m), -50.0)
        mean[:, i] = levels
        scores = log_expected_hypervolume_improvement(mean, np.full_like(mean, 1e-3), *boxes(a_front(m), np.zeros(m)))
        assert np.isfinite(scores).all()
        assert (np.diff(scores) > 0).all()


def test_rows_that_differ_by_rounding_only_count_as_one() -> None:
    values = np.array([[1.0, 2.0], [1.0 + 1e-15, 2.0 - 1e-15]])
    mean = np.stack([np.linspace(-5, 5, 200), np.linspace(-9, 9, 200)], axis=1)
    both, one = (
        log_expected_hypervolume_improvement(mean, np.full_like(mean, 0.1), *boxes(rows, np.zeros(2)))
        for rows in (values, values[:1])
    )
    np.testing.assert_allclose(both, one)


def test_an_inferred_reference_point_lies_a_tenth_below_the_worst_of_the_front() -> None:
    values = np.array([[0.0, 10.0], [4.0, 0.0], [-9.0, -9.0]])  # the last is dominated
    np.testing.assert_allclose(reference_point(values), [-0.4, -1.0])
    np.testing.assert_allclose(reference_point(values[:1]), [-0.1, 9.0])
    np.testing.assert_allclose(reference_point(values, [1, 2]), [1, 2])
    np.testing.assert_allclose(reference_point(values[:0]), [0, 0])


def test_a_front_is_ordered_from_its_best_row_to_the_farthest_of_the_others() -> None:
    on_front = [[1.0, 0.0], [0.0, 8.0], [0.9, 1.0], [0.5, 5.0]]
    behind = [[0.8, 0.5], [0.4, 4.0]]
    assert order_by_fronts(np.array([*behind, *on_front])).tolist() == [2, 3, 5, 4, 0, 1]


@pytest.mark.parametrize("m", OBJECTIVES)
def test_no_row_is_dominated_by_one_of_a_later_front(m: int) -> None:
    values = np.unique(whole(m, seed=m, n=30), axis=0)
    place = {row: position for position, row in enumerate(order_by_fronts(values).tolist())}
    assert sorted(place) == list(range(len(values)))
    for one, other in product(range(len(values)), repeat=2):
        if (values[one] >= values[other]).all() and one != other:
            assert place[one] < place[other]


def test_equal_rows_keep_their_order_and_rows_that_are_not_finite_are_last() -> None:
    values = np.array([[np.nan, 9.0], [1.0, 1.0], [0.0, 2.0], [1.0, 1.0], [np.inf, 0.0]])
    assert order_by_fronts(values).tolist() == [1, 2, 3, 0, 4]
