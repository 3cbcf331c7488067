from collections.abc import Iterator
from contextlib import suppress
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.architecture import schedule
from search_spaces.architecture.memory import Demand, node_peaks
from search_spaces.architecture.operations import OPERATIONS, profile
from search_spaces.architecture.schedule import best_schedule
from search_spaces.design.graphs import erdos_renyi, watts_strogatz
from search_spaces.errors import SpaceError

Inputs = list[tuple[int, ...]]
CONVOLUTION = Demand(output=1, merged=1, running=2, running_kept=2)


def random_graph(nodes: int, rng: np.random.Generator) -> tuple[Inputs, list[Demand]]:
    """Random graph in which every node but the last is used by a later one, with random sizes."""
    inputs: list[set[int]] = [set()]
    for node in range(1, nodes):
        n_inputs = int(rng.integers(1, min(node, 3) + 1))
        inputs.append(set(rng.choice(node, size=n_inputs, replace=False).tolist()))
    for node in range(nodes - 1):
        if not any(node in later for later in inputs[node + 1 :]):
            inputs[int(rng.integers(node + 1, nodes))].add(node)
    demands: list[Demand] = []
    for sources in inputs:
        output, merged, extra = (int(value) for value in rng.integers(1, 50, 3))
        entering = min((demands[source].output for source in sources), default=0)
        running = output + extra + int(rng.integers(entering + 1))
        demands.append(Demand(output, merged, running, output + extra))
    return [tuple(sorted(each)) for each in inputs], demands


def nested_graph(
    rng: np.random.Generator, cells: int = 5, nodes: int = 5, probability: float = 0.6
) -> tuple[Inputs, list[Demand]]:
    """A ring of small graphs of equal convolutions, whose sources all read the same inputs, with a mean at the end."""
    inputs: Inputs = [()]
    ring = watts_strogatz(int(rng.integers(3, cells + 1)), 2, 0.5, rng)
    outputs: list[int] = []
    for before in ring.predecessors:
        entering = tuple(outputs[source] for source in before) or (0,)
        cell = erdos_renyi(int(rng.integers(1, nodes + 1)), probability, rng)
        first = len(inputs)
        inputs += [tuple(first + source for source in sources) or entering for sources in cell.predecessors]
        if len(cell.sinks) > 1:
            inputs.append(tuple(first + sink for sink in cell.sinks))
        outputs.append(len(inputs) - 1)
    inputs.append(tuple(outputs[sink] for sink in ring.sinks))
    return inputs, [CONVOLUTION] * len(inputs)


def peak_of(order: list[int], inputs: Inputs, demands: list[Demand]) -> int:
    place = {number: position for position, number in enumerate(order)}
    moved = [tuple(place[source] for source in inputs[number]) for number in order]
    return max(node_peaks(moved, [demands[number] for number in order]))


def is_order(order: list[int], inputs: Inputs) -> bool:
    place = {number: position for position, number in enumerate(order)}
    return sorted(order) == list(range(len(inputs))) and all(
        place[source] < place[number] for number in range(len(inputs)) for source in inputs[number]
    )


def all_orders(inputs: Inputs, begun: tuple[int, ...] = ()) -> Iterator[list[int]]:
    """Every execution order."""
    if len(begun) == len(inputs):
        yield list(begun)
    for number, sources in enumerate(inputs):
        if number not in begun and set(sources) <= set(begun):
            yield from all_orders(inputs, (*begun, number))


def least_peak(inputs: Inputs, demands: list[Demand]) -> int:
    """Lowest peak of all orders, by dynamic programming over sets of finished nodes: for larger graphs."""
    users = [{user for user, sources in enumerate(inputs) if number in sources} for number in range(len(inputs))]
    level = {frozenset[int](): 0}
    for _ in inputs:
        after: dict[frozenset[int], int] = {}
        for done, highest in level.items():
            live = sum(demands[number].output for number in done if not users[number] <= done)
            for number, sources in enumerate(inputs):
                if number not in done and done.issuperset(sources):
                    now = done | {number}
                    demand = demands[number]
                    freed = sum(demands[source].output for source in sources if users[source] <= now)
                    if len(sources) == 1 and not freed:
                        peak = live + demand.running_kept
                    else:
                        merge = demand.merged if len(sources) > 1 else 0
                        peak = max(live + merge, live - freed + demand.running)
                    after[now] = min(after.get(now, 2**60), max(highest, peak))
        level = after
    (least,) = level.values()
    return least


@given(st.integers(2, 8), st.integers(0, 2**32))
def test_a_small_graph_gets_an_order_with_the_lowest_peak(nodes: int, seed: int) -> None:
    inputs, demands = random_graph(nodes, np.random.default_rng(seed))
    order = best_schedule(inputs, demands)
    assert is_order(order, inputs)
    least = min(peak_of(other, inputs, demands) for other in all_orders(inputs))
    assert peak_of(order, inputs, demands) == least == least_peak(inputs, demands)


