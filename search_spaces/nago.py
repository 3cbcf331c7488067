"""NAGO: a graph of graphs of graphs (Ru, Esperanca and Carlucci 2020, https://arxiv.org/abs/2004.01395), the default.

A Watts-Strogatz graph of blocks; each block is its own Erdos-Renyi graph of cells; each cell its own Watts-Strogatz
graph of operations. A family is eight numbers: sizes and randomness of the three generators.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.blueprint import Blueprint, Sketch, is_small
from search_spaces.errors import SpaceError
from search_spaces.graphs import erdos_renyi, watts_strogatz
from search_spaces.layers import Shape
from search_spaces.operations import known_operation
from search_spaces.space import Dimension, Parameters, Range, Space
from search_spaces.wiring import Place, connect, wire

__all__ = ["Nago"]

STAGES = 3


class Nago(Space):
    """The eight-dimensional NAGO space.

    A third of the blocks (in their order, fractions to the earlier stage) makes each of three stages of widths 1:2:4,
    each at half the resolution of the one before. What a block reads of an earlier stage is pooled to its resolution
    and projected to its width by a 1x1 convolution with batch norm, once for all readers of a stage. Inputs of up to
    39 px enter through two 3x3 convolutions; larger ones through two separable convolutions of stride 2.

    Two things differ from the paper. Neighbours are even (the generator halves them, so 2 and 3 are one family). The
    head's width is a ratio of the last stage's, not 1280, which alone would break a small budget.

    Args:
        operation: Of every node of a cell; `relu_sepconv3x3_bn` is the separable one.
        head_ratio: Width of the head as a multiple of the last stage's.
        width: See `Space`; of the first stage.
        max_width: See `Space`.
        ranges: See `Space`; also beyond the paper's, such as `top_nodes=20, middle_nodes=1`, a chain.
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
    }

    def __init__(
        self,
        *,
        operation: str = "relu_conv3x3_bn",
        head_ratio: float = 2.0,
        width: float | None = None,
        max_width: int = 512,
        **ranges: Range,
    ) -> None:
        super().__init__(width=width, max_width=max_width, **ranges)
        if head_ratio <= 0:
            raise SpaceError(f"`head_ratio > 0` must hold, but got {head_ratio=}.")
        self.operation, self.head_ratio = known_operation(operation), head_ratio

    def blueprint(
        self, parameters: Parameters, input_shape: Shape, classes: int, rng: np.random.Generator
    ) -> Blueprint:
        """One draw: a top graph, then for each block in order a middle graph, for each cell in order a bottom graph."""
        small = is_small(input_shape)
        stages, stem, head = (0, 1, 2), 3, 4
        sketch = Sketch(input_shape, classes, (1, 2, 4, 1 if small else 0.5, 4 * self.head_ratio), self.name)
        if small:
            first = sketch.add("conv3x3_bn", (0,), stem, name="stem1")
            last = sketch.add("relu_conv3x3_bn", (first,), stages[0], name="stem2")
        else:
            first = sketch.add("sepconv3x3_bn", (0,), stem, stride=2, name="stem1")
            last = sketch.add("relu_sepconv3x3_bn", (first,), stages[0], stride=2, name="stem2")
        top = watts_strogatz(*_ring(parameters, "top"), rng)
        bridges = _Bridges(sketch, {last: "stem"})

        def block(number: int, inputs: tuple[int, ...]) -> int:
            stage = stage_of(number, top.nodes)
            place = Place(stages[stage], stage, f"stage{stage + 1}_block{number + 1}")
            output = self._block(sketch, bridges.to(stage, inputs), place, parameters, rng)
            bridges.names[output] = f"block{number + 1}"
            return output

        ends = connect(top, (last,), block)
        sinks = bridges.to(STAGES - 1, tuple(ends[sink] for sink in top.sinks))
        if len(sinks) > 1:
            sinks = (sketch.add("identity", sinks, stages[-1], merge="mean", stage=STAGES - 1, name="features"),)
        return sketch.classify(sinks[0], head, STAGES - 1)

    def describe(self, parameters: Parameters) -> str:
        """Generators from top to bottom, as `WS(8,4,0.6) of ER(3,0.7) of WS(5,4,any)`; says if it has one member."""
        full = self.complete(parameters)
        probability = f"{full['middle_probability']:.2g}" if int(full["middle_nodes"]) > 2 else "any"
        middle = f"ER({full['middle_nodes']},{probability})"
        text = f"{_ring_text(full, 'top')} of {middle} of {_ring_text(full, 'bottom')}"
        return f"{text}: one member" if self.single_member(parameters) else text

    def single_member(self, parameters: Parameters) -> bool:
        """Whether no generator leaves anything to chance: complete or unrewired rings and a trivial middle."""
        full = self.complete(parameters)
        middle = int(full["middle_nodes"]) <= 2 or full["middle_probability"] == 1
        return middle and all(
            _complete(full, level) or full[f"{level}_probability"] == 0 for level in ("top", "bottom")
        )

    def _block(
        self, sketch: Sketch, inputs: tuple[int, ...], place: Place, parameters: Parameters, rng: np.random.Generator
    ) -> int:
        middle = erdos_renyi(int(parameters["middle_nodes"]), float(parameters["middle_probability"]), rng)

        def cell(number: int, inputs: tuple[int, ...]) -> int:
            inner = Place(place.width, place.stage, f"{place.name}_cell{number + 1}")
            bottom = watts_strogatz(*_ring(parameters, "bottom"), rng)

            def node(number: int, inputs: tuple[int, ...]) -> int:
                name = f"{inner.name}_node{number + 1}"
                return sketch.add(self.operation, inputs, place.width, stage=place.stage, name=name)

            return wire(sketch, bottom, inputs, inner, node)

        return wire(sketch, middle, inputs, place, cell)


def _ring(parameters: Parameters, level: str) -> tuple[int, int, float]:
    """Nodes, neighbours and probability of a Watts-Strogatz level."""
    neighbours, probability = parameters[f"{level}_neighbours"], parameters[f"{level}_probability"]
    return int(parameters[f"{level}_nodes"]), int(neighbours), float(probability)


def _complete(parameters: Parameters, level: str) -> bool:
    nodes, neighbours, _ = _ring(parameters, level)
    return nodes <= neighbours + 1


def _ring_text(parameters: Parameters, level: str) -> str:
    nodes, neighbours, probability = _ring(parameters, level)
    return f"WS({nodes},{neighbours},{'any' if _complete(parameters, level) else f'{probability:.2g}'})"


def stage_of(block: int, blocks: int) -> int:
    """The stage, 0 to 2, of a block: thirds of the blocks in their order."""
    return STAGES * block // blocks


class _Bridges:
    """Pooled and projected copies of outputs for later stages, one for each pair of output and stage."""

    def __init__(self, sketch: Sketch, names: dict[int, str]) -> None:
        self.sketch, self.names = sketch, names
        self._made: dict[tuple[int, int], int] = {}

    def to(self, stage: int, sources: tuple[int, ...]) -> tuple[int, ...]:
        """The sources as nodes of this stage; a source that is of it already stays."""
        return tuple(self._bridge(source, stage) for source in sources)

    def _bridge(self, source: int, stage: int) -> int:
        down = stage - self.sketch.nodes[source].stage
        if not down:
            return source
        if (source, stage) not in self._made:
            name = f"{self.names[source]}_to_stage{stage + 1}"
            self._made[source, stage] = self.sketch.add(
                "pool_conv1x1_bn", (source,), stage, stride=2**down, stage=stage, name=name
            )
        return self._made[source, stage]
