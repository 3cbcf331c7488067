"""The micro search space of ENAS: cells (Pham et al. 2018, https://arxiv.org/abs/1802.03268)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from optuna.distributions import CategoricalDistribution

from search_spaces.design.blueprint import Sketch
from search_spaces.design.space import Dimension, Parameters, Range
from search_spaces.design.wiring import Place
from search_spaces.spaces.two_input_cells import INPUTS, Half, TwoInputCell, TwoInputCells, add_nodes, enter

__all__ = ["EnasMicro"]

BLOCKS = 5

OPERATIONS = {
    "identity": "identity",
    "avg_pool_3x3": "average3x3",
    "max_pool_3x3": "maxpool3x3",
    "sep_conv_3x3": "relu_sepconv3x3_bn_twice",
    "sep_conv_5x5": "relu_sepconv5x5_bn_twice",
}
"""Operation of each name in the paper, ordered by cost at stride 1."""


def _dimensions(kind: str) -> dict[str, Dimension]:
    """Dimensions of one kind of cell; both halves of block i read one of the i + 1 states before it."""
    names = list(OPERATIONS)
    if kind == "reduction":  # at stride 2 an identity has parameters and a pool has none
        names = [*names[1:3], names[0], *names[3:]]
    result: dict[str, Dimension] = {}
    for block in range(1, BLOCKS + 1):
        for half in ("first", "second"):
            states = CategoricalDistribution(tuple(range(block + 1)))
            result[f"{kind}_block{block}_{half}_input"] = Dimension(states)
            result[f"{kind}_block{block}_{half}"] = Dimension(CategoricalDistribution(tuple(names)))
    return result


class EnasMicro(TwoInputCells):
    """A normal and a reduction cell, repeated: five blocks, each the sum of two operations on earlier states.

    States 0 and 1 are the outputs of the two preceding cells, the earlier one first; block i is state i + 1. Both
    halves of a block may read the same state, and their order does not matter. Cells that differ only in the order of
    their blocks or halves give the same architecture.

    As published, all states that no block reads are concatenated, including inputs of the cell; the stem has three
    times the width; a separable convolution is applied twice, each time as ReLU, depthwise and pointwise convolution
    and batch norm; operations of a reduction cell on an input have stride 2; the head is ReLU, global pool, dropout
    and a linear layer. The published network has 17 cells of width 36, two of which are reduction cells.

    Departures [ours]:

    * The concatenation is projected to the cell's width by ReLU, a 1x1 convolution and batch norm, and a cell projects
      an input only if its width or resolution differs. This is as in the network with which ENAS searches; its final
      network projects the concatenation in each cell that reads it instead.
    * Reduction cells are at one and two thirds of the cells, which for 17 cells is the published position.
    * Where the paper halves a map by two 1x1 convolutions that each read every fourth position, a 2x2 average pooling
      precedes one 1x1 convolution.
    * Inputs over 39 px, which the paper does not use, enter as in `darts`.
    * Drop path and the auxiliary classifier belong to training and are not part of the network.

    Args:
        cells: Number of cells; at least 4.
        width: See `Space`; width of the blocks of the first stage.
        max_width: See `Space`.
        **ranges: See `Space`.
    """

    name = "enas-micro"
    classifier = "classifier"
    dimensions: ClassVar[Mapping[str, Dimension]] = {**_dimensions("normal"), **_dimensions("reduction")}

    def __init__(self, *, cells: int = 6, width: float | None = None, max_width: int = 512, **ranges: Range) -> None:
        super().__init__(cells=cells, width=width, max_width=max_width, **ranges)

    def cell(self, parameters: Parameters, kind: str) -> TwoInputCell:
        """The cell that complete parameters describe."""

        def half(name: str) -> Half:
            return int(parameters[f"{name}_input"]), str(parameters[name])

        names = (f"{kind}_block{block}" for block in range(1, BLOCKS + 1))
        return tuple((half(f"{name}_first"), half(f"{name}_second")) for name in names)

    def add_cell(self, sketch: Sketch, cell: TwoInputCell, inputs: tuple[int, int], place: Place, reduces: bool) -> int:
        """Index of the projection of all states that no block reads, after the cell's nodes are added."""
        states = add_nodes(sketch, cell, enter(sketch, inputs, place, always=False), place, reduces, _operation)
        read = {state for block in cell for state, _ in block}
        ends = [
            _halved(sketch, number, place, state) if reduces and state < INPUTS else number
            for state, number in enumerate(states)
            if state not in read
        ]
        name = f"{place.name}_output"
        return sketch.add("relu_conv1x1_bn", ends, place.width, merge="concat", stage=place.stage, name=name)


def _halved(sketch: Sketch, number: int, place: Place, state: int) -> int:
    """Index of an input of a reduction cell, pooled to the resolution of its blocks."""
    name = f"{place.name}_rest{state}"
    return sketch.add("pool_conv1x1_bn", (number,), place.width, stride=2, stage=place.stage, name=name)


def _operation(name: str, stride: int) -> str:
    return "pool_conv1x1_bn" if name == "identity" and stride > 1 else OPERATIONS[name]
