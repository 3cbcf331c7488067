import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.architecture.cost import Cost
from search_spaces.design.budget import Budget
from search_spaces.errors import SpaceError


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "9", 10**15 + 1])
def test_a_limit_is_a_positive_whole_number(limit: object) -> None:
    with pytest.raises(SpaceError, match=r"a whole number from 1 to .*, but got params="):
        Budget(params=limit)  # type: ignore[arg-type]


TEACHER = {"params": 873_450, "macs": None, "activation_bytes": 301_056, "model_bytes": 9, "memory_bytes": 301_065}


def test_shares_of_the_teacher_become_whole_numbers_and_the_tighter_limit_holds() -> None:
    budget = Budget(
        params=90_000, model_bytes=5, of_teacher={"params": 0.1, "activation_bytes": 1 / 3, "model_bytes": 1}
    )
    assert budget.resolved(TEACHER) == Budget(params=87_345, activation_bytes=100_352, model_bytes=5)
    assert Budget(of_teacher={"activation_bytes": 0.333}).resolved(TEACHER).limits == {"activation_bytes": 100_251}
    assert Budget(params=7).resolved(dict.fromkeys(TEACHER)) == Budget(params=7)


@given(st.integers(1, 10**12), st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_share_is_exact_as_a_fraction(cost: int, part: int, whole: int) -> None:
    share = min(part, whole) / whole
    exact = cost * min(part, whole) // whole
    if exact:
        assert Budget(of_teacher={"params": share}).resolved({"params": cost}).limits == {"params": exact}


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"macs": 0.5}, r"budget\.of_teacher\.macs: the teacher's macs cannot be told"),
        ({"model_bytes": 0.1}, r"budget\.of_teacher\.model_bytes: 0\.1 of the teacher's 9 is less than 1"),
    ],
)
def test_a_share_of_what_is_unknown_or_too_small_is_refused(shares: dict[str, float], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        Budget(of_teacher=shares).resolved(TEACHER)


@pytest.mark.parametrize("shares", [{"params": 0.0}, {"params": 1.01}, {"params": True}, {"parms": 0.5}])
def test_a_share_is_above_0_and_at_most_1(shares: dict[str, float]) -> None:
    with pytest.raises(SpaceError):
        Budget(of_teacher=shares)


def test_shares_must_be_resolved_before_they_are_limits() -> None:
    with pytest.raises(SpaceError, match="must be resolved first"):
        Budget(params=100, of_teacher={"macs": 0.5}).fits(Cost(1, 1, 1, 1))


def test_utilisation_is_per_limit_and_fits_means_all() -> None:
    budget = Budget(params=100, memory_bytes=1000)
    costs = Cost(params=50, macs=10**9, activation_bytes=800, model_bytes=200)
    assert budget.utilisation(costs) == {"params": 0.5, "memory_bytes": 1.0}
    assert budget.tightest(costs) == 1.0
    assert budget.fits(costs)
    assert not Budget(params=100, memory_bytes=999).fits(costs)


@given(st.integers(1, 10**12), st.floats(1e-9, 1))
def test_a_share_of_a_limit_is_rounded_down_and_others_stay(limit: int, share: float) -> None:
    scaled = Budget(macs=limit, params=7).scaled(share, ["macs", "memory_bytes"])
    assert scaled.limits["params"] == 7
    assert scaled.limits.keys() == {"macs", "params"}
    assert scaled.limits["macs"] == max(1, int(limit * share)) <= limit
    assert Budget(macs=limit).scaled(1.0, ["macs"]) == Budget(macs=limit)
