import sys
from typing import Any

import networkx as nx
import numpy as np
import pytest

from search_spaces.design.budget import Budget
from search_spaces.design.space import Parameters
from search_spaces.errors import SpaceError
from search_spaces.spaces.networkx_graphs import GENERATORS, NetworkxGraphs


def single(generator: str, **options: Any) -> NetworkxGraphs:
    return NetworkxGraphs(generator=generator, **options)


def undirected(space: NetworkxGraphs, parameters: Parameters, nodes: int, seed: int) -> Any:
    dag = space.graph(space.complete(parameters), nodes, np.random.default_rng(seed))
    graph: Any = nx.Graph(dag.edges)
    graph.add_nodes_from(range(dag.nodes))
    return graph


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_stage_is_connected_has_all_nodes_and_is_the_same_for_the_same_seed(generator: str) -> None:
    space, rng = single(generator), np.random.default_rng(0)
    for seed in range(10):
        parameters = space.random_parameters(rng)
        for nodes in (16, 33):
            graph = undirected(space, parameters, nodes, seed)
            assert sorted(graph) == list(range(nodes))
            assert nx.is_connected(graph)
            assert nx.utils.graphs_equal(graph, undirected(space, parameters, nodes, seed))


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("end", [0, 1])
def test_the_smallest_and_the_largest_legal_values_can_be_drawn(generator: str, end: int) -> None:
    own = {name: each for name, each in NetworkxGraphs.dimensions.items() if each.values == (generator,)}
    values = {name: min(each.legal[end], 16) for name, each in own.items()}
    assert nx.is_connected(undirected(single(generator, **values), {}, 32, 0))


@pytest.mark.parametrize(
    ("generator", "parameters"),
    [
        ("barabasi_albert_graph", {"m": 3}),
        ("newman_watts_strogatz_graph", {"k": 4, "p": 0.5}),
        ("random_regular_graph", {"d": 4}),
        ("watts_strogatz_graph", {"k": 4, "p": 0.25}),
        ("erdos_renyi_graph", {"p": 0.75}),
    ],
)
def test_a_connected_draw_is_that_of_networkx(generator: str, parameters: dict[str, float]) -> None:
    prefix = generator.removesuffix("_graph")
    space = single(generator, **{f"{prefix}_{name}": value for name, value in parameters.items()})
    drawn = getattr(nx, generator)(n=20, **parameters, seed=np.random.default_rng(3))
    assert nx.is_connected(drawn)
    assert nx.utils.edges_equal(undirected(space, {}, 20, 3).edges, drawn.edges)


def test_communities_are_of_equal_size_and_numbered_one_after_another() -> None:
    space = single("random_partition_graph", random_partition_communities=3, random_partition_p_in=1)
    graph = undirected(space, {"random_partition_p_out": 0.02}, 17, 0)
    for community in (range(6), range(6, 12), range(12, 17)):
        assert graph.subgraph(community).size() == len(community) * (len(community) - 1) / 2


def test_descriptions_are_the_calls_of_networkx() -> None:
    family: Parameters = {"generator": "watts_strogatz_graph", "watts_strogatz_k": 4, "watts_strogatz_p": 0.75}
    assert NetworkxGraphs().describe(family) == "watts_strogatz_graph(32, k=4, p=0.75)"
    ring = single("watts_strogatz_graph", watts_strogatz_p=0)
    assert ring.describe({"watts_strogatz_k": 4}) == "watts_strogatz_graph(32, k=4, p=0): one member"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"generator": "erdos_renyi"}, "Did you mean 'erdos_renyi_graph'"),
        ({"nodes": 5}, r"6 \(regular: 12\) <= nodes <= 1000` must hold, but got 5"),
        (
            {"nodes": 10, "generator": "random_regular_graph"},
            "half of the 10 nodes of a stage.*random_regular_d up to 8",
        ),
        ({"nodes": 20, "regime": "regular"}, "half of the 10 nodes of a stage.*barabasi_albert_m up to 7"),
        ({"nodes": 12, "barabasi_albert_m": 7}, "barabasi_albert_m up to 7"),
        ({"watts_strogatz_k": 3}, "2 plus a multiple of 2"),
        ({"duplication_divergence_p": 0.01}, r"0\.05 <= low"),
    ],
)
def test_impossible_options_are_rejected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        NetworkxGraphs(**options)


def test_numbers_of_other_generators_do_not_matter() -> None:
    assert NetworkxGraphs(nodes=8, generator=("erdos_renyi_graph", "waxman_graph"))
    assert NetworkxGraphs(nodes=8, generator="waxman_graph", barabasi_albert_m=7)


def test_without_networkx_the_space_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(SpaceError, match=r"Space 'networkx' needs networkx: pip install 'autokd\[networkx\]'"):
        NetworkxGraphs()


def test_stages_are_those_of_randwire() -> None:
    drawn = single("random_regular_graph", nodes=8, random_regular_d=2).sample(
        {}, Budget(params=20_000), (1, 28, 28), 10, np.random.default_rng(0)
    )
    nodes = [node for node in drawn.nodes if "_node" in node.name]
    assert len(nodes) == 3 * 8
    assert {node.stage: node.channels for node in nodes}[2] >= 2 * {node.stage: node.channels for node in nodes}[0]
