"""Networks of random stages, laid out as in RandWire (Xie et al. 2019, https://arxiv.org/abs/1904.01569)."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from search_spaces.architecture.layers import Shape
from search_spaces.architecture.operations import known_operation
from search_spaces.design.blueprint import Blueprint, Sketch
from search_spaces.design.graphs import Dag
from search_spaces.design.space import WIDEST, Parameters, Range, Space
from search_spaces.design.stems import is_small
from search_spaces.design.wiring import Place, wire
from search_spaces.errors import SpaceError

__all__ = ["RandomStages"]


MOST_NODES = 1000  # of a stage; the paper uses 32


class RandomStages(Space):
    """Networks whose stages are independent draws of one random-graph generator, which is searched.

    The small regime has a convolution as second layer and three random stages of widths 1:2:4. The regular regime has a
    random graph of half the nodes as second layer and three stages of widths 2:4:8. The sources of every random stage
    have stride 2. Convolutions of the stem have stride 2 as well, except for inputs of up to 39 px, which keep their
    resolution.

    A subclass draws the graphs. Its `fewest_nodes` is the smallest number of nodes of a stage.

    Args:
        regime: `small` or `regular`.
        nodes: Number of operations in each random stage; 32 in the paper.
        operation: Operation of every node; the default is that of the paper.
        head_ratio: Width of the head as a multiple of the last stage's; the paper always has 1280 channels.
        width: See `Space`; the paper's C.
        max_width: See `Space`.
        **ranges: See `Space`.
    """

    fewest_nodes: ClassVar[int] = 1

    def __init__(
        self,
        *,
        regime: str = "small",
        nodes: int = 32,
        operation: str = "relu_sepconv3x3_bn",
        head_ratio: float = 2.0,
        width: float | None = None,
        max_width: int = 512,
        **ranges: Range,
    ) -> None:
        super().__init__(width=width, max_width=max_width, **ranges)
        if regime not in ("small", "regular"):
            raise SpaceError(f"`regime` must be small or regular, but got {regime!r}.")
        if not 0 < head_ratio <= WIDEST:
            raise SpaceError(f"`0 < head_ratio <= {WIDEST}` must hold, but got {head_ratio=}.")
        self.regime, self.nodes, self.head_ratio = regime, nodes, head_ratio
        self.operation = known_operation(operation)
        if self.smallest_stage < self.fewest_nodes or nodes > MOST_NODES:
            fewest = f"{self.fewest_nodes} (regular: {2 * self.fewest_nodes})"
            raise SpaceError(f"`{fewest} <= nodes <= {MOST_NODES}` must hold, but got {nodes}.")
        self.check_ranges()

    @abstractmethod
    def graph(self, parameters: Parameters, nodes: int, rng: np.random.Generator) -> Dag:
        """One draw of a stage.

        Args:
            parameters: Complete and checked parameters.
            nodes: Number of nodes.
            rng: Source of randomness.
        """

    @abstractmethod
    def check_ranges(self) -> None:
        """Raise `SpaceError` if `graph` could fail within the ranges."""

    def blueprint(
        self, parameters: Parameters, input_shape: Shape, classes: int, rng: np.random.Generator
    ) -> Blueprint:
        """One draw: the graphs of the random stages, in order."""
        stride = 1 if is_small(input_shape) else 2
        widths = (1, 2, 4) if self.regime == "small" else (1, 2, 4, 8)
        stem, head = len(widths), len(widths) + 1
        sketch = Sketch(input_shape, classes, (*widths, 0.5, widths[-1] * self.head_ratio), self.name)
        last = sketch.add("conv3x3_bn", (0,), stem, stride=stride, name="stem1")
        if self.regime == "small":
            last = sketch.add("relu_conv3x3_bn", (last,), 0, stride=stride, name="stem2")
        for stage in range(len(widths)):
            nodes = self.nodes if stage else self.smallest_stage
            place = Place(stage, stage, f"stage{stage + 1}")
            last = self._stage(sketch, self.graph(parameters, nodes, rng), last, place)
        return sketch.classify(last, head, len(widths) - 1)

    @property
    def smallest_stage(self) -> int:
        """Number of nodes of the first random stage: half those of the others in the regular regime."""
        return self.nodes if self.regime == "small" else self.nodes // 2

    def _stage(self, sketch: Sketch, dag: Dag, entering: int, place: Place) -> int:
        def node(number: int, inputs: tuple[int, ...]) -> int:
            stride = 1 if dag.predecessors[number] else 2
            name = f"{place.name}_node{number + 1}"
            return sketch.add(self.operation, inputs, place.width, stride=stride, stage=place.stage, name=name)

        return wire(sketch, dag, (entering,), place, node)
