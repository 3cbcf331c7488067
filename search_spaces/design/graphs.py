"""Random directed acyclic graphs: Erdos-Renyi, Barabasi-Albert, Watts-Strogatz.

Each is drawn as an undirected graph, whose edges are then directed from the smaller to the larger node, so that there
are no cycles. A draw that is not connected is repaired instead of drawn again [ours]: its components, in the order of
their smallest nodes, are each joined to those before by one edge between two uniformly drawn nodes. Therefore every
draw ends, and has exactly `components - 1` edges more than the plain definition.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, compress

import numpy as np

from search_spaces.errors import SpaceError

__all__ = ["Dag", "barabasi_albert", "connected", "erdos_renyi", "watts_strogatz"]

Edge = tuple[int, int]


@dataclass(frozen=True)
class Dag:
    """A directed acyclic graph of `nodes` nodes, numbered from 0, with sorted edges from smaller to larger numbers."""

    nodes: int
    edges: tuple[Edge, ...]

    @cached_property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """For each node, the nodes with an edge to it, ascending."""
        before: list[list[int]] = [[] for _ in range(self.nodes)]
        for start, end in self.edges:
            before[end].append(start)
        return tuple(map(tuple, before))

    @cached_property
    def sources(self) -> tuple[int, ...]:
        """Nodes without predecessors."""
        return tuple(node for node, before in enumerate(self.predecessors) if not before)

    @cached_property
    def sinks(self) -> tuple[int, ...]:
        """Nodes without successors."""
        inner = {start for start, _ in self.edges}
        return tuple(node for node in range(self.nodes) if node not in inner)


def erdos_renyi(nodes: int, probability: float, rng: np.random.Generator) -> Dag:
    """A random graph in which each pair of nodes is an edge with the same probability.

    Erdos and Renyi 1959. All orders of the nodes are equally likely by symmetry, so none is drawn. Below a probability
    of `ln(nodes) / nodes` most draws are not connected and are repaired.

    Args:
        nodes: Number of nodes.
        probability: Probability of each edge.
        rng: Source of randomness.

    Raises:
        SpaceError: If `nodes < 1` or `probability` is outside [0, 1].
    """
    _check(nodes, probability)
    pairs = list(combinations(range(nodes), 2))
    chosen = (rng.random(len(pairs)) < probability).tolist()
    return connected(nodes, set(compress(pairs, chosen)), rng)


def barabasi_albert(nodes: int, edges: int, rng: np.random.Generator) -> Dag:
    """A graph grown by preferential attachment: new nodes join earlier ones with a probability that grows with degree.

    Barabasi and Albert 1999. The graph starts from `edges` isolated nodes, all of which the first new node joins; nodes
    are numbered in the order of insertion.

    Args:
        nodes: Number of nodes.
        edges: Number of edges that each new node adds, to different nodes.
        rng: Source of randomness.

    Raises:
        SpaceError: If `1 <= edges < nodes` does not hold.
    """
    if not 1 <= edges < nodes:
        raise SpaceError(f"`1 <= edges < nodes` must hold, but got {edges=}, {nodes=}.")
    chosen: set[Edge] = set()
    ends: list[int] = []  # every node as often as its degree, so a uniform draw prefers high degrees
    targets = set(range(edges))
    for new in range(edges, nodes):
        chosen.update((target, new) for target in targets)
        ends += [*sorted(targets), *[new] * edges]
        targets = set()
        while len(targets) < edges:
            targets.add(ends[int(rng.integers(len(ends)))])
    return Dag(nodes, tuple(sorted(chosen)))


def watts_strogatz(nodes: int, neighbours: int, probability: float, rng: np.random.Generator) -> Dag:
    """A ring in which each node is joined to its nearest neighbours, with edges rewired at random.

    Watts and Strogatz 1998. Edges are visited clockwise, first those to the next neighbours, then those to the second
    next, and so on. A rewired edge keeps its first node and gets a second one that is drawn uniformly from the nodes
    that the first is not yet joined to; if there are none, the edge stays. Nodes are numbered clockwise. With
    `nodes <= neighbours + 1` the graph is complete, whatever the probability.

    Args:
        nodes: Number of nodes.
        neighbours: Number of neighbours of each node before rewiring, half of them each way round the ring.
        probability: Probability with which each edge is rewired.
        rng: Source of randomness.

    Raises:
        SpaceError: If `nodes < 1`, `neighbours` is odd or < 2, or `probability` is outside [0, 1].
    """
    _check(nodes, probability)
    if neighbours < 2 or neighbours % 2:
        raise SpaceError(f"`neighbours` must be even and >= 2 (half each way round the ring), but got {neighbours=}.")
    if nodes <= neighbours + 1:
        return Dag(nodes, tuple(combinations(range(nodes), 2)))
    ring = [(node, (node + step) % nodes) for step in range(1, neighbours // 2 + 1) for node in range(nodes)]
    every_node = set(range(nodes))
    joined: list[set[int]] = [{node} for node in range(nodes)]
    for start, end in ring:
        joined[start].add(end)
        joined[end].add(start)
    rewired = (rng.random(len(ring)) < probability).tolist()
    for start, end in compress(ring, rewired):
        candidates = sorted(every_node - joined[start])
        if candidates:
            new = candidates[int(rng.integers(len(candidates)))]
            joined[start].remove(end)
            joined[end].remove(start)
            joined[start].add(new)
            joined[new].add(start)
    return connected(nodes, {(start, end) for start in range(nodes) for end in joined[start] if start < end}, rng)


def connected(nodes: int, edges: set[Edge], rng: np.random.Generator) -> Dag:
    """A graph with these edges, repaired if it is not connected.

    Args:
        nodes: Number of nodes.
        edges: Edges from smaller to larger nodes.
        rng: Source of randomness.
    """
    first, *others = _components(nodes, edges)
    further = set[Edge]()
    for component in others:
        ends = (first[int(rng.integers(len(first)))], component[int(rng.integers(len(component)))])
        further.add((min(ends), max(ends)))
        first += component
    return Dag(nodes, tuple(sorted(edges | further)))


def _check(nodes: int, probability: float) -> None:
    if nodes < 1:
        raise SpaceError(f"`nodes >= 1` must hold, but got {nodes=}.")
    if not 0 <= probability <= 1:
        raise SpaceError(f"`0 <= probability <= 1` must hold, but got {probability=}.")


def _components(nodes: int, edges: set[Edge]) -> list[list[int]]:
    """The connected components, sorted, with that of node 0 first."""
    component_of = [[node] for node in range(nodes)]
    for start, end in edges:
        component, other = component_of[start], component_of[end]
        if component is not other:
            component += other
            if len(component) == nodes:
                return [list(range(nodes))]
            for node in other:
                component_of[node] = component
    return sorted(sorted(component) for node, component in enumerate(component_of) if min(component) == node)
