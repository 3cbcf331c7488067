from math import inf, nan

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.design.dimensions import Dimension, Range, contains, draw, narrow
from search_spaces.errors import SpaceError

DIMENSIONS = {
    "kind": Dimension(CategoricalDistribution(("a", "b", "c"))),
    "size": Dimension(IntDistribution(2, 8, step=2), legal=(2, 100)),
    "rate": Dimension(FloatDistribution(0.01, 10, log=True), "kind", ("a",), legal=(1e-6, 100)),
    "depth": Dimension(IntDistribution(1, 4), "kind", ("b", "c")),
}


def narrowed(**ranges: Range) -> dict[str, Dimension]:
    return narrow(DIMENSIONS, ranges, "test")[0]


def test_without_ranges_nothing_changes() -> None:
    assert narrow(DIMENSIONS, {}, "test") == (DIMENSIONS, {})


def test_a_range_keeps_step_and_logarithm_and_may_be_a_list() -> None:
    assert narrowed(size=[4, 6])["size"].distribution == IntDistribution(4, 6, step=2)
    assert narrowed(rate=(0.1, 50))["rate"].distribution == FloatDistribution(0.1, 50, log=True)


def test_one_value_fixes_a_dimension() -> None:
    dimensions, fixed = narrow(DIMENSIONS, {"size": 20}, "test")
    assert "size" not in dimensions
    assert fixed == {"size": 20}


def test_children_of_a_fixed_parent_become_unconditional_or_disappear() -> None:
    dimensions = narrowed(kind="a")
    assert list(dimensions) == ["size", "rate"]
    assert dimensions["rate"].parent is None


def test_children_that_no_remaining_choice_activates_disappear() -> None:
    assert list(narrowed(kind=("b", "c"))) == ["kind", "size", "depth"]


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"sise": 4}, "Unknown dimension of test 'sise'. Did you mean 'size'"),
        ({"size": (3, 5)}, "must be 2 plus a multiple of 2"),
        ({"size": (6, 4)}, "low <= high"),
        ({"size": 1000}, "<= 100"),
        ({"size": (2, 4, 6)}, "one number or"),
        ({"size": "4"}, "one number or"),
        ({"size": True}, "one number or"),
        ({"depth": 1.5}, "plus a multiple of 1"),
        ({"kind": "d"}, "Unknown value of `kind` 'd'"),
        ({"kind": ()}, "one or more"),
        ({"kind": ("a", "a")}, "different"),
    ],
)
def test_an_invalid_range_is_rejected(ranges: dict[str, Range], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        narrow(DIMENSIONS, ranges, "test")


TENTHS = {"share": Dimension(FloatDistribution(0.1, 0.9, step=0.1))}


@pytest.mark.parametrize(
    ("share", "message"),
    [
        ((0.1, 0.25), r"must be 0\.1 plus a multiple of 0\.1, but got \(0\.1, 0\.25\)"),
        ((0.15, 0.35), "plus a multiple"),
        (0.17, "plus a multiple"),
        ((0.1, inf), "all finite"),
        (nan, "all finite"),
    ],
)
def test_ends_of_a_float_with_steps_that_lie_between_them_or_nowhere_are_rejected(share: Range, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        narrow(TENTHS, {"share": share}, "test")


def test_ends_of_a_float_with_steps_may_be_any_of_them() -> None:
    for tenth in range(1, 10):
        assert narrow(TENTHS, {"share": tenth / 10}, "test")[1] == {"share": tenth / 10}
        found = narrow(TENTHS, {"share": (0.1, tenth / 10)}, "test")[0]
        assert found["share"].distribution == FloatDistribution(0.1, tenth / 10, step=0.1)


def test_choices_that_are_no_values_are_rejected() -> None:
    with pytest.raises(SpaceError, match=r"choices of `kernel` must be numbers, strings or bools, but got None\."):
        narrow({"kernel": Dimension(CategoricalDistribution((None, 3)))}, {}, "test")


@pytest.mark.parametrize("distribution", [FloatDistribution(0.1, 10, log=True), IntDistribution(1, 16, log=True)])
def test_a_range_on_a_logarithmic_scale_begins_above_0_and_one_value_may_be_0(
    distribution: FloatDistribution | IntDistribution,
) -> None:
    dimensions = {"share": Dimension(distribution, legal=(0, 100))}
    with pytest.raises(SpaceError, match=r"`share` has a logarithmic scale, so .* must begin above 0, but got 0\."):
        narrow(dimensions, {"share": (0, 4)}, "test")
    assert narrow(dimensions, {"share": 0}, "test") == ({}, {"share": 0})


def test_a_dimension_is_active_if_its_parent_has_one_of_its_values() -> None:
    assert DIMENSIONS["rate"].is_active({"kind": "a"})
    assert not DIMENSIONS["rate"].is_active({"kind": "b"})
    assert not DIMENSIONS["rate"].is_active({})


@pytest.mark.parametrize(
    "distribution", [IntDistribution(1, 9, log=True), FloatDistribution(0, 1, step=0.25), FloatDistribution(1, 1)]
)
def test_draws_follow_logarithms_and_steps(distribution: IntDistribution | FloatDistribution) -> None:
    rng = np.random.default_rng(0)
    drawn = [float(draw(distribution, rng)) for _ in range(500)]
    assert min(drawn) == distribution.low
    assert max(drawn) == distribution.high
    if distribution.log:
        assert np.median(drawn) == 3
    if isinstance(distribution, FloatDistribution) and distribution.step:
        assert set(drawn) == {0, 0.25, 0.5, 0.75, 1}


def test_rounding_takes_no_step_past_the_high_end() -> None:
    rng, distribution = np.random.default_rng(0), FloatDistribution(0.1, 0.3, step=0.1)
    assert {draw(distribution, rng) for _ in range(100)} == {0.1, 0.2, 0.3}


def test_draws_lie_in_their_distribution_and_reach_all_of_it() -> None:
    rng = np.random.default_rng(0)
    for dimension in DIMENSIONS.values():
        assert all(contains(dimension.distribution, draw(dimension.distribution, rng)) for _ in range(200))
    assert {draw(DIMENSIONS["size"].distribution, rng) for _ in range(200)} == {2, 4, 6, 8}
    rates = [float(draw(DIMENSIONS["rate"].distribution, rng)) for _ in range(2000)]
    assert np.median(np.log10(rates)) == pytest.approx(-0.5, abs=0.1)


@pytest.mark.parametrize("value", [3, 10, 4.0, True, "4"])
def test_a_number_of_the_wrong_type_or_size_is_not_contained(value: Range) -> None:
    assert not contains(DIMENSIONS["size"].distribution, value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "expected"), [(0.25, True), (1, True), (0.3, False), (1.25, False), (10**400, False)]
)
def test_of_a_float_with_a_step_only_its_levels_are_contained(value: float, expected: bool) -> None:
    assert contains(FloatDistribution(0, 1, step=0.25), value) is expected
    assert contains(FloatDistribution(0, 1, step=0.1), 3 * 0.1)  # which is not 0.3


def test_a_dimension_with_a_default_is_fixed_until_a_range_opens_it() -> None:
    dimensions = {"kind": DIMENSIONS["kind"], "extra": Dimension(IntDistribution(1, 5), "kind", ("a",), default=3)}
    assert narrow(dimensions, {}, "test")[1] == {"extra": 3}
    still_open, fixed = narrow(dimensions, {"extra": (2, 4)}, "test")
    assert fixed == {}
    assert still_open["extra"].distribution == IntDistribution(2, 4)
    assert narrow(dimensions, {"kind": "b"}, "test")[1] == {"kind": "b"}
