"""Cells: small labelled graphs with one input and one output, and the canonical form of isomorphic cells.

Names and widths in an architecture depend on the numbers of its cell's vertices. Spaces use those of the canonical
form, so that isomorphic cells give equal architectures and a search never trains the same network twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

__all__ = ["Cell", "canonical", "cell_features", "paths", "pruned"]

Edge = tuple[int, int]
Sources = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Cell:
    """A cell: vertex 0 is the input, vertices 1 to `len(operations)` are inner ones, and the next one is the output.

    Attributes:
        operations: Operation of each inner vertex, as an index in the space's own table of operations.
        sources: Earlier vertices that each vertex after the input reads, in descending order; those of the output are
            last. A vertex that is read twice occurs twice.
    """

    operations: tuple[int, ...]
    sources: Sources

    @property
    def edges(self) -> int:
        """Number of edges, including those to the output."""
        return sum(map(len, self.sources))


def pruned(cell: Cell) -> Cell:
    """The cell without vertices on no path from input to output; if there is no path, the output reads nothing."""
    reached = {0}
    for vertex, sources in enumerate(cell.sources, 1):
        if reached.intersection(sources):
            reached.add(vertex)
    needed = {output := len(cell.sources)} & reached
    for vertex in range(output, 0, -1):
        if vertex in needed:
            needed.update(cell.sources[vertex - 1])
    kept = [vertex for vertex in range(1, output) if vertex in needed & reached]
    return _renumbered(cell, kept)


def canonical(cell: Cell) -> Cell:
    """Canonical form of a cell, equal for all cells that differ only in the numbers of their inner vertices.

    It is the minimum over all numberings in which every vertex comes after its sources. Cells are compared by the
    sources of the output, then by those of the last inner vertex, down to the first one, each read as a binary number
    with one digit for each source, and finally by their operations in order. NAS-Bench-101 keeps the same form, since
    it enumerates graphs in this order and drops duplicates (Ying et al. 2019, https://arxiv.org/abs/1902.09635).
    """
    return min((_renumbered(cell, order) for order in _orders(cell.sources[:-1], ())), key=_rank)


def cell_features(cell: Cell, weighted: Sequence[bool]) -> tuple[float, ...]:
    """Features of a pruned cell, equal for isomorphic cells: one for each operation and four more.

    They are the count of each operation; the number of edges; the largest and the smallest number of operations with
    weights on a path from input to output (-1 without any path); and the number of such paths.

    Args:
        cell: A cell from `pruned`.
        weighted: Whether each operation of the space's table has weights.
    """
    most, fewest, n_paths = [0.0], [0.0], [1.0]
    for vertex, sources in enumerate(cell.sources):
        own = float(vertex < len(cell.operations) and weighted[cell.operations[vertex]])
        most.append(own + max((most[source] for source in sources), default=-1))
        fewest.append(own + min((fewest[source] for source in sources), default=-1))
        n_paths.append(sum(n_paths[source] for source in sources))
    counts = (float(cell.operations.count(operation)) for operation in range(len(weighted)))
    return (*counts, float(cell.edges), most[-1], fewest[-1], n_paths[-1])


def paths(vertices: int) -> tuple[tuple[Edge, ...], ...]:
    """Edges of every path from vertex 0 to the last of `vertices` through ascending numbers, shortest paths first."""
    inner = range(1, vertices - 1)
    chosen = (stops for length in range(len(inner) + 1) for stops in combinations(inner, length))
    return tuple(tuple(pairwise((0, *stops, vertices - 1))) for stops in chosen)


def _rank(cell: Cell) -> tuple[Sources, tuple[int, ...]]:
    """Sort key; descending sources compare like the binary numbers with these digits set."""
    return cell.sources[::-1], cell.operations


def _orders(sources: Sources, placed: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """All orders of the inner vertices in which each comes after its sources."""
    if len(placed) == len(sources):
        yield placed
    for vertex, before in enumerate(sources, 1):
        if vertex not in placed and all(source in placed or not source for source in before):
            yield from _orders(sources, (*placed, vertex))


def _renumbered(cell: Cell, order: Sequence[int]) -> Cell:
    """The cell with its inner vertices in this order; vertices that are not in it, and their edges, are dropped."""
    place = {0: 0, **{vertex: number for number, vertex in enumerate(order, 1)}}
    kept = (*order, len(cell.sources))
    sources = (
        tuple(sorted((place[source] for source in cell.sources[vertex - 1] if source in place), reverse=True))
        for vertex in kept
    )
    return Cell(tuple(cell.operations[vertex - 1] for vertex in order), tuple(sources))
