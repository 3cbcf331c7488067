"""Networks of cells that read the two preceding cells, as in DARTS and the micro cells of ENAS.

A cell consists of nodes; a node is the sum of two halves, each of which is an operation on a state. States 0 and 1 are
the inputs of the cell, the output of the earlier cell first; the nodes are the states after them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import ClassVar

import numpy as np

from search_spaces.architecture.layers import Shape
from search_spaces.design.blueprint import CLASSES, Blueprint, Sketch
from search_spaces.design.space import Parameters, Range, Space
from search_spaces.design.stems import is_small
from search_spaces.design.wiring import Place
from search_spaces.errors import SpaceError

__all__ = [
    "INPUTS",
    "KINDS",
    "Half",
    "TwoInputCell",
    "TwoInputCells",
    "add_nodes",
    "canonical",
    "describe",
    "enter",
]

Half = tuple[int, str]
"""Index of a state, and the name of the operation on it."""

TwoInputCell = tuple[tuple[Half, Half], ...]
"""The two halves of each node."""

INPUTS = 2
"""Number of states that are inputs of a cell."""

KINDS = ("normal", "reduction")

FEWEST, MOST = 4, 100
"""Smallest and largest number of cells of a network; the papers use up to 20."""

STEM = 3
"""Place of the stem's width, which follows those of the three stages."""


class TwoInputCells(Space):
    """Base class of networks of a repeated normal cell, with a reduction cell at one and two thirds of the depth.

    Subclasses define the cell and add its nodes. A reduction cell begins the next stage, which has twice the width.

    Args:
        cells: Number of cells; at least 4. With three, the only normal cell would read the stem twice, so that cells
            with swapped inputs would be the same network.
        width: See `Space`; width of the nodes of the first stage.
        max_width: See `Space`.
        **ranges: See `Space`.
    """

    random = False
    classifier: ClassVar[str]
    """Operation of the last node."""

    def __init__(self, *, cells: int, width: float | None, max_width: int, **ranges: Range) -> None:
        super().__init__(width=width, max_width=max_width, **ranges)
        if not FEWEST <= cells <= MOST:
            raise SpaceError(
                f"`{FEWEST} <= cells <= {MOST}` must hold, two reduction cells and a normal one on each side, but got "
                f"{cells=}."
            )
        self.cells = cells

    @abstractmethod
    def cell(self, parameters: Parameters, kind: str) -> TwoInputCell:
        """The cell that complete parameters describe; `kind` is one of `KINDS`."""

    @abstractmethod
    def add_cell(self, sketch: Sketch, cell: TwoInputCell, inputs: tuple[int, int], place: Place, reduces: bool) -> int:
        """Index of the output of a new cell, after its nodes are added.

        Args:
            sketch: Blueprint to which nodes are added.
            cell: The cell.
            inputs: Indices of the two nodes that the cell reads.
            place: Width, stage and prefix of the names of its nodes.
            reduces: Whether operations on the inputs have stride 2.
        """

    def blueprint(
        self, parameters: Parameters, input_shape: Shape, classes: int, rng: np.random.Generator
    ) -> Blueprint:
        """The network of the two cells; nothing is drawn."""
        sketch = Sketch(input_shape, classes, (1, 2, 4, 3 if is_small(input_shape) else 0.5), self.name)
        normal, reduction = self._canonical(parameters)
        before, last = _stem(sketch)
        for place, reduces in _sites(self.cells):
            cell = reduction if reduces else normal
            before, last = last, self.add_cell(sketch, cell, (before, last), place, reduces)
        sketch.add(self.classifier, (last,), CLASSES, stage=sketch.nodes[last].stage, name="classifier")
        return sketch.finish()

    def describe(self, parameters: Parameters) -> str:
        """Nodes of both cells, such as `sep3(0)+sep3(1) ... / max3(0)+max3(1) ...`."""
        return " / ".join(map(describe, self._canonical(self.complete(parameters))))

    def _canonical(self, parameters: Parameters) -> list[TwoInputCell]:
        return [canonical(self.cell(parameters, kind)) for kind in KINDS]


@lru_cache(maxsize=1 << 12)
def canonical(cell: TwoInputCell) -> TwoInputCell:
    """Canonical form of a cell: the smallest tuple over all orders of its nodes in which sources come first.

    Two cells have the same form if and only if they are isomorphic with their inputs distinguished. Tuples are compared
    from their first node on, so of all ways to begin only those that begin with the smallest nodes are continued.
    """
    form: list[tuple[Half, Half]] = []
    orders: list[tuple[int, ...]] = [()]
    for _ in cell:
        ways = [
            (moved, (*order, number))
            for order in orders
            for number in range(len(cell))
            if number not in order and (moved := _moved(cell[number], order))
        ]
        least = min(moved for moved, _ in ways)
        form.append(least)
        orders = [order for moved, order in ways if moved == least]
    return tuple(form)


