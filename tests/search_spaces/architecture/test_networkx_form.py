import json
import sys
from functools import cache
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autokd.recipes.teachers import digits
from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture, Node
from search_spaces.design.budget import Budget
from search_spaces.design.registry import known_spaces, space
from search_spaces.design.space import Space
from search_spaces.errors import BudgetError, SpaceError
from search_spaces.networks.traced import trace

NODES = (
    Node("input", (), 1, name="image"),
    Node("conv3x3_bn", (0,), 4, stride=2, name="stem"),
    Node("relu_conv3x3_bn", (1,), 3, stage=1),
    Node("identity", (2, 1), 7, merge="concat"),
    Node("classifier", (3,), 3),
)
ARCHITECTURE = Architecture((1, 9, 8), 3, NODES, "mine")


@cache
def searchable(name: str) -> Space:
    found = space(name)
    return found.with_teacher(trace(digits(), torch.randn(2, 1, 8, 8)).architecture) if found.needs_teacher else found


@pytest.mark.parametrize("name", known_spaces())
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_draw_of_every_space_comes_back_from_its_graph(name: str, seed: int) -> None:
    searched, rng = searchable(name), np.random.default_rng(seed)
    try:
        drawn = searched.sample(searched.random_parameters(rng), Budget(params=100_000), (1, 8, 8), 10, rng)
    except BudgetError:  # a draw that does not fit
        return
    graph = drawn.to_networkx()
    attributes = [attributes for _, attributes in graph.nodes(data=True)]
    assert Architecture.from_networkx(graph).to_json() == drawn.to_json()
    assert sum(each["params"] for each in attributes) == cost(drawn).params
    assert sum(each["macs"] for each in attributes) == cost(drawn).macs
    assert nx.dag_longest_path_length(graph) == drawn.levels()[-1]


def test_the_graph_has_everything_that_the_architecture_has() -> None:
    graph = ARCHITECTURE.to_networkx()
    assert graph.graph == {"schema": 1, "space": "mine", "input_shape": [1, 9, 8], "classes": 3}
    assert list(graph.edges(data="position")) == [(0, 1, 0), (1, 2, 0), (1, 3, 1), (2, 3, 0), (3, 4, 0)]
    expected = {"operation": "conv3x3_bn", "channels": 4, "stride": 2, "merge": "none", "stage": 0, "name": "stem"}
    assert graph.nodes[1] == expected | {"shape": (4, 5, 4), "params": 4 * 9 + 8, "macs": 4 * 9 * 20}


def test_a_graph_that_networkx_stored_as_json_comes_back() -> None:
    text = json.dumps(nx.node_link_data(ARCHITECTURE.to_networkx(), edges="edges"))
    stored: Any = nx.node_link_graph(json.loads(text), edges="edges")
    assert Architecture.from_networkx(stored) == ARCHITECTURE


def test_a_graph_may_be_built_by_hand_with_labels_of_any_kind_and_nodes_in_any_order() -> None:
    graph: nx.DiGraph[object] = nx.DiGraph(input_shape=(1, 9, 8), classes=3)
    graph.add_node("end", operation="classifier", channels=3, colour="red")
    graph.add_node(("image",), operation="input", channels=1)
    graph.add_node(7, operation="conv3x3_bn", channels=4, stride=2)
    nx.add_path(graph, [("image",), 7, "end"])
    nodes = (Node("input", (), 1), Node("conv3x3_bn", (0,), 4, 2), Node("classifier", (1,), 3))
    assert Architecture.from_networkx(graph) == Architecture((1, 9, 8), 3, nodes)


def test_a_node_that_is_put_between_two_others_runs_between_them() -> None:
    graph: Any = ARCHITECTURE.to_networkx()
    graph.remove_edge(3, 4)
    graph.add_node("new", operation="relu", channels=7)
    nx.add_path(graph, [3, "new", 4])
    nodes = (*NODES[:4], Node("relu", (3,), 7), Node("classifier", (4,), 3))
    assert Architecture.from_networkx(graph).nodes == nodes


def loop(graph: Any) -> None:
    graph.add_edge(3, 2)


def unordered(graph: Any) -> None:
    del graph.edges[1, 3]["position"]


def ambiguous(graph: Any) -> None:
    graph.edges[1, 3]["position"] = 0


def without_operation(graph: Any) -> None:
    del graph.nodes[2]["operation"]


def without_channels(graph: Any) -> None:
    graph.add_edge(2, "new")


def unknown_operation(graph: Any) -> None:
    graph.nodes[2]["operation"] = "conv9by9"


def impossible(graph: Any) -> None:
    graph.nodes[3]["channels"] = 8


def without_classes(graph: Any) -> None:
    del graph.graph["classes"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (loop, "has one of the nodes 2 -> 3"),
        (unordered, r"position`, but those to node 3 have \[None, 0\]|position`, but those to node 3 have \[0, None\]"),
        (ambiguous, r"different whole numbers as `position`, but those to node 3 have \[0, 0\]"),
        (without_operation, "attribute `operation`, but node 2 has none"),
        (without_channels, "attribute `operation`, but node 'new' has none"),
        (unknown_operation, "^Node 2: Unknown operation 'conv9by9'"),
        (impossible, "^Node 3: `identity`"),
        (without_classes, "attribute `classes`"),
    ],
)
def test_a_graph_that_is_no_architecture_is_one_error_that_names_the_node(change: Any, message: str) -> None:
    graph = ARCHITECTURE.to_networkx()
    change(graph)
    with pytest.raises(SpaceError, match=message):
        Architecture.from_networkx(graph)


@pytest.mark.parametrize("kind", [nx.Graph, nx.MultiDiGraph])
def test_other_kinds_of_graphs_are_rejected(kind: Any) -> None:
    with pytest.raises(SpaceError, match=rf"must be a networkx\.DiGraph, but is a {kind.__name__}"):
        Architecture.from_networkx(kind(ARCHITECTURE.to_networkx()))


def test_without_networkx_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(SpaceError, match=r"A graph of networkx needs networkx: pip install 'autokd\[networkx\]'"):
        ARCHITECTURE.to_networkx()
