"""DARTS: a normal and a reduction cell, repeated (Liu, Simonyan and Yang 2019, https://arxiv.org/abs/1806.09055)."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from itertools import combinations
from operator import index
from typing import ClassVar

from optuna.distributions import CategoricalDistribution

from search_spaces.design.blueprint import Sketch, Total
from search_spaces.design.space import Dimension, Parameters, Range, Value
from search_spaces.design.wiring import Place
from search_spaces.errors import SpaceError
from search_spaces.spaces.two_input_cells import INPUTS, Half, TwoInputCell, TwoInputCells, add_nodes, enter

__all__ = ["Darts", "format_genotype", "parse_genotype"]

NODES = 4

OPERATIONS = {
    "skip_connect": "identity",
    "max_pool_3x3": "maxpool3x3",
    "avg_pool_3x3": "average3x3",
    "dil_conv_3x3": "relu_dilated_sepconv3x3_bn",
    "dil_conv_5x5": "relu_dilated_sepconv5x5_bn",
    "sep_conv_3x3": "relu_sepconv3x3_bn_twice",
    "sep_conv_5x5": "relu_sepconv5x5_bn_twice",
}
"""Operation of each name in the paper, ordered by cost at stride 1."""

FIELDS = {"normal": "normal", "reduction": "reduce"}
"""Name of each kind of cell in a published genotype."""

ALL_NODES = str([INPUTS + node for node in range(NODES)])


def _dimensions(kind: str) -> dict[str, Dimension]:
    """Dimensions of one kind of cell; the first node has only one pair of inputs to read."""
    names = list(OPERATIONS)
    if kind == "reduction":  # at stride 2 a skip has parameters and a pool has none
        names = [*names[1:3], names[0], *names[3:]]
    result: dict[str, Dimension] = {}
    for node in range(1, NODES + 1):
        pairs = tuple(f"{first},{second}" for first, second in combinations(range(node + 1), 2))
        if len(pairs) > 1:
            result[f"{kind}_node{node}_inputs"] = Dimension(CategoricalDistribution(pairs))
        for half in ("first", "second"):
            result[f"{kind}_node{node}_{half}"] = Dimension(CategoricalDistribution(tuple(names)))
    return result


class Darts(TwoInputCells):
    """The discrete cells of DARTS: four nodes, each the sum of two operations on two different states.

    States 0 and 1 are the outputs of the two preceding cells, the earlier one first; node i is state i + 1. `first` and
    `second` are the operations on the smaller and the larger state of a node's `inputs`. Cells that differ only in the
    order of their nodes give the same architecture.

    As published, the output is the concatenation of the four nodes; both inputs pass a ReLU, a 1x1 convolution and
    batch norm; the cells at one and two thirds of the depth are reduction cells, with twice the width and stride 2 in
    operations on an input; the head is a global pool and a linear layer. Inputs of up to 39 px enter through a 3x3
    convolution of three times the width. Larger ones enter as in the paper's ImageNet network, through three
    convolutions of stride 2, so that the first cell works at an eighth of the resolution. The published CIFAR network
    has 20 cells and width 36, the ImageNet network 14 cells and width 48.

    Departures [ours]: The operation `none`, which only serves the relaxation, is excluded, as in published genotypes.
    Where the paper halves a map by two 1x1 convolutions that each read every fourth position, a 2x2 average pooling
    precedes one 1x1 convolution; parameters and multiply-accumulates are the same, and no position is dropped. Drop
    path and the auxiliary classifier belong to training and are not part of the network.

    Args:
        cells: Number of cells; at least 4.
        width: See `Space`; width of the nodes of the first stage.
        max_width: See `Space`.
        **ranges: See `Space`.
    """

    name = "darts"
    classifier = "pool_classifier"
    dimensions: ClassVar[Mapping[str, Dimension]] = {**_dimensions("normal"), **_dimensions("reduction")}

    def __init__(self, *, cells: int = 8, width: float | None = None, max_width: int = 512, **ranges: Range) -> None:
        super().__init__(cells=cells, width=width, max_width=max_width, **ranges)

    def cell(self, parameters: Parameters, kind: str) -> TwoInputCell:
        """The cell that complete parameters describe."""
        return _cell(parameters, kind)

    def add_cell(self, sketch: Sketch, cell: TwoInputCell, inputs: tuple[int, int], place: Place, reduces: bool) -> int:
        """Index of the concatenation of the cell's nodes, after all of them are added."""
        states = add_nodes(sketch, cell, enter(sketch, inputs, place), place, reduces, _operation)
        width = sketch.derive(Total((place.width,) * NODES))
        name = f"{place.name}_output"
        return sketch.add("identity", states[INPUTS:], width, merge="concat", stage=place.stage, name=name)