def _moved(node: tuple[Half, Half], order: tuple[int, ...]) -> tuple[Half, Half] | None:
    """The node after those in this order, with its halves sorted; None if it reads another one."""
    place = {old + INPUTS: new + INPUTS for new, old in enumerate(order)} | {state: state for state in range(INPUTS)}
    if any(source not in place for source, _ in node):
        return None
    first, second = sorted((place[source], operation) for source, operation in node)
    return first, second


def describe(cell: TwoInputCell) -> str:
    """Nodes of a cell, such as `sep3(0)+sep3(1) skip(0)+max3(2)`."""
    return " ".join("+".join(f"{_short(operation)}({state})" for state, operation in node) for node in cell)


def _short(operation: str) -> str:
    """First word and kernel size of a name such as `sep_conv_3x3`."""
    kernel = operation[-1] if operation[-1].isdigit() else ""
    return operation.partition("_")[0] + kernel


def _stem(sketch: Sketch) -> tuple[int, int]:
    """Inputs of the first cell: one convolution twice for small inputs, else maps at a quarter and an eighth."""
    if is_small(sketch.input_shape):
        only = sketch.add("conv3x3_bn", (0,), STEM, name="stem")
        return only, only
    first = sketch.add("conv3x3_bn", (0,), STEM, stride=2, name="stem1")
    second = sketch.add("relu_conv3x3_bn", (first,), 0, stride=2, name="stem2")
    return second, sketch.add("relu_conv3x3_bn", (second,), 0, stride=2, name="stem3")


def _sites(cells: int) -> Iterator[tuple[Place, bool]]:
    """Position of each cell, and whether it is a reduction cell."""
    reductions = (cells // 3, 2 * cells // 3)
    for number in range(cells):
        stage = sum(number >= first for first in reductions)
        yield Place(stage, stage, f"stage{stage + 1}_cell{number + 1}"), number in reductions


def enter(sketch: Sketch, inputs: tuple[int, int], place: Place, always: bool = True) -> tuple[int, int]:
    """Indices of both inputs of a cell, projected to its width by 1x1 convolutions with batch norm.

    An input with a higher resolution than the later one is pooled first.

    Args:
        sketch: Blueprint to which nodes are added.
        inputs: Indices of the two nodes that the cell reads.
        place: Width, stage and prefix of the names of the cell's nodes.
        always: If False, an input that already has the width and the resolution is not projected.
    """
    sizes = sketch.shape(inputs[-1])[1:]

    def entered(state: int, source: int) -> int:
        larger = sketch.shape(source)[1:] != sizes
        if not always and not larger and sketch.nodes[source].channels == place.width:
            return source
        operation, stride = ("relu_pool_conv1x1_bn", 2) if larger else ("relu_conv1x1_bn", 1)
        name = f"{place.name}_input{state}"
        return sketch.add(operation, (source,), place.width, stride=stride, stage=place.stage, name=name)

    return entered(0, inputs[0]), entered(1, inputs[1])


def add_nodes(
    sketch: Sketch,
    cell: TwoInputCell,
    inputs: tuple[int, int],
    place: Place,
    reduces: bool,
    operation: Callable[[str, int], str],
) -> list[int]:
    """Indices of all states of a cell, after its nodes are added.

    A half that is an identity has no node, unless both halves of a node are identities of the same state.

    Args:
        sketch: Blueprint to which nodes are added.
        cell: The cell.
        inputs: Indices of states 0 and 1, which have the cell's width.
        place: Width, stage and prefix of the names of the cell's nodes.
        reduces: Whether operations on the inputs have stride 2.
        operation: Function from an operation of the cell and its stride to the name in `operations.OPERATIONS`.
    """
    states = list(inputs)
    for number, halves in enumerate(cell, 1):
        name = f"{place.name}_node{number}"
        ends: list[int] = []
        for half, (source, wanted) in zip(("first", "second"), halves, strict=True):
            stride = 2 if reduces and source < INPUTS else 1
            end, found = states[source], operation(wanted, stride)
            if found != "identity" or end in ends:
                end = sketch.add(found, (end,), place.width, stride=stride, stage=place.stage, name=f"{name}_{half}")
            ends.append(end)
        states.append(sketch.add("identity", ends, place.width, merge="sum", stage=place.stage, name=name))
    return states
