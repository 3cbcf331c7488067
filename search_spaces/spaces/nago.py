"""NAGO, the default space: a graph of graphs of graphs (Ru et al. 2020, https://arxiv.org/abs/2004.01395).

A network is a Watts-Strogatz graph of blocks, each block an Erdos-Renyi graph of cells, and each cell a Watts-Strogatz
graph of operations. A family is described by eight numbers: the sizes and the randomness of the three generators.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import ClassVar

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.architecture.layers import Shape
from search_spaces.architecture.operations import keeps_channels
from search_spaces.design.blueprint import Blueprint, Sketch
from search_spaces.design.graphs import erdos_renyi, watts_strogatz
from search_spaces.design.space import WIDEST, Dimension, Parameters, Range, Space, Value
from search_spaces.design.stems import is_small
from search_spaces.design.wiring import Bridges, Place, connect, wire
from search_spaces.errors import SpaceError

__all__ = ["Nago"]

STAGES = 3

SIZES = ("top_nodes", "middle_nodes", "bottom_nodes")
MOST_NODES = 30_000  # of a network; the paper's have up to 1,000

OPERATIONS = (
    "relu_conv3x3_bn",
    "relu_conv1x1_bn",
    "relu_conv1x3_bn",
    "relu_conv3x1_bn",
    "relu_conv5x5_bn",
    "relu_sepconv3x3_bn",
    "relu_sepconv5x5_bn",
    "maxpool3x3",
    "average3x3",
)
MERGES = ("weighted_sum", "sum", "concat", "attention")
MIXED = "mixed"


class Nago(Space):
    """The eight-dimensional NAGO space, with six further dimensions that are fixed unless a range opens them.

    The blocks are divided, in order and in equal parts as far as possible, into three stages of widths 1:2:4, each at
    half the resolution of the stage before. An output that a later stage reads is pooled to that stage's resolution and
    projected to its width by a 1x1 convolution with batch norm, once for all readers of the stage. Inputs of up to 39
    px enter through two 3x3 convolutions; larger ones through two separable convolutions of stride 2.

    The further dimensions follow the paper's larger space, which lowered the accuracy there:

    * `operation` of the cells' nodes; with `mixed`, every node draws its own uniformly.
    * `merge`, by which a node merges its inputs: weighted sum, sum, concatenation, `attention` or `mixed`. `attention`
      is the sum of the inputs, each multiplied per channel by a gate computed from its means (squeeze-and-excitation);
      all readers of an output share its gate. Blocks and cells always merge their inputs by weighted sums.
    * `stage2_start` and `stage3_start`, the shares of the blocks at which stages 2 and 3 begin.
    * `stage2_width` and `stage3_width`, their widths as multiples of the first stage's.

    Departures from the paper [ours]: Numbers of neighbours are even, because the generator halves them, so that 2 and 3
    would be the same family. The head's width is a multiple of the last stage's instead of 1280, which alone would
    exceed a small budget.

    Args:
        head_ratio: Width of the head as a multiple of the last stage's.
        width: See `Space`; width of the first stage.
        max_width: See `Space`.
        **ranges: See `Space`; they may exceed the paper's, as in `top_nodes=20, middle_nodes=1`, up to `MOST_NODES`
            nodes in a network. For separable convolutions set `operation="relu_sepconv3x3_bn"`.
    """

    name = "nago"
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        "top_nodes": Dimension(IntDistribution(3, 10), legal=(STAGES, 1000)),
        "top_neighbours": Dimension(IntDistribution(2, 4, step=2), legal=(2, 1000)),
        "top_probability": Dimension(FloatDistribution(0.1, 0.9), legal=(0, 1)),
        "middle_nodes": Dimension(IntDistribution(1, 10), legal=(1, 1000)),
        "middle_probability": Dimension(FloatDistribution(0.1, 0.9), legal=(0, 1)),
        "bottom_nodes": Dimension(IntDistribution(3, 10), legal=(1, 1000)),
        "bottom_neighbours": Dimension(IntDistribution(2, 4, step=2), legal=(2, 1000)),
        "bottom_probability": Dimension(FloatDistribution(0.1, 0.9), legal=(0, 1)),
        "operation": Dimension(CategoricalDistribution((*OPERATIONS, MIXED)), default=OPERATIONS[0]),
        "merge": Dimension(CategoricalDistribution((*MERGES, MIXED)), default=MERGES[0]),
        "stage2_start": Dimension(FloatDistribution(0.2, 0.5), legal=(0, 1), default=1 / 3),
        "stage3_start": Dimension(FloatDistribution(0.5, 0.8), legal=(0, 1), default=2 / 3),
        "stage2_width": Dimension(FloatDistribution(1.0, 3.0), legal=(0.1, 100), default=2.0),
        "stage3_width": Dimension(FloatDistribution(1.0, 6.0), legal=(0.1, 100), default=4.0),
    }

    def __init__(
        self,
        *,
        head_ratio: float = 2.0,
        width: float | None = None,
        max_width: int = 512,
        **ranges: Range,
    ) -> None:
        super().__init__(width=width, max_width=max_width, **ranges)
        if not 0 < head_ratio <= WIDEST:
            raise SpaceError(f"`0 < head_ratio <= {WIDEST}` must hold, but got {head_ratio=}.")
        self.head_ratio = head_ratio
        most = [self.largest(name) for name in SIZES if name in self.dimensions]
        if prod(most) > MOST_NODES:
            raise SpaceError(
                f"`{' * '.join(SIZES)} <= {MOST_NODES:,}` must hold, but got up to "
                f"{' * '.join(f'{each:,}' for each in most)} = {prod(most):,}. Narrow one of their ranges."
            )

    def blueprint(
        self, parameters: Parameters, input_shape: Shape, classes: int, rng: np.random.Generator
    ) -> Blueprint:
        """One draw: the top graph, then each block's middle graph in order, with the bottom graph of each cell."""
        small = is_small(self.seen(input_shape))
        stages, stem, head = (0, 1, 2), 3, 4
        second, third = float(parameters["stage2_width"]), float(parameters["stage3_width"])
        ratios = (1, second, third, 1 if small else 0.5, third * self.head_ratio)
        sketch = Sketch(input_shape, classes, ratios, self.name)
        entry = self.enter(sketch)
        if small:
            first = sketch.add("conv3x3_bn", (entry,), stem, name="stem1")
            last = sketch.add("relu_conv3x3_bn", (first,), stages[0], name="stem2")
        else:
            first = sketch.add("sepconv3x3_bn", (entry,), stem, stride=2, name="stem1")
            last = sketch.add("relu_sepconv3x3_bn", (first,), stages[0], stride=2, name="stem2")
        top = watts_strogatz(*_ring(parameters, "top"), rng)
        bridges = Bridges(sketch, {last: "stem"})
        merging = _Merging(sketch, str(parameters["merge"]), rng)

        def block(number: int, inputs: tuple[int, ...]) -> int:
            stage = stage_of(number, top.nodes, float(parameters["stage2_start"]), float(parameters["stage3_start"]))
            place = Place(stages[stage], stage, f"stage{stage + 1}_block{number + 1}")
            output = self._block(merging, bridges.to(stage, inputs), place, parameters, rng)
            bridges.names[output] = f"block{number + 1}"
            return output

        ends = connect(top, (last,), block)
        sinks = bridges.to(STAGES - 1, tuple(ends[sink] for sink in top.sinks))
        if len(sinks) > 1:
            sinks = (sketch.add("identity", sinks, stages[-1], merge="mean", stage=STAGES - 1, name="features"),)
        return sketch.classify(sinks[0], head, STAGES - 1)

    def seen(self, input_shape: Shape) -> Shape:
        """Shape of a sample at the stem."""
        return input_shape

    def enter(self, sketch: Sketch) -> int:
        """Index of the node that the stem reads."""
        return 0

    def describe(self, parameters: Parameters) -> str:
        """Generators from top to bottom, such as `WS(8,4,0.6) of ER(3,0.7) of WS(5,4,any)`."""
        full = self.complete(parameters)
        probability = f"{full['middle_probability']:.2g}" if int(full["middle_nodes"]) > 2 else "any"
        middle = f"ER({full['middle_nodes']},{probability})"
        text = f"{_ring_text(full, 'top')} of {middle} of {_ring_text(full, 'bottom')}"
        opened = [name for name in self.distributions() if self.dimensions[name].default is not None]
        text = ", ".join([text, *(f"{name} {_short(full[name])}" for name in opened)])
        return f"{text}: one member" if self.single_member(parameters) else text

    def single_member(self, parameters: Parameters) -> bool:
        """Whether no generator is random: rings that are complete or not rewired, and trivial middle graphs."""
        full = self.complete(parameters)
        middle = int(full["middle_nodes"]) <= 2 or full["middle_probability"] == 1
        drawn = MIXED in (full["operation"], full["merge"])
        return (
            not drawn
            and middle
            and all(_complete(full, level) or full[f"{level}_probability"] == 0 for level in ("top", "bottom"))
        )

    def _block(
        self, merging: _Merging, inputs: tuple[int, ...], place: Place, parameters: Parameters, rng: np.random.Generator
    ) -> int:
        middle = erdos_renyi(int(parameters["middle_nodes"]), float(parameters["middle_probability"]), rng)

        def cell(number: int, inputs: tuple[int, ...]) -> int:
            inner = Place(place.width, place.stage, f"{place.name}_cell{number + 1}")
            bottom = watts_strogatz(*_ring(parameters, "bottom"), rng)

            def node(number: int, inputs: tuple[int, ...]) -> int:
                operation = str(parameters["operation"])
                if operation == MIXED:
                    operation = str(rng.choice(OPERATIONS))
                name = f"{inner.name}_node{number + 1}"
                return merging.add(operation, inputs, Place(inner.width, inner.stage, name))

            return wire(merging.sketch, bottom, inputs, inner, node)

        return wire(merging.sketch, middle, inputs, place, cell)