def parse_genotype(text: str) -> dict[str, Value]:
    """Parameters of a genotype in the published form.

    Args:
        text: A genotype such as `Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=[2, 3, 4, 5], reduce=[...],
            ...)`. Each `concat` may also be `range(2, 6)`, or be omitted.

    Raises:
        SpaceError: If the text is not of this form, or describes a cell that is not in this space.
    """
    fields = _fields(text)
    parameters: dict[str, Value] = {}
    for kind, field in FIELDS.items():
        outputs = fields.get(f"{field}_concat", ALL_NODES)
        if outputs not in (ALL_NODES, "range(2, 6)"):
            raise SpaceError(
                f"A cell's output must concatenate all four nodes, {ALL_NODES}, but got {field}_concat={outputs}."
            )
        try:
            halves = [(index(state), str(operation)) for operation, state in ast.literal_eval(fields[field])]
        except (KeyError, TypeError, ValueError):
            raise SpaceError(f"A genotype must have `{field}=[(operation, state), ...]`, but got {text!r}.") from None
        parameters |= _parameters(kind, halves)
    return parameters


def format_genotype(parameters: Parameters) -> str:
    """Genotype of complete parameters in the published form."""
    parts = []
    for kind, field in FIELDS.items():
        halves = [(operation, state) for node in _cell(parameters, kind) for state, operation in node]
        parts.append(f"{field}={halves}, {field}_concat={ALL_NODES}")
    return f"Genotype({', '.join(parts)})"


def _fields(text: str) -> dict[str, str]:
    """Keyword arguments of a call, as source text; nothing is evaluated."""
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        call = None
    if not isinstance(call, ast.Call) or call.args:
        raise SpaceError(f"A genotype must be written `Genotype(normal=[...], reduce=[...])`, but got {text!r}.")
    return {str(keyword.arg): ast.unparse(keyword.value) for keyword in call.keywords}


def _parameters(kind: str, halves: list[Half]) -> dict[str, Value]:
    """Parameters of one cell from the consecutive halves of its nodes."""
    if len(halves) != 2 * NODES:
        raise SpaceError(f"A cell must have {2 * NODES} operations, but got {len(halves)}: {halves}.")
    parameters: dict[str, Value] = {}
    for node in range(1, NODES + 1):
        (first, one), (second, other) = sorted(halves[2 * node - 2 : 2 * node])
        if not 0 <= first < second <= node or not {one, other} <= OPERATIONS.keys():
            raise SpaceError(
                f"Node {node} must read two different states of 0 to {node}, each by one of {', '.join(OPERATIONS)}, "
                f"but got {halves[2 * node - 2 : 2 * node]}."
            )
        if node > 1:
            parameters[f"{kind}_node{node}_inputs"] = f"{first},{second}"
        parameters |= {f"{kind}_node{node}_first": one, f"{kind}_node{node}_second": other}
    return parameters


def _cell(parameters: Parameters, kind: str) -> TwoInputCell:
    """The cell that complete parameters describe."""

    def half(node: int, place: int, which: str) -> Half:
        states = str(parameters[f"{kind}_node{node}_inputs"]).split(",") if node > 1 else ("0", "1")
        return int(states[place]), str(parameters[f"{kind}_node{node}_{which}"])

    return tuple((half(node, 0, "first"), half(node, 1, "second")) for node in range(1, NODES + 1))


def _operation(name: str, stride: int) -> str:
    return "relu_pool_conv1x1_bn" if name == "skip_connect" and stride > 1 else OPERATIONS[name]
