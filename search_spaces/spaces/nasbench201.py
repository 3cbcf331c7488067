"""NAS-Bench-201: one small cell, repeated (Dong and Yang 2020, https://arxiv.org/abs/2001.00326)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from optuna.distributions import CategoricalDistribution

from search_spaces.architecture.layers import Shape
from search_spaces.design.blueprint import CLASSES, Blueprint, Sketch
from search_spaces.design.dimensions import low_ends
from search_spaces.design.space import Dimension, Parameters, Range, Space, Value
from search_spaces.design.stems import is_small
from search_spaces.design.wiring import Place, stem
from search_spaces.errors import SpaceError, unknown
from search_spaces.spaces.cells import Cell, canonical, cell_features, paths, pruned

__all__ = ["NasBench201", "cell_string", "parse_cell"]

STAGES = 3
MOST_CELLS = 100  # of a stage; the benchmark has 5
NODES = 4

CHOICES = {
    "none": "zero",
    "skip_connect": "identity",
    "avg_pool_3x3": "average3x3",
    "nor_conv_1x1": "relu_conv1x1_bn",
    "nor_conv_3x3": "relu_conv3x3_bn",
}
"""Operation of each choice of the benchmark, the cheapest first."""

NAMES, OPERATIONS = tuple(CHOICES), tuple(CHOICES.values())
WEIGHTED = tuple("conv" in operation for operation in OPERATIONS)
"""Whether each operation has weights."""
NONE, SKIP, POOL = range(3)

EDGES = tuple((start, end) for end in range(1, NODES) for start in range(end))
"""Edges in the order of the benchmark's string form."""


def _name(edge: tuple[int, int]) -> str:
    return f"edge_{edge[0]}_{edge[1]}"


class NasBench201(Space):
    """Cells of four nodes, each the sum of one operation on every earlier node: six edges, 15,625 cells.

    A network is a convolution and three stages of equal cells of widths 1:2:4, with a residual block of stride 2
    between stages. Inputs of up to 39 px enter through one 3x3 convolution, as published; larger ones through two of
    stride 2, the first of half the width.

    By default [ours], a cell is reduced to what it computes, so that cells that compute the same give equal
    architectures:

    * Edges that are `none`, operations on zeros only, and operations that nothing reads are removed. In the benchmark,
      a convolution of zeros still adds the trained shift of its batch norm; here it does not.
    * `skip_connect` has no node. Only if a sum contains the same tensor several times is there a node for each further
      time.
    * Equal poolings of the same tensor are one node, since they have no weights. Convolutions remain separate.
    * A cell without a path from its input to its output has a flaw (see `Space.flaws`).

    Args:
        cells: Number of cells in each stage; 5 in the paper.
        pruned: Whether cells are reduced. If False, the network is exactly that of the benchmark, including zeros and
            unused convolutions, and no cell has flaws.
        width: See `Space`; width of the first stage, 16 in the paper.
        max_width: See `Space`.
        **ranges: See `Space`.

    Raises:
        SpaceError: If an argument is invalid, or the ranges leave no path from a cell's input to its output.
    """

    name = "nasbench201"
    random = False
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        _name(edge): Dimension(CategoricalDistribution(NAMES)) for edge in EDGES
    }

    def __init__(
        self,
        *,
        cells: int = 5,
        pruned: bool = True,
        width: float | None = None,
        max_width: int = 512,
        **ranges: Range,
    ) -> None:
        super().__init__(width=width, max_width=max_width, **ranges)
        if not 1 <= cells <= MOST_CELLS:
            raise SpaceError(f"`1 <= cells <= {MOST_CELLS}` must hold, but got {cells=}.")
        self.cells, self.pruned = cells, pruned
        self._paths = [path for path in (tuple(map(_name, path)) for path in paths(NODES)) if self._connects(path)]
        if pruned and not self._paths:
            raise SpaceError(
                "The ranges must leave a path from a cell's input to its output, but leave none. Open `edge_0_3`."
            )

    def blueprint(
        self, parameters: Parameters, input_shape: Shape, classes: int, rng: np.random.Generator
    ) -> Blueprint:
        """The network of the cell; nothing is drawn."""
        choices = _choices(parameters)
        cell = canonical(_reduced_cell(choices)) if self.pruned else None
        sketch = Sketch(input_shape, classes, (1, 2, 4) if is_small(input_shape) else (1, 2, 4, 0.5), self.name)
        last = stem(sketch, half=STAGES)
        for stage in range(STAGES):
            if stage:
                last = _reduction(sketch, last, stage)
            for number in range(self.cells):
                place = Place(stage, stage, f"stage{stage + 1}_cell{number + 1}")
                last = _add_reduced(sketch, cell, last, place) if cell else _add_all(sketch, choices, last, place)
        sketch.add("bn_relu_classifier", (last,), CLASSES, stage=STAGES - 1, name="classifier")
        return sketch.finish()

    def describe(self, parameters: Parameters) -> str:
        """The cell in the benchmark's string form."""
        return cell_string(self.complete(parameters))

    def features(self, parameters: Parameters) -> tuple[float, ...]:
        """Features of the reduced cell; see `cells.cell_features`."""
        return cell_features(_reduced_cell(_choices(parameters)), WEIGHTED)

    def flaws(self, parameters: Parameters) -> int:
        """Smallest number of `none` edges on a path from input to output."""
        return min((_gaps(parameters, path) for path in self._paths), default=0) if self.pruned else 0

    def smallest_parameters(self) -> list[dict[str, Value]]:
        """Cells with the fewest and cheapest operations, one for each possible path from input to output."""
        cheapest = {name: self._cheapest(name, NAMES) for name in self._open}
        if not self.pruned:
            return [cheapest]
        return [{**cheapest, **self._joined(cheapest, path)} for path in self._paths]

    def _connects(self, path: Sequence[str]) -> bool:
        return all(self._choices(name) != ("none",) for name in path)

    def _joined(self, family: Parameters, path: Sequence[str]) -> dict[str, Value]:
        """Choices that replace `none` on the edges of a path."""
        return {name: self._cheapest(name, NAMES[1:]) for name in path if family.get(name) == "none"}

    def _cheapest(self, name: str, among: Sequence[str]) -> Value:
        return next(choice for choice in among if choice in self._choices(name))

    def _choices(self, name: str) -> tuple[Value, ...]:
        return (self.fixed[name],) if name in self.fixed else low_ends(self._open[name].distribution)


