import itertools

import networkx as nx
import pytest
from cells import cell_features

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ("1<0", "2<0", "2<1", "3<0", "3<1", "3<2")
CELLS = [dict(zip(EDGES, c, strict=True)) for c in list(itertools.product(OPERATIONS, repeat=6))[::97]]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "|".join(cell.values()))
def test_features_are_those_of_the_graph_that_paths_reach(cell: dict[str, str]) -> None:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(4))
    for edge, name in cell.items():
        if name != "none":
            end, start = map(int, edge.split("<"))
            graph.add_edge(start, end, name=name, depth=int("conv" in name))
    paths = list(nx.all_simple_edge_paths(graph, 0, 3))
    reached = [graph.edges[edge]["name"] for edge in {edge for path in paths for edge in path}]
    depths = [sum(graph.edges[edge]["depth"] for edge in path) for path in paths] or [-1]
    counts = [reached.count(name) for name in ("nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3", "skip_connect")]
    assert list(cell_features(cell)) == [*counts, max(depths), min(depths), len(paths)]
