"""RandWire: stages of randomly wired operations (Xie et al. 2019, https://arxiv.org/abs/1904.01569)."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import ClassVar

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.architecture.layers import Shape
from search_spaces.architecture.operations import known_operation
from search_spaces.design.blueprint import Blueprint, Sketch, is_small
from search_spaces.design.graphs import Dag, barabasi_albert, erdos_renyi, watts_strogatz
from search_spaces.design.space import Dimension, Parameters, Range, Space
from search_spaces.design.wiring import Place, wire
from search_spaces.errors import SpaceError

__all__ = ["RandWire"]


MOST_NODES = 1000  # of a stage; the paper uses 32


class RandWire(Space):
    """Networks whose stages are independent draws of one random-graph generator, which is searched.

    The small regime has a convolution as second layer and three random stages of widths 1:2:4. The regular regime has a
    random graph of half the nodes as second layer and three stages of widths 2:4:8. The sources of every random stage
    have stride 2. Convolutions of the stem have stride 2 as well, except for inputs of up to 39 px, which keep their
    resolution.

    Args:
        regime: `small` or `regular`.
        nodes: Number of operations in each random stage; 32 in the paper.
        operation: Operation of every node; the default is that of the paper.
        head_ratio: Width of the head as a multiple of the last stage's; the paper always has 1280 channels.
        width: See `Space`; the paper's C.
        max_width: See `Space`.
        **ranges: See `Space`.
    """

    name = "randwire"
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        "generator": Dimension(CategoricalDistribution(("er", "ba", "ws"))),
        "er_probability": Dimension(FloatDistribution(0.1, 0.9), "generator", ("er",), legal=(0, 1)),
        "ba_edges": Dimension(IntDistribution(1, 7), "generator", ("ba",), legal=(1, 1000)),
        "ws_neighbours": Dimension(IntDistribution(2, 8, step=2), "generator", ("ws",), legal=(2, 1000)),
        "ws_probability": Dimension(FloatDistribution(0.1, 0.9), "generator", ("ws",), legal=(0, 1)),
    }

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
        if not 0 < head_ratio < inf:
            raise SpaceError(f"`0 < head_ratio < inf` must hold, but got {head_ratio=}.")
        self.regime, self.nodes, self.head_ratio = regime, nodes, head_ratio
        self.operation = known_operation(operation)
        self._check_edges()

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
            nodes = self.nodes if self.regime == "small" or stage else self._first_nodes
            place = Place(stage, stage, f"stage{stage + 1}")
            last = self._stage(sketch, self._draw(parameters, nodes, rng), last, place)
        return sketch.classify(last, head, len(widths) - 1)

    def describe(self, parameters: Parameters) -> str:
        """Generator and its parameters, such as `WS(32,4,0.75)`."""
        full = self.complete(parameters)
        numbers = [f"{value:.2g}" for name, value in full.items() if name.startswith(f"{full['generator']}_")]
        text = f"{str(full['generator']).upper()}({','.join([str(self.nodes), *numbers])})"
        return f"{text}: one member" if self.single_member(parameters) else text

    def single_member(self, parameters: Parameters) -> bool:
        """Whether the generator gives only one graph in every stage."""
        full = self.complete(parameters)
        if full["generator"] == "ws":
            return self.nodes <= int(full["ws_neighbours"]) + 1 or full["ws_probability"] == 0
        if full["generator"] == "er":
            return self.nodes <= 2 or full["er_probability"] == 1
        return self.nodes == int(full["ba_edges"]) + 1

    @property
    def _first_nodes(self) -> int:
        """Number of nodes of the regular regime's first random stage."""
        return self.nodes // 2

    def _check_edges(self) -> None:
        """Raise `SpaceError` if a draw could fail because Barabasi-Albert needs fewer edges than nodes."""
        fewest = self.nodes if self.regime == "small" else self._first_nodes
        if fewest < 1 or self.nodes > MOST_NODES:
            raise SpaceError(f"`1 (regular: 2) <= nodes <= {MOST_NODES}` must hold, but got {self.nodes}.")
        edges = self._open.get("ba_edges")
        if "ba_edges" in self.fixed and self.fixed.get("generator", "ba") == "ba":
            most = int(self.fixed["ba_edges"])
        elif edges is not None and isinstance(edges.distribution, IntDistribution):
            most = edges.distribution.high
        else:
            return
        if most >= fewest:
            raise SpaceError(
                f"`ba_edges < nodes` must hold in every stage, but got ba_edges up to {most} for {fewest} nodes. "
                f"Narrow it with `ba_edges=(1, ...)` or choose generators with `generator=`."
            )

    def _draw(self, parameters: Parameters, nodes: int, rng: np.random.Generator) -> Dag:
        if parameters["generator"] == "er":
            return erdos_renyi(nodes, float(parameters["er_probability"]), rng)
        if parameters["generator"] == "ba":
            return barabasi_albert(nodes, int(parameters["ba_edges"]), rng)
        return watts_strogatz(nodes, int(parameters["ws_neighbours"]), float(parameters["ws_probability"]), rng)

    def _stage(self, sketch: Sketch, dag: Dag, entering: int, place: Place) -> int:
        def node(number: int, inputs: tuple[int, ...]) -> int:
            stride = 1 if dag.predecessors[number] else 2
            name = f"{place.name}_node{number + 1}"
            return sketch.add(self.operation, inputs, place.width, stride=stride, stage=place.stage, name=name)

        return wire(sketch, dag, (entering,), place, node)
