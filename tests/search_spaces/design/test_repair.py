from itertools import product

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.design.dimensions import Dimension, Parameters, Value
from search_spaces.design.repair import drawn, repair

KIND = {
    "kind": Dimension(CategoricalDistribution(("a", "b"))),
    "size": Dimension(IntDistribution(1, 9, step=2), "kind", ("a",)),
    "rate": Dimension(FloatDistribution(0, 1), "kind", ("b",)),
}
BITS = {f"bit{i}": Dimension(IntDistribution(0, 1)) for i in range(6)}


def test_parameters_without_excess_are_unchanged() -> None:
    start: dict[str, Value] = {"kind": "a", "size": 3}
    assert repair(KIND, start, lambda parameters: (0, 0), np.random.default_rng(0)) == (start, (0, 0))


def test_one_change_is_made_if_one_is_enough_and_every_such_change_can_be_drawn() -> None:
    def excess(parameters: Parameters) -> tuple[float, ...]:
        return (max(0, sum(map(int, parameters.values())) - 4),)

    start = dict.fromkeys(BITS, 1) | {"bit0": 0}
    found = [repair(BITS, start, excess, np.random.default_rng(seed))[0] for seed in range(100)]
    changed = [{name for name in BITS if one[name] != start[name]} for one in found]
    assert {len(names) for names in changed} == {1}
    assert set.union(*changed) == {"bit1", "bit2", "bit3", "bit4", "bit5"}


def test_it_continues_until_no_excess_is_left() -> None:
    def excess(parameters: Parameters) -> tuple[float, ...]:
        return (max(0, sum(map(int, parameters.values())) - 1),)

    found, left = repair(BITS, dict.fromkeys(BITS, 1), excess, np.random.default_rng(0))
    assert sum(map(int, found.values())) == 1
    assert left == (0,)


def test_the_first_excess_has_priority() -> None:
    def excess(parameters: Parameters) -> tuple[float, ...]:
        return (1 - int(parameters["bit0"]), 6 - sum(map(int, parameters.values())))

    found, left = repair(BITS, dict.fromkeys(BITS, 0) | {"bit1": 1}, excess, np.random.default_rng(0))
    assert (found, left) == (dict.fromkeys(BITS, 1), (0, 0))


def test_it_ends_when_no_change_helps() -> None:
    start = dict.fromkeys(BITS, 0)
    assert repair(BITS, start, lambda parameters: (1,), np.random.default_rng(0)) == (start, (1,))


@pytest.mark.parametrize("seed", range(20))
def test_changing_a_parent_replaces_its_children(seed: int) -> None:
    found, left = repair(KIND, {"kind": "a", "size": 3}, lambda p: (p["kind"] == "a",), np.random.default_rng(seed))
    assert (set(found), left) == ({"kind", "rate"}, (False,))
    assert 0 <= float(found["rate"]) <= 1


def test_missing_values_are_drawn_and_inactive_ones_dropped() -> None:
    given: dict[str, Value] = {"kind": "b", "size": 3}
    assert set(drawn(KIND, given, np.random.default_rng(0))) == {"kind", "rate"}


def test_the_result_is_as_near_as_exhaustive_search_finds() -> None:
    def excess(parameters: Parameters) -> tuple[float, ...]:
        bits = [int(value) for value in parameters.values()]
        return (abs(bits[0] + bits[1] + bits[2] - 2), max(0, sum(bits[3:]) - 1))

    for start in product((0, 1), repeat=6):
        given = dict(zip(BITS, start, strict=True))
        distances = [
            sum(a != b for a, b in zip(other, start, strict=True))
            for other in product((0, 1), repeat=6)
            if not any(excess(dict(zip(BITS, other, strict=True))))
        ]
        found, left = repair(BITS, given, excess, np.random.default_rng(0))
        assert left == excess(found) == (0, 0)
        assert sum(found[name] != given[name] for name in BITS) == min(distances)