@pytest.mark.parametrize("small", [0, schedule.SMALL])
def test_graphs_of_graphs_get_an_order_with_the_lowest_peak(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without contracted regions whose entry is read from outside; the given order is often worse."""
    monkeypatch.setattr(schedule, "SMALL", small)
    better = 0
    for seed in range(60):
        inputs, demands = nested_graph(np.random.default_rng(seed))
        order = best_schedule(inputs, demands)
        assert is_order(order, inputs)
        assert peak_of(order, inputs, demands) == least_peak(inputs, demands)
        better += peak_of(order, inputs, demands) < max(node_peaks(inputs, demands))
    assert better > 10


@pytest.mark.parametrize("seed", [1349, 2126])
def test_a_cell_that_failed_under_a_low_bound_is_tried_again_under_a_higher_one(seed: int) -> None:
    inputs, demands = nested_graph(np.random.default_rng(seed), cells=4, nodes=8, probability=0.35)
    assert len(inputs) > schedule.SMALL
    assert peak_of(best_schedule(inputs, demands), inputs, demands) == least_peak(inputs, demands)


def test_cells_with_a_small_waist_are_interleaved() -> None:
    """Both large entries before either large exit: 34 elements instead of 42 for one cell after the other."""
    entry, waist, exit_, end = Demand(30, 1, 31, 30), Demand(1, 30, 31, 1), Demand(10, 1, 10, 10), Demand(1, 0, 11, 11)
    inputs: Inputs = [(), (0,), (1,), (1,), (2, 3), (0,), (5,), (5,), (6, 7), (4, 8)]
    demands = [Demand(1, 0, 1, 1), entry, waist, waist, exit_, entry, waist, waist, exit_, end]
    assert max(node_peaks(inputs, demands)) == 42
    assert peak_of(best_schedule(inputs, demands), inputs, demands) == least_peak(inputs, demands) == 34


def test_an_outside_reader_of_an_entry_may_run_inside_the_cell() -> None:
    """It frees the entry and adds less: too late for the cell's first peak, but before its second one."""
    source, plain = Demand(2, 0, 2, 2), Demand(2, 2, 4, 2)
    first, second, reader = Demand(2, 6, 2, 2), Demand(2, 5, 2, 2), Demand(1, 2, 3, 1)
    inputs: Inputs = [(), (0,), (0, 1), (1, 2), (2, 3), (0,), (4, 5)]
    demands = [source, plain, first, second, Demand(2, 2, 2, 2), reader, plain]
    order = best_schedule(inputs, demands)
    assert order == [0, 1, 2, 5, 3, 4, 6]
    assert peak_of(order, inputs, demands) == least_peak(inputs, demands) == 10


def test_all_operations_satisfy_what_the_search_relies_on() -> None:
    """`running_kept <= running <= running_kept + input`; the search relies on it."""
    seen: set[str] = set()
    for operation, size, channels, stride in product(OPERATIONS, (1, 7), (4, 8, 16), (1, 2)):
        with suppress(SpaceError):  # the operation cannot change channels or stride, or takes vectors only
            step = profile(operation, (8, size, size), channels, stride)
            assert step.running_kept <= step.running <= step.running_kept + 8 * size * size
            seen.add(operation)
    assert seen == set(OPERATIONS)


def test_a_search_that_is_cut_short_gives_an_order_no_worse_than_the_given_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "VISITS", 0)
    peaks: set[bool] = set()
    for seed in range(40):
        inputs, demands = random_graph(16, np.random.default_rng(seed))
        order = best_schedule(inputs, demands)
        assert is_order(order, inputs)
        assert peak_of(order, inputs, demands) <= max(node_peaks(inputs, demands))
        peaks.add(peak_of(order, inputs, demands) == least_peak(inputs, demands))
    assert peaks == {True, False}


def test_deeply_nested_skip_connections_do_not_exhaust_the_stack() -> None:
    """Each level has a skip connection around all inner levels."""
    levels = 400
    down = [(number,) for number in range(levels)]
    up = [(levels + number, levels - number - 1) for number in range(levels)]
    inputs: Inputs = [(), *down, *up]
    order = best_schedule(inputs, [CONVOLUTION] * len(inputs))
    assert is_order(order, inputs)
    assert peak_of(order, inputs, [CONVOLUTION] * len(inputs)) <= max(node_peaks(inputs, [CONVOLUTION] * len(inputs)))


@pytest.mark.parametrize("nodes", [20, 60, 200])
def test_a_large_graph_gets_an_order_no_worse_than_the_given_one(nodes: int) -> None:
    for seed in range(10):
        inputs, demands = random_graph(nodes, np.random.default_rng(seed))
        order = best_schedule(inputs, demands)
        assert is_order(order, inputs)
        assert (order[0], order[-1]) == (0, nodes - 1)
        assert peak_of(order, inputs, demands) <= max(node_peaks(inputs, demands))
