"""Cells: small labelled graphs between one input and one output, and the one form of all that are isomorphic.

Names and widths of an architecture follow the numbers of its cell's vertices. They are those of the canonical form, so
that isomorphic cells give equal architectures and a search never trains one network twice.
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
    """Vertex 0 is the input, vertices 1 to `len(operations)` are the inner ones, and the next one is the output.

    Attributes:
        operations: Of each inner vertex, as a number in the space's own table of operations.
        sources: For each vertex after the input, the output last, the earlier vertices that it reads, descending. A
            vertex that it reads twice comes twice.
    """

    operations: tuple[int, ...]
    sources: Sources

    @property
    def edges(self) -> int:
        """How many reads there are, those of the output included."""
        return sum(map(len, self.sources))


def pruned(cell: Cell) -> Cell:
    """The cell without vertices that are on no path from input to output; without any path the output reads nothing."""
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
    """The same cell for all that differ only in the numbers of their inner vertices.

    Of all numberings in which every vertex comes after what it reads, it is the least: first what the output reads
    counts, then what the last inner vertex reads, down to the first one, each as a binary number with a digit for each
    source, and last the operations in their order. NAS-Bench-101 keeps the same one, since it lists graphs in this
    order and drops those that it has seen (Ying et al. 2019, https://arxiv.org/abs/1902.09635).
    """
    return min((_renumbered(cell, order) for order in _orders(cell.sources[:-1], ())), key=_rank)


def cell_features(cell: Cell, weighted: Sequence[bool]) -> tuple[float, ...]:
    """What a pruned cell is like, the same for isomorphic ones, four numbers and one for each operation.

    How often each operation occurs, how many reads there are, operations with weights on the path from input to output
    that has most of them and on the one that has fewest (-1 without any path), and how many paths there are.

    Args:
        cell: Without dead vertices.
        weighted: For each operation of the space's table whether it has weights.
    """
    most, fewest, ways = [0.0], [0.0], [1.0]
    for vertex, sources in enumerate(cell.sources):
        own = float(vertex < len(cell.operations) and weighted[cell.operations[vertex]])
        most.append(own + max((most[source] for source in sources), default=-1))
        fewest.append(own + min((fewest[source] for source in sources), default=-1))
        ways.append(sum(ways[source] for source in sources))
    counts = (float(cell.operations.count(operation)) for operation in range(len(weighted)))
    return (*counts, float(cell.edges), most[-1], fewest[-1], ways[-1])


def paths(vertices: int) -> tuple[tuple[Edge, ...], ...]:
    """The edges of every way from vertex 0 to the last of `vertices` through ascending numbers, shortest first."""
    inner = range(1, vertices - 1)
    chosen = (stops for length in range(len(inner) + 1) for stops in combinations(inner, length))
    return tuple(tuple(pairwise((0, *stops, vertices - 1))) for stops in chosen)


def _rank(cell: Cell) -> tuple[Sources, tuple[int, ...]]:
    """Descending sources compare as the binary numbers do of which they are the digits."""
    return cell.sources[::-1], cell.operations


def _orders(sources: Sources, placed: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """All orders of the inner vertices in which each comes after its sources."""
    if len(placed) == len(sources):
        yield placed
    for vertex, before in enumerate(sources, 1):
        if vertex not in placed and all(source in placed or not source for source in before):
            yield from _orders(sources, (*placed, vertex))


def _renumbered(cell: Cell, order: Sequence[int]) -> Cell:
    """The cell with its inner vertices in this order; those that are not in it, and reads of them, are left out."""
    place = {0: 0, **{vertex: number for number, vertex in enumerate(order, 1)}}
    kept = (*order, len(cell.sources))
    sources = (
        tuple(sorted((place[source] for source in cell.sources[vertex - 1] if source in place), reverse=True))
        for vertex in kept
    )
    return Cell(tuple(cell.operations[vertex - 1] for vertex in order), tuple(sources))
