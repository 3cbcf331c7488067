from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.architecture.cost import Cost
from search_spaces.design.budget import Budget
from search_spaces.design.widths import solve_widths, widths_at
from search_spaces.errors import BudgetError, SpaceError


def chain_cost(widths: tuple[int, ...]) -> Cost:
    """Cost of 3x3 convolutions from width to width."""
    params = sum(9 * a * b for a, b in zip((3, *widths), widths, strict=False))
    return Cost(params, 10 * params, 8 * max(widths), 4 * params)


def test_widths_round_half_up_and_stay_positive() -> None:
    assert widths_at((1, 2, 0.1), 2.25) == (2, 5, 1)


@given(st.integers(300, 10**7), st.lists(st.sampled_from([0.5, 1.0, 2.0, 4.0]), min_size=1, max_size=6))
def test_solved_widths_fit_and_no_single_wider_one_does(limit: int, ratios: list[float]) -> None:
    budget = Budget(params=limit)
    try:
        widths = solve_widths(chain_cost, ratios, budget, max_base=10**7)
    except BudgetError:
        assert not budget.fits(chain_cost(widths_at(ratios, 1)))
        return
    assert budget.fits(chain_cost(widths))
    wider = [(*widths[:i], widths[i] + 1, *widths[i + 1 :]) for i in range(len(widths))]
    assert chain_cost(widths).params >= 0.98 * limit or not any(budget.fits(chain_cost(each)) for each in wider)


def test_the_tightest_of_several_limits_decides() -> None:
    budget = Budget(params=10**9, macs=10**9, activation_bytes=8 * 40)
    assert max(solve_widths(chain_cost, (1, 2), budget, max_base=1000)) == 40


def pyramid_cost(widths: tuple[int, ...]) -> Cost:
    """Cost of 3x3 convolutions from width to width, each at half the resolution of the one before, from 32 px."""
    layers = [9 * a * b for a, b in zip((3, *widths), widths, strict=False)]
    maps = [4 * width * area for width, area in zip(widths, AREAS, strict=True)]
    macs = sum(params * area for params, area in zip(layers, AREAS, strict=True))
    return Cost(sum(layers), macs, 2 * max(maps), 4 * sum(layers))


AREAS = (1024, 256, 64)


def pyramid_shares(budget: Budget, areas: tuple[int, ...]) -> list[float]:
    """Share of each limit that solved widths use."""
    return list(budget.utilisation(pyramid_cost(solve_widths(pyramid_cost, (1, 2, 4), budget, 1000, areas))).values())


@pytest.mark.parametrize("limits", [{"macs": 8_000_000}, {"activation_bytes": 120_000}, {"activation_bytes": 300_000}])
def test_two_limits_are_both_used_where_the_ratios_alone_would_use_one(limits: dict[str, Any]) -> None:
    budget = Budget(params=50_000, **limits)
    assert min(pyramid_shares(budget, ())) < 0.8
    assert 0.9 < min(pyramid_shares(budget, AREAS)) <= max(pyramid_shares(budget, AREAS)) <= 1


@pytest.mark.parametrize(("macs", "proportions"), [(400_000, (1, 4, 16)), (100_000_000, (1, 1, 1))])
def test_a_limit_that_only_a_larger_tilt_could_use_up_is_used_as_far_as_the_largest_one_does(
    macs: int, proportions: tuple[int, ...]
) -> None:
    budget = Budget(params=50_000, macs=macs)
    solved = partial(solve_widths, pyramid_cost, (1, 2, 4), budget, 1000, AREAS)
    assert solved(tilt="balanced") == solved(tilt="none") == solve_widths(pyramid_cost, (1, 2, 4), budget, 1000)
    full, upright = (min(budget.utilisation(pyramid_cost(each)).values()) for each in (solved(), solved(tilt="none")))
    assert full > 1.5 * upright
    assert all(
        abs(width / solved()[0] / wanted - 1) <= 0.5 for width, wanted in zip(solved(), proportions, strict=True)
    )


def test_widths_stay_in_their_ratios_where_no_tilt_is_wanted() -> None:
    budget = Budget(params=50_000, macs=8_000_000)
    one = solve_widths(pyramid_cost, (1, 2, 4), budget, 1000)
    assert solve_widths(pyramid_cost, (1, 2, 4), budget, 1000, AREAS, "none") == one
    assert solve_widths(pyramid_cost, (1, 2, 4), budget, 1000, AREAS) != one


def test_one_limit_and_equal_areas_leave_the_ratios_as_they_are() -> None:
    one, two = Budget(params=50_000), Budget(params=50_000, macs=8_000_000)
    assert solve_widths(pyramid_cost, (1, 2, 4), one, 1000, AREAS) == solve_widths(pyramid_cost, (1, 2, 4), one, 1000)
    assert solve_widths(chain_cost, (1, 2, 4), two, 1000, (9, 9, 9)) == solve_widths(chain_cost, (1, 2, 4), two, 1000)


@given(st.integers(10**3, 10**6), st.integers(10**5, 10**8), st.integers(10**4, 10**6))
@settings(max_examples=50)
def test_tilted_widths_keep_all_limits_and_bounds(params: int, macs: int, activation_bytes: int) -> None:
    budget = Budget(params, macs, activation_bytes)
    widths = solve_widths(pyramid_cost, (1, 2, 4), budget, 1000, AREAS)
    assert budget.fits(pyramid_cost(widths))
    for before, after, ratio in zip(widths, widths[1:], (2, 2), strict=False):
        assert (before - 1) * ratio / 2 / 1.3 - 2 <= after <= (before + 1) * ratio * 2 * 1.3 + 2


def test_a_budget_that_nothing_fits_raises_with_limit_and_cost() -> None:
    with pytest.raises(BudgetError, match=r"params=45 > 44"):
        solve_widths(chain_cost, (1, 2), Budget(params=44), max_base=100)


def test_the_largest_width_bounds_a_huge_budget() -> None:
    assert solve_widths(chain_cost, (1, 2), Budget(params=10**12), max_base=100) == (100, 200)


def test_a_budget_without_limits_cannot_solve_widths() -> None:
    with pytest.raises(SpaceError, match="fix the width"):
        solve_widths(chain_cost, (1,), Budget(), max_base=100)
