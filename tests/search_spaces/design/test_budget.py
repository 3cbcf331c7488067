import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.architecture.cost import Cost
from search_spaces.design.budget import Budget, solve_widths, widths_at
from search_spaces.errors import BudgetError, SpaceError


def chain_cost(widths: tuple[int, ...]) -> Cost:
    """Cost of 3x3 convolutions from width to width."""
    params = sum(9 * a * b for a, b in zip((3, *widths), widths, strict=False))
    return Cost(params, 10 * params, 8 * max(widths), 4 * params)


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "9", 10**15 + 1])
def test_a_limit_is_a_positive_whole_number(limit: object) -> None:
    with pytest.raises(SpaceError, match=r"a whole number from 1 to .*, but got params="):
        Budget(params=limit)  # type: ignore[arg-type]


def test_utilisation_is_per_limit_and_fits_means_all() -> None:
    budget = Budget(params=100, memory_bytes=1000)
    costs = Cost(params=50, macs=10**9, activation_bytes=800, model_bytes=200)
    assert budget.utilisation(costs) == {"params": 0.5, "memory_bytes": 1.0}
    assert budget.tightest(costs) == 1.0
    assert budget.fits(costs)
    assert not Budget(params=100, memory_bytes=999).fits(costs)


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


def test_a_budget_that_nothing_fits_raises_with_limit_and_cost() -> None:
    with pytest.raises(BudgetError, match=r"params=45 > 44"):
        solve_widths(chain_cost, (1, 2), Budget(params=44), max_base=100)


def test_the_largest_width_bounds_a_huge_budget() -> None:
    assert solve_widths(chain_cost, (1, 2), Budget(params=10**12), max_base=100) == (100, 200)


def test_a_budget_without_limits_cannot_solve_widths() -> None:
    with pytest.raises(SpaceError, match="fix the width"):
        solve_widths(chain_cost, (1,), Budget(), max_base=100)
