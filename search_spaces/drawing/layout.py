"""Layout of a drawing: nodes on levels, in an order with few crossings, joined by straight lines.

After Sugiyama, Tagawa and Toda 1981 (https://doi.org/10.1109/TSMC.1981.4308636): a line has a point on each level that
it passes, the points of a level are put in an order with few crossings, and then moved sideways to make the lines
straight. Unlike there, the lines to all readers of a node share one line as far as possible [ours], so that a level
shows which tensors are alive there.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from statistics import fmean
from typing import TYPE_CHECKING

from search_spaces.architecture.format import Architecture

if TYPE_CHECKING:
    from networkx import DiGraph

__all__ = ["PITCH", "Layout", "Point", "Step", "apart", "crossings_of", "lay_out", "rows_of"]

# Lengths are inches.
GAP = 0.15  # between neighbours on a level
PITCH = 0.72  # from level to level
SLOPE = 0.04  # additional distance of two levels for each inch that a line moves sideways between them
SWEEPS = 12  # alternately down and up; graphs of 100 nodes hardly improve after 6
STRAIGHT = 8.0  # weight of straight long lines, relative to that of short distances between neighbours

Point = tuple[int, int]
"""The output of a node on a level: the node's index, and its own level or a later one."""

Step = tuple[Point, Point]
"""A line segment from a point to one on the next level."""


@dataclass(frozen=True)
class Layout:
    """Centre (x, y) of each point in inches, with y down from the first level, and the steps between points."""

    places: dict[Point, tuple[float, float]]
    steps: list[Step]


def lay_out(architecture: Architecture, widths: Sequence[float]) -> Layout:
    """Layout of an architecture whose nodes are boxes of these widths, in inches."""
    import networkx as nx

    levels, steps = architecture.levels(), _steps(architecture)
    graph: DiGraph[Point] = nx.DiGraph(steps)
    rows = _untangled(graph, rows_of(graph))
    even = nx.multipartite_layout(graph, subset_key=dict(enumerate(rows)), align="horizontal", scale=len(rows))
    space = {point: widths[point[0]] if point[1] == levels[point[0]] else 0.0 for point in graph}
    across = _straightened(graph, rows, {point: float(place[0]) for point, place in even.items()}, space)
    travel = [0.0] * (len(rows) - 1)
    for start, end in steps:
        travel[start[1]] = max(travel[start[1]], abs(across[end] - across[start]))
    down = list(accumulate((PITCH + SLOPE * widest for widest in travel), initial=0.0))
    return Layout({point: (across[point], down[point[1]]) for point in graph}, steps)


def _steps(architecture: Architecture) -> list[Step]:
    """All steps; the line of a node branches to a reader on the level before it."""
    levels = architecture.levels()
    last = list(levels)
    steps: list[Step] = []
    for reader, node in enumerate(architecture.nodes):
        before = levels[reader] - 1
        for source in node.inputs:
            steps.append(((source, before), (reader, before + 1)))
            last[source] = max(last[source], before)
    for number, (first, final) in enumerate(zip(levels, last, strict=True)):
        steps += [((number, level), (number, level + 1)) for level in range(first, final)]
    return steps


def rows_of(graph: DiGraph[Point]) -> list[list[Point]]:
    """Points of each level, in the order of their nodes."""
    rows: list[list[Point]] = [[] for _ in range(1 + max(level for _, level in graph))]
    for point in sorted(graph):
        rows[point[1]].append(point)
    return rows


def _untangled(graph: DiGraph[Point], rows: list[list[Point]]) -> list[list[Point]]:
    """Rows in an order with fewer crossings: repeatedly sorted by the mean place of the points' neighbours."""
    rows, best, fewest = list(rows), list(rows), crossings_of(graph, rows)
    for sweep in range(SWEEPS):
        towards, near = ((-1, graph.pred), (1, graph.succ))[sweep % 2]
        for level in range(len(rows))[1:] if towards < 0 else range(len(rows) - 1)[::-1]:
            place = {point: index for index, point in enumerate(rows[level + towards])}
            means = {point: fmean(place[other] for other in near[point]) for point in rows[level]}
            rows[level] = sorted(rows[level], key=means.__getitem__)
        if (crossings := crossings_of(graph, rows)) < fewest:
            best, fewest = list(rows), crossings
    return best


def crossings_of(graph: DiGraph[Point], rows: Sequence[Sequence[Point]]) -> int:
    """Number of pairs of steps that cross."""
    crossings = 0
    for above, below in pairwise(rows):
        place = {point: index for index, point in enumerate(below)}
        seen: list[int] = []  # ends of the steps from further left
        for point in above:
            ends = [place[end] for end in graph.succ[point]]
            crossings += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return crossings


def _straightened(
    graph: DiGraph[Point], rows: Sequence[Sequence[Point]], across: Mapping[Point, float], space: Mapping[Point, float]
) -> dict[Point, float]:
    """Horizontal places, each near the mean of its neighbours, in the order of the rows and with gaps between."""
    places = dict(across)
    for sweep in range(SWEEPS):
        near = (graph.succ, graph.pred)[sweep % 2]
        for row in rows[:: (-1, 1)[sweep % 2]]:
            wanted, weights = [], []
            for point in row:
                pulls = {other: STRAIGHT if other[0] == point[0] else 1.0 for other in near[point]} or {point: 1.0}
                weights.append(sum(pulls.values()))
                wanted.append(sum(pull * places[other] for other, pull in pulls.items()) / weights[-1])
            gaps = [(space[left] + space[right]) / 2 + GAP for left, right in pairwise(row)]
            places |= zip(row, apart(wanted, weights, gaps), strict=True)
    return places


def apart(wanted: Sequence[float], weights: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """Values with minimum gaps between neighbours that are nearest to the wanted ones in weighted least squares.

    After the gaps are subtracted, this is isotonic regression by the pool-adjacent-violators algorithm.

    Args:
        wanted: The wanted values, in order.
        weights: Weight of each value.
        gaps: Minimum difference of each value to the one before, one fewer than values.
    """
    offsets = list(accumulate(gaps, initial=0.0))
    pools: list[tuple[float, float, int]] = []  # mean, weight, members
    for value, weight, offset in zip(wanted, weights, offsets, strict=True):
        mean, total, members = value - offset, weight, 1
        while pools and pools[-1][0] > mean:
            other, heavy, more = pools.pop()
            mean = (other * heavy + mean * total) / (heavy + total)
            total, members = heavy + total, members + more
        pools.append((mean, total, members))
    means = [mean for mean, _, members in pools for _ in range(members)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]
