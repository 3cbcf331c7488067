from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.memory import Demand, best_order, last_uses, moments


def random_graph(nodes: int, rng: np.random.Generator) -> tuple[list[tuple[int, ...]], list[Demand]]:
    """Every node is used by a later one; sizes are arbitrary."""
    inputs: list[set[int]] = [set()]
    for node in range(1, nodes):
        n_inputs = int(rng.integers(1, min(node, 3) + 1))
        inputs.append(set(rng.choice(node, size=n_inputs, replace=False).tolist()))
    for node in range(nodes - 1):
        if not any(node in later for later in inputs[node + 1 :]):
            inputs[int(rng.integers(node + 1, nodes))].add(node)
    demands = []
    for _ in range(nodes):
        output, merged, extra = (int(value) for value in rng.integers(1, 50, 3))
        demands.append(Demand(output, merged, max(output, merged) + extra, output + extra))
    return [tuple(sorted(each)) for each in inputs], demands


def peak_of(order: list[int], inputs: list[tuple[int, ...]], demands: list[Demand]) -> int:
    place = {number: position for position, number in enumerate(order)}
    moved = [tuple(place[source] for source in inputs[number]) for number in order]
    return max(moments(moved, [demands[number] for number in order]))


def is_order(order: tuple[int, ...] | list[int], inputs: list[tuple[int, ...]]) -> bool:
    place = {number: position for position, number in enumerate(order)}
    return all(place[source] < place[number] for number in range(len(inputs)) for source in inputs[number])


def test_a_chain_holds_two_tensors_at_a_time() -> None:
    demands = [Demand(5, 0, 5, 5), Demand(7, 5, 12, 7), Demand(2, 7, 9, 2)]
    assert moments([(), (0,), (1,)], demands) == [5, 12, 9]


def test_a_merge_holds_its_inputs_and_the_accumulator() -> None:
    demands = [Demand(4, 0, 4, 4), Demand(4, 4, 8, 8), Demand(4, 4, 4, 4)]
    assert moments([(), (0,), (0, 1)], demands) == [4, 12, 12]


def test_last_uses_are_where_nobody_needs_a_tensor_any_more() -> None:
    assert last_uses([(), (0,), (0, 1), (2,)]) == [[], [], [0, 1], [2]]


@given(st.integers(2, 8), st.integers(0, 2**32))
def test_a_small_graph_gets_an_order_that_no_other_beats(nodes: int, seed: int) -> None:
    inputs, demands = random_graph(nodes, np.random.default_rng(seed))
    order = best_order(inputs, demands)
    assert sorted(order) == list(range(nodes))
    assert is_order(order, inputs)
    others = (list(each) for each in permutations(range(nodes)) if is_order(each, inputs))
    assert peak_of(order, inputs, demands) == min(peak_of(other, inputs, demands) for other in others)


@pytest.mark.parametrize("nodes", [20, 60, 200])
def test_a_large_graph_gets_an_order_no_worse_than_its_own(nodes: int) -> None:
    for seed in range(10):
        inputs, demands = random_graph(nodes, np.random.default_rng(seed))
        order = best_order(inputs, demands)
        assert sorted(order) == list(range(nodes))
        assert is_order(order, inputs)
        assert (order[0], order[-1]) == (0, nodes - 1)
        assert peak_of(order, inputs, demands) <= max(moments(inputs, demands))
