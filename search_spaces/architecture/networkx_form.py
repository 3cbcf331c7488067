"""The stored form of an architecture as a graph of networkx, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search_spaces.architecture.operations import INPUT, known_operation
from search_spaces.errors import SpaceError, needs

if TYPE_CHECKING:
    from networkx import DiGraph

__all__ = ["from_graph", "to_graph"]

REQUIRED = ("operation", "channels")
"""Attributes that every node of a graph must have."""


def to_graph(data: Mapping[str, Any], further: Sequence[Mapping[str, Any]]) -> DiGraph[int]:
    """Graph with the fields of a stored architecture as attributes; nodes are numbered as there.

    Args:
        data: Result of `Architecture.to_dict`.
        further: More attributes of each node.

    Raises:
        SpaceError: If networkx is not installed.
    """
    with needs("A graph of networkx", "networkx", "networkx"):
        import networkx as nx
    graph: DiGraph[int] = nx.DiGraph(**{key: value for key, value in data.items() if key != "nodes"})
    for number, (node, more) in enumerate(zip(data["nodes"], further, strict=True)):
        graph.add_node(number, **{key: value for key, value in node.items() if key != "inputs"}, **more)
        for position, source in enumerate(node["inputs"]):
            graph.add_edge(source, number, position=position)
    return graph


def from_graph(graph: DiGraph[Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A form that `Architecture.from_dict` reads, without `schema` and `space` where the graph has none.

    Args:
        graph: Graph with the attributes that `to_graph` writes.
        defaults: Values of node attributes that may be missing.

    Raises:
        SpaceError: If networkx is not installed, the graph is not directed or has a cycle, or an attribute is missing,
            an operation unknown or the order of inputs open.
    """
    order = _execution_order(graph)
    number = {label: place for place, label in enumerate(order)}
    nodes = []
    for label in order:
        attributes = {**defaults, **graph.nodes[label]}
        _check(label, attributes)
        inputs = [number[source] for source in _sources(graph, label)]
        nodes.append({"inputs": inputs} | {key: attributes[key] for key in (*REQUIRED, *defaults)})
    for key in ("input_shape", "classes"):
        if key not in graph.graph:
            raise SpaceError(f"The graph must have the attribute `{key}`, but has {sorted(map(str, graph.graph))}.")
    given = {key: graph.graph[key] for key in ("schema", "space", "input_shape", "classes") if key in graph.graph}
    return given | {"nodes": nodes}


def _execution_order(graph: DiGraph[Any]) -> list[Any]:
    """The nodes in the order in which they were added, as far as their inputs come first."""
    with needs("A graph of networkx", "networkx", "networkx"):
        import networkx as nx
    if not isinstance(graph, nx.DiGraph) or graph.is_multigraph():
        raise SpaceError(f"The graph must be a networkx.DiGraph, but is a {type(graph).__name__}.")
    added = {label: place for place, label in enumerate(graph)}
    try:
        return list(nx.lexicographical_topological_sort(graph, key=added.__getitem__))
    except nx.NetworkXUnfeasible:
        cycle = " -> ".join(repr(start) for start, _ in nx.find_cycle(graph))
        raise SpaceError(f"The graph must not have a cycle, but has one of the nodes {cycle}.") from None


def _check(label: Any, attributes: Mapping[str, Any]) -> None:
    for key in REQUIRED:
        if key not in attributes:
            raise SpaceError(f"Every node must have the attribute `{key}`, but node {label!r} has none.")
    if attributes["operation"] != INPUT:
        try:
            known_operation(str(attributes["operation"]))
        except SpaceError as error:
            raise SpaceError(f"Node {label!r}: {error}") from None


def _sources(graph: DiGraph[Any], label: Any) -> list[Any]:
    """The inputs of a node in their order."""
    position: dict[Any, Any] = {
        source: graph.edges[source, label].get("position") for source in graph.predecessors(label)
    }
    if len(position) == 1:
        return list(position)
    places = list(position.values())
    if not all(isinstance(place, int) for place in places) or len(set(places)) < len(places):
        raise SpaceError(
            f"The edges to a node must have different whole numbers as `position`, but those to node {label!r} have "
            f"{places}."
        )
    return sorted(position, key=position.__getitem__)
