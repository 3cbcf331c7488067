"""Random directed acyclic graphs: Erdos-Renyi, Barabasi-Albert, Watts-Strogatz.

Each is drawn as an undirected graph; every edge then points from the smaller to the larger number, so no cycle can
arise. A draw that falls apart is repaired, never drawn again: the pieces, in the order of their smallest nodes, are
tied to what is already together by one edge each, between two nodes that the generator picks evenly. So every draw
ends, takes its randomness from the generator alone, and has exactly `pieces - 1` edges more than the plain definition.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, compress

import numpy as np

from search_spaces.errors import SpaceError

__all__ = ["Dag", "barabasi_albert", "erdos_renyi", "watts_strogatz"]

Edge = tuple[int, int]


@dataclass(frozen=True)
class Dag:
    """`nodes` numbered from 0 and sorted edges from smaller to larger numbers."""

    nodes: int
    edges: tuple[Edge, ...]

    @cached_property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """For each node the nodes with an edge to it, ascending."""
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
    """Each pair of nodes is an edge with `probability`.

    Erdos and Renyi 1959. All orders of the nodes are equally likely by symmetry, so none is drawn. Below
    `ln(nodes) / nodes` most draws fall apart and are repaired.

    Raises:
        SpaceError: If `nodes < 1` or `probability` is outside [0, 1].
    """
    _check(nodes, probability)
    pairs = list(combinations(range(nodes), 2))
    chosen = (rng.random(len(pairs)) < probability).tolist()
    return _connected(nodes, set(compress(pairs, chosen)), rng)


def barabasi_albert(nodes: int, edges: int, rng: np.random.Generator) -> Dag:
    """Growth with preference: each new node adds `edges` edges to different nodes, likelier to those of high degree.

    Barabasi and Albert 1999. It starts from `edges` isolated nodes, all of which the first new node joins; numbers
    follow the order of insertion.

    Raises:
        SpaceError: If `1 <= edges < nodes` does not hold.
    """
    if not 1 <= edges < nodes:
        raise SpaceError(f"`1 <= edges < nodes` must hold, but got {edges=}, {nodes=}.")
    chosen: set[Edge] = set()
    ends: list[int] = []  # every node as often as its degree: an even draw from it prefers high degrees
    targets = set(range(edges))
    for new in range(edges, nodes):
        chosen.update((target, new) for target in targets)
        ends += [*sorted(targets), *[new] * edges]
        targets = set()
        while len(targets) < edges:
            targets.add(ends[int(rng.integers(len(ends)))])
    return Dag(nodes, tuple(sorted(chosen)))


def watts_strogatz(nodes: int, neighbours: int, probability: float, rng: np.random.Generator) -> Dag:
    """A ring in which each node knows the `neighbours / 2` next ones each way, with edges rewired with `probability`.

    Watts and Strogatz 1998. Round by round (next neighbour, second next, ...) and clockwise, an edge keeps its first
    node and takes an even draw among the nodes that this one does not know yet; if it knows all, the edge stays.
    Numbers are clockwise. With `nodes <= neighbours + 1` everybody is a neighbour of everybody: the complete graph,
    whatever the probability.

    Raises:
        SpaceError: If `nodes < 1`, `neighbours` is odd or < 2, or `probability` is outside [0, 1].
    """
    _check(nodes, probability)
    if neighbours < 2 or neighbours % 2:
        raise SpaceError(f"`neighbours` must be even and >= 2 (half each way round the ring), but got {neighbours=}.")
    if nodes <= neighbours + 1:
        return Dag(nodes, tuple(combinations(range(nodes), 2)))
    ring = [(node, (node + step) % nodes) for step in range(1, neighbours // 2 + 1) for node in range(nodes)]
    everybody = set(range(nodes))
    knows: list[set[int]] = [{node} for node in range(nodes)]
    for start, end in ring:
        knows[start].add(end)
        knows[end].add(start)
    rewired = (rng.random(len(ring)) < probability).tolist()
    for start, end in compress(ring, rewired):
        strangers = sorted(everybody - knows[start])
        if strangers:
            new = strangers[int(rng.integers(len(strangers)))]
            knows[start].remove(end)
            knows[end].remove(start)
            knows[start].add(new)
            knows[new].add(start)
    return _connected(nodes, {(start, end) for start in range(nodes) for end in knows[start] if start < end}, rng)


def _check(nodes: int, probability: float) -> None:
    if nodes < 1:
        raise SpaceError(f"`nodes >= 1` must hold, but got {nodes=}.")
    if not 0 <= probability <= 1:
        raise SpaceError(f"`0 <= probability <= 1` must hold, but got {probability=}.")


def _connected(nodes: int, edges: set[Edge], rng: np.random.Generator) -> Dag:
    together, *others = _pieces(nodes, edges)
    for piece in others:
        ends = (together[int(rng.integers(len(together)))], piece[int(rng.integers(len(piece)))])
        edges.add((min(ends), max(ends)))
        together += piece
    return Dag(nodes, tuple(sorted(edges)))


def _pieces(nodes: int, edges: set[Edge]) -> list[list[int]]:
    """The connected components, sorted, the one of node 0 first."""
    piece_of = [[node] for node in range(nodes)]
    for start, end in edges:
        piece, other = piece_of[start], piece_of[end]
        if piece is not other:
            piece += other
            if len(piece) == nodes:
                return [list(range(nodes))]
            for node in other:
                piece_of[node] = piece
    return sorted(sorted(piece) for node, piece in enumerate(piece_of) if min(piece) == node)
