"""The cells of ENAS, its micro space (Pham et al. 2018, https://arxiv.org/abs/1802.03268)."""

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
"""The paper's operations, in the order of what they cost at stride 1."""


def _dimensions(kind: str) -> dict[str, Dimension]:
    """Of the cell of one kind; block i reads one of the i + 1 states before it, twice."""
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

    States 0 and 1 are the two cells before, the farther one first; block i is state i + 1. Both halves of a block may
    read the same state, and their order does not count. Cells that differ only in the order of their blocks or of
    halves are one architecture.

    As published: what no block reads is concatenated, an input of the cell too, and so are the stem of three times the
    width, the operations (a separable convolution is two, each ReLU, depthwise, pointwise, batch norm), stride 2 where
    blocks of a reduction cell read an input, and the head: ReLU, global pool, dropout and a linear layer. The published
    network has 17 cells of width 36, of which two reduce.

    What differs: the concatenation is projected to the cell's width by ReLU, a 1x1 convolution and batch norm, and a
    cell projects an input only where width or resolution differ. So it is in the network that ENAS searches with; its
    final one projects the concatenation in each cell that reads it instead. Reductions are at one and at two thirds of
    the cells, which is the same for 17. Where the paper halves a map by two 1x1 convolutions that each read every
    fourth position, an average over 2x2 comes before one 1x1 convolution. Inputs over 39 px, which the paper has not,
    enter as in `darts`. Drop path and the auxiliary classifier belong to the training and are not part of the network.

    Args:
        cells: How many; at least 4.
        width: See `Space`; of the blocks of the first stage.
        max_width: See `Space`.
        ranges: See `Space`.
    """

    name = "enas-micro"
    classifier = "classifier"
    dimensions: ClassVar[Mapping[str, Dimension]] = {**_dimensions("normal"), **_dimensions("reduction")}

    def __init__(self, *, cells: int = 6, width: float | None = None, max_width: int = 512, **ranges: Range) -> None:
        super().__init__(cells=cells, width=width, max_width=max_width, **ranges)

    def cell(self, parameters: Parameters, kind: str) -> TwoInputCell:
        """Its blocks as the parameters say them."""

        def half(name: str) -> Half:
            return int(parameters[f"{name}_input"]), str(parameters[name])

        names = (f"{kind}_block{block}" for block in range(1, BLOCKS + 1))
        return tuple((half(f"{name}_first"), half(f"{name}_second")) for name in names)

    def add_cell(self, sketch: Sketch, cell: TwoInputCell, inputs: tuple[int, int], place: Place, reduces: bool) -> int:
        """The number of the projection of what none of its blocks reads."""
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
    """An input of a reduction cell at the resolution of its blocks."""
    name = f"{place.name}_rest{state}"
    return sketch.add("pool_conv1x1_bn", (number,), place.width, stride=2, stage=place.stage, name=name)


def _operation(name: str, stride: int) -> str:
    return "pool_conv1x1_bn" if name == "identity" and stride > 1 else OPERATIONS[name]