def _ring(parameters: Parameters, level: str) -> tuple[int, int, float]:
    """Nodes, neighbours and probability of a level with a Watts-Strogatz graph."""
    neighbours, probability = parameters[f"{level}_neighbours"], parameters[f"{level}_probability"]
    return int(parameters[f"{level}_nodes"]), int(neighbours), float(probability)


def _complete(parameters: Parameters, level: str) -> bool:
    nodes, neighbours, _ = _ring(parameters, level)
    return nodes <= neighbours + 1


def _ring_text(parameters: Parameters, level: str) -> str:
    nodes, neighbours, probability = _ring(parameters, level)
    return f"WS({nodes},{neighbours},{'any' if _complete(parameters, level) else f'{probability:.2g}'})"


def stage_of(block: int, blocks: int, second: float = 1 / 3, third: float = 2 / 3) -> int:
    """Stage of a block, from 0 to 2.

    Args:
        block: Index of the block.
        blocks: Number of blocks.
        second: Share of the blocks at which the second stage begins.
        third: Share of the blocks at which the third stage begins.
    """
    return (block / blocks >= second) + (block / blocks >= third)


def _short(value: Value) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)


class _Merging:
    """Adds operations whose inputs are merged as the family requires."""

    def __init__(self, sketch: Sketch, rule: str, rng: np.random.Generator) -> None:
        self.sketch, self.rule, self.rng = sketch, rule, rng
        self._attended: dict[int, int] = {}

    def add(self, operation: str, inputs: tuple[int, ...], place: Place) -> int:
        """Index of the operation's node, after it and the nodes of its merge are added."""
        rule = "none" if len(inputs) == 1 else str(self.rng.choice(MERGES)) if self.rule == MIXED else self.rule
        if rule == "attention":
            rule, inputs = "sum", tuple(self._scaled(source) for source in inputs)
        if rule == "concat" and keeps_channels(operation):
            name = f"{place.name}_merge"
            inputs = (self.sketch.add("relu_conv1x1_bn", inputs, place.width, 1, rule, place.stage, name),)
        return self.sketch.add(operation, inputs, place.width, 1, rule, place.stage, place.name)

    def _scaled(self, source: int) -> int:
        """Index of the product of a node and its gate, which are added once."""
        if source not in self._attended:
            node = self.sketch.nodes[source]
            gate = self.sketch.add("global_gate", (source,), node.channels, stage=node.stage, name=f"{node.name}_gate")
            self._attended[source] = self.sketch.add(
                "identity", (source, gate), node.channels, 1, "product", node.stage, f"{node.name}_scaled"
            )
        return self._attended[source]