def cell_string(parameters: Parameters) -> str:
    """Cell of complete parameters in the benchmark's form `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`."""
    ends: list[list[str]] = [[] for _ in range(NODES)]
    for edge in EDGES:
        ends[edge[1]].append(f"{parameters[_name(edge)]}~{edge[0]}")
    return "+".join(f"|{'|'.join(operations)}|" for operations in ends[1:])


def parse_cell(text: str) -> dict[str, Value]:
    """Parameters of a cell in the form of `cell_string`.

    Raises:
        SpaceError: If the text is not of that form, or contains an unknown operation.
    """
    found = re.findall(r"([^|~+]+)~(\d)", text)
    parameters: dict[str, Value] = {_name(edge): name for edge, (name, _) in zip(EDGES, found, strict=False)}
    if len(found) != len(EDGES) or cell_string(parameters) != text:
        raise SpaceError(f"A cell must be written `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`, but got {text!r}.")
    for name, _ in found:
        if name not in NAMES:
            raise unknown("operation of nasbench201", name, NAMES)
    return parameters


def _choices(parameters: Parameters) -> list[int]:
    """Index of each edge's choice."""
    return [NAMES.index(str(parameters[_name(edge)])) for edge in EDGES]


def _gaps(parameters: Parameters, path: Sequence[str]) -> int:
    return sum([parameters[name] == "none" for name in path])


def _reduced_cell(choices: Sequence[int]) -> Cell:
    """The reduced cell: its vertices are operations, each of which reads the sum of its sources."""
    operations: list[int] = []
    sources: list[tuple[int, ...]] = []
    terms: list[tuple[int, ...]] = [(0,), *[()] * (NODES - 1)]  # for each node, the vertices whose sum it is
    poolings: dict[tuple[int, ...], int] = {}
    for (start, end), choice in zip(EDGES, choices, strict=True):
        added = terms[start]
        if choice == NONE or not added:
            continue
        if choice == POOL and added in poolings:
            added = (poolings[added],)
        elif choice != SKIP:
            operations.append(choice)
            sources.append(added)
            added = (len(operations),)
            if choice == POOL:
                poolings[sources[-1]] = len(operations)
        terms[end] = tuple(sorted(terms[end] + added, reverse=True))
    return pruned(Cell(tuple(operations), (*sources, terms[-1])))


def _reduction(sketch: Sketch, entering: int, stage: int) -> int:
    """Index of the output of a new residual block of stride 2 before a stage."""
    name = f"stage{stage + 1}_reduction"
    first = sketch.add("relu_conv3x3_bn", (entering,), stage, stride=2, stage=stage, name=f"{name}_conv1")
    second = sketch.add("relu_conv3x3_bn", (first,), stage, stage=stage, name=f"{name}_conv2")
    short = sketch.add("pool_conv1x1", (entering,), stage, stride=2, stage=stage, name=f"{name}_shortcut")
    return sketch.add("identity", (short, second), stage, merge="sum", stage=stage, name=name)


def _add_reduced(sketch: Sketch, cell: Cell, entering: int, place: Place) -> int:
    """Index of the output of a new reduced cell, which is an earlier node if there is nothing to sum."""
    outputs = [entering]
    copies: dict[tuple[int, int], int] = {}

    def reads(sources: Sequence[int]) -> tuple[int, ...]:
        """Nodes of these vertices; each further occurrence of a vertex is read through a copy."""
        nodes: list[int] = []
        for position, vertex in enumerate(sources):
            times = sources[:position].count(vertex)
            if times and (vertex, times) not in copies:
                name = f"{place.name}_{f'node{vertex}' if vertex else 'input'}_copy{times}"
                copy = sketch.add("identity", (outputs[vertex],), place.width, stage=place.stage, name=name)
                copies[vertex, times] = copy
            nodes.append(copies[vertex, times] if times else outputs[vertex])
        return tuple(nodes)

    for vertex, (choice, sources) in enumerate(zip(cell.operations, cell.sources, strict=False), 1):
        name = f"{place.name}_node{vertex}"
        outputs.append(_add(sketch, OPERATIONS[choice], reads(sources), place, name))
    ends = reads(cell.sources[-1])
    return ends[0] if len(ends) == 1 else _add(sketch, "identity", ends, place, f"{place.name}_output")


def _add_all(sketch: Sketch, choices: Sequence[int], entering: int, place: Place) -> int:
    """Index of the output of a new cell in which every edge is a node."""
    ends: list[tuple[int, ...]] = [(entering,), *[()] * (NODES - 1)]
    for edge, choice in zip(EDGES, choices, strict=True):
        start, end = edge
        ends[end] += (_add(sketch, OPERATIONS[choice], ends[start], place, f"{place.name}_{_name(edge)}"),)
    return _add(sketch, "identity", ends[-1], place, f"{place.name}_output")


def _add(sketch: Sketch, operation: str, inputs: tuple[int, ...], place: Place, name: str) -> int:
    return sketch.add(operation, inputs, place.width, merge="sum", stage=place.stage, name=name)
