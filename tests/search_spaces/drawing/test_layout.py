from itertools import combinations, pairwise

import networkx as nx
import numpy as np
import pytest
from sklearn.isotonic import isotonic_regression

from search_spaces.architecture.format import Architecture
from search_spaces.design.budget import Budget
from search_spaces.design.space import Space
from search_spaces.drawing.layout import apart, crossings_of, lay_out, rows_of
from search_spaces.spaces.nago import Nago
from search_spaces.spaces.randwire import RandWire


def sample(space: Space) -> Architecture:
    return space.sample({}, Budget(params=500_000), (1, 28, 28), 10, np.random.default_rng(0))


ARCHITECTURES = {
    "nago": sample(
        Nago(
            top_nodes=8,
            top_neighbours=2,
            top_probability=0.9,
            middle_nodes=2,
            middle_probability=0.5,
            bottom_nodes=5,
            bottom_neighbours=4,
            bottom_probability=0.5,
        )
    ),
    "randwire": sample(RandWire(generator="ws", ws_neighbours=4, ws_probability=0.75)),
    "dense": sample(RandWire(generator="er", er_probability=0.3)),
}
each = pytest.mark.parametrize("name", ARCHITECTURES)


@each
def test_every_edge_is_a_path_of_steps_from_its_node_to_its_reader(name: str) -> None:
    architecture = ARCHITECTURES[name]
    steps = lay_out(architecture, [1.0] * len(architecture.nodes)).steps
    ways = nx.DiGraph(steps)
    levels = architecture.levels()
    reached = {
        (number, end[0])
        for number, level in enumerate(levels)
        for point in {(number, later) for later in range(level, max(levels) + 1)} & set(ways)
        for end in ways.succ[point]
        if end[0] != number
    }
    assert reached == {(source, reader) for reader, node in enumerate(architecture.nodes) for source in node.inputs}
    assert all(end[1] == start[1] + 1 for start, end in steps)
    assert all((n, k - 1) in ways.pred[n, k] for n, k in ways if k > levels[n])


@pytest.mark.parametrize(("name", "share"), [("nago", 0.5), ("randwire", 0.7), ("dense", 0.7)])
def test_sweeps_leave_far_fewer_crossings_than_the_order_of_the_nodes(name: str, share: float) -> None:
    architecture = ARCHITECTURES[name]
    layout = lay_out(architecture, [1.0] * len(architecture.nodes))
    graph = nx.DiGraph(layout.steps)
    plain = rows_of(graph)
    swept = [sorted(row, key=lambda point: layout.places[point]) for row in plain]
    assert crossings_of(graph, swept) < share * crossings_of(graph, plain)


def test_crossings_equal_those_counted_over_all_pairs() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        rows = [[(int(n), level) for n in rng.permutation(rng.integers(1, 9))] for level in range(3)]
        steps = [(a, b) for above, below in pairwise(rows) for a in above for b in below if rng.random() < 0.5]
        graph = nx.DiGraph(steps)
        graph.add_nodes_from(point for row in rows for point in row)
        at = {point: place for row in rows for place, point in enumerate(row)}
        pairs = [(p, q) for p, q in combinations(steps, 2) if p[0][1] == q[0][1]]
        crossed = sum((at[p[0]] - at[q[0]]) * (at[p[1]] - at[q[1]]) < 0 for p, q in pairs)
        assert crossings_of(graph, rows) == crossed


def test_apart_equals_the_isotonic_regression_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        n = int(rng.integers(1, 12))
        wanted, weights, gaps = rng.normal(size=n), rng.uniform(0.5, 5, n), rng.uniform(0, 1, n - 1)
        offsets = np.concatenate([[0], np.cumsum(gaps)])
        theirs = isotonic_regression(wanted - offsets, sample_weight=weights) + offsets
        assert apart(wanted.tolist(), weights.tolist(), gaps.tolist()) == pytest.approx(theirs)
