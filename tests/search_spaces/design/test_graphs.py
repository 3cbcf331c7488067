from collections import Counter
from collections.abc import Callable
from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.design.graphs import Dag, barabasi_albert, erdos_renyi, watts_strogatz
from search_spaces.errors import SpaceError

SEEDS = st.integers(0, 2**32)


def check(dag: Dag) -> None:
    """Assert that the graph is connected, and that its edges are sorted, ascending (hence acyclic) and distinct."""
    graph = nx.Graph(dag.edges)
    graph.add_nodes_from(range(dag.nodes))
    assert nx.is_connected(graph)
    assert list(dag.edges) == sorted(set(dag.edges))
    assert all(0 <= start < end < dag.nodes for start, end in dag.edges)


@given(st.integers(1, 40), st.floats(0, 1), SEEDS)
def test_erdos_renyi_is_connected_and_reproducible(nodes: int, probability: float, seed: int) -> None:
    dag = erdos_renyi(nodes, probability, np.random.default_rng(seed))
    check(dag)
    assert dag == erdos_renyi(nodes, probability, np.random.default_rng(seed))


@given(st.integers(2, 40), st.data(), SEEDS)
def test_barabasi_albert_is_connected_with_the_exact_number_of_edges(
    nodes: int, data: st.DataObject, seed: int
) -> None:
    edges = data.draw(st.integers(1, nodes - 1))
    dag = barabasi_albert(nodes, edges, np.random.default_rng(seed))
    check(dag)
    assert len(dag.edges) == edges * (nodes - edges)
    assert dag.sources == tuple(range(edges))
    assert set(dag.predecessors[edges]) == set(range(edges))


@given(st.integers(1, 40), st.sampled_from([2, 4, 6, 8]), st.floats(0, 1), SEEDS)
def test_watts_strogatz_is_connected_and_keeps_its_edges(nodes: int, k: int, probability: float, seed: int) -> None:
    dag = watts_strogatz(nodes, k, probability, np.random.default_rng(seed))
    check(dag)
    if nodes <= k + 1:
        assert dag.edges == tuple(combinations(range(nodes), 2))
    else:
        assert len(dag.edges) >= nodes * k // 2  # repair may add some


@pytest.mark.parametrize(("nodes", "k"), [(6, 2), (7, 4), (20, 6)])
def test_watts_strogatz_without_rewiring_is_the_ring_of_networkx(nodes: int, k: int) -> None:
    ring = nx.watts_strogatz_graph(nodes, k, 0)
    expected = tuple(sorted((min(edge), max(edge)) for edge in ring.edges))
    assert watts_strogatz(nodes, k, 0, np.random.default_rng(0)).edges == expected


def test_watts_strogatz_rewires_the_given_share_of_edges() -> None:
    rng = np.random.default_rng(0)
    ring = set(watts_strogatz(40, 4, 0, rng).edges)
    moved = [len(ring - set(watts_strogatz(40, 4, 0.3, rng).edges)) / len(ring) for _ in range(300)]
    # A moved edge may come back as another one: 80 edges among 780 pairs.
    assert np.mean(moved) == pytest.approx(0.3 * (1 - 0.3 * 80 / 780), abs=0.015)


def test_erdos_renyi_has_the_given_share_of_edges() -> None:
    rng = np.random.default_rng(0)
    shares = [len(erdos_renyi(30, 0.5, rng).edges) / (30 * 29 / 2) for _ in range(300)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.01)


def test_barabasi_albert_prefers_high_degrees_like_networkx() -> None:
    rng = np.random.default_rng(0)

    def tail(edges: list[tuple[int, int]]) -> int:
        return max(Counter(node for edge in edges for node in edge).values())

    ours = np.mean([tail(list(barabasi_albert(30, 2, rng).edges)) for _ in range(400)])
    # This star is what the isolated nodes and the first new node form, so both grow from the same graph.
    theirs = np.mean(
        [tail(list(nx.barabasi_albert_graph(30, 2, seed=s, initial_graph=nx.star_graph(2)).edges)) for s in range(400)]
    )
    assert ours == pytest.approx(theirs, rel=0.05)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda rng: watts_strogatz(24, 4, 0.4, rng), lambda rng: nx.watts_strogatz_graph(24, 4, 0.4, seed=rng)),
        (lambda rng: erdos_renyi(24, 0.4, rng), lambda rng: nx.erdos_renyi_graph(24, 0.4, seed=rng)),
        (
            lambda rng: barabasi_albert(24, 3, rng),
            lambda rng: nx.barabasi_albert_graph(24, 3, seed=rng, initial_graph=nx.star_graph(3)),
        ),
    ],
)
def test_draws_are_distributed_like_those_of_networkx(
    ours: Callable[[np.random.Generator], Dag], theirs: Callable[[np.random.Generator], "nx.Graph[int]"]
) -> None:
    """Means of three statistics within four standard errors: variance of degrees, transitivity, longest path."""
    rng = np.random.default_rng(0)
    mine = np.array([statistics(nx.Graph(ours(rng).edges)) for _ in range(200)])
    other = np.array([statistics(theirs(rng)) for _ in range(200)])
    error = np.sqrt((mine.var(0) + other.var(0)) / 200)
    assert np.all(np.abs(mine.mean(0) - other.mean(0)) < 4 * error)


def statistics(graph: "nx.Graph[int]") -> tuple[float, float, int]:
    dag = nx.DiGraph((min(edge), max(edge)) for edge in graph.edges)
    degrees = [degree for _, degree in graph.degree]
    return float(np.var(degrees)), nx.transitivity(graph), nx.dag_longest_path_length(dag)


def test_disconnected_draws_are_repaired_with_one_edge_for_each_further_component() -> None:
    """With a probability of 0.1 and ten nodes, most plain draws are not connected."""
    broken = 0
    for seed in range(500):
        plain = np.random.default_rng(seed).random(45) < 0.1
        graph = nx.Graph([pair for pair, keep in zip(combinations(range(10), 2), plain, strict=True) if keep])
        graph.add_nodes_from(range(10))
        components = nx.number_connected_components(graph)
        broken += components > 1
        dag = erdos_renyi(10, 0.1, np.random.default_rng(seed))
        check(dag)
        assert len(dag.edges) == graph.number_of_edges() + components - 1
    assert broken > 250


def test_draws_from_one_generator_differ() -> None:
    """A generator seeded again for each draw would always return the same graph."""
    rng = np.random.default_rng(0)
    assert len({watts_strogatz(32, 4, 0.75, rng) for _ in range(100)}) == 100


def test_sources_sinks_and_predecessors() -> None:
    dag = Dag(4, ((0, 2), (1, 2), (1, 3)))
    assert (dag.sources, dag.sinks) == ((0, 1), (2, 3))
    assert dag.predecessors == ((), (), (0, 1), (1,))


@pytest.mark.parametrize("neighbours", [0, 1, 3, 5])
def test_odd_neighbours_are_rejected(neighbours: int) -> None:
    """Halving would make 2 and 3 the same family."""
    with pytest.raises(SpaceError, match="even and >= 2"):
        watts_strogatz(8, neighbours, 0.5, np.random.default_rng(0))


def test_impossible_arguments_are_rejected() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(SpaceError, match="nodes >= 1"):
        erdos_renyi(0, 0.5, rng)
    with pytest.raises(SpaceError, match="probability"):
        erdos_renyi(3, 1.5, rng)
    with pytest.raises(SpaceError, match="edges < nodes"):
        barabasi_albert(3, 3, rng)
