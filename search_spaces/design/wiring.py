"""Nodes of a network from a graph whose vertices are parts of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from search_spaces.design.blueprint import Sketch
from search_spaces.design.graphs import Dag
from search_spaces.design.stems import is_small

__all__ = ["Bridges", "Place", "connect", "stem", "wire"]


@dataclass(frozen=True)
class Place:
    """Position of a graph in the network: place of its width, stage, and prefix of its nodes' names."""

    width: int
    stage: int
    name: str


def stem(sketch: Sketch, half: int) -> int:
    """Index of the last node of a new stem, which has the width at place 0.

    The stem is one 3x3 convolution for small inputs, else two of stride 2, the first to the width at place `half`.
    """
    if is_small(sketch.input_shape):
        return sketch.add("conv3x3_bn", (0,), 0, name="stem")
    first = sketch.add("conv3x3_bn", (0,), half, stride=2, name="stem1")
    return sketch.add("relu_conv3x3_bn", (first,), 0, stride=2, name="stem2")


def wire(
    sketch: Sketch,
    dag: Dag,
    inputs: tuple[int, ...],
    place: Place,
    part: Callable[[int, tuple[int, ...]], int],
) -> int:
    """Index of the node that holds the output of a graph, after its nodes are added to the sketch.

    Every source of the graph reads all `inputs`, merged as a weighted sum; the output is the mean of the sinks. The
    merge has a node of its own only if several sources share it, and the mean only if there are several sinks.

    Args:
        sketch: Blueprint to which nodes are added.
        dag: Graph of the parts.
        inputs: Indices of the nodes that the graph reads.
        place: Position of the merge and the mean.
        part: Function that adds part i with the given inputs and returns the index of its output.
    """
    if len(inputs) > 1 and len(dag.sources) > 1:
        inputs = (sketch.add("identity", inputs, place.width, stage=place.stage, name=f"{place.name}_input"),)
    outputs = connect(dag, inputs, part)
    if len(dag.sinks) == 1:
        return outputs[dag.sinks[0]]
    ends = tuple(outputs[sink] for sink in dag.sinks)
    return sketch.add("identity", ends, place.width, merge="mean", stage=place.stage, name=f"{place.name}_output")


def connect(dag: Dag, inputs: tuple[int, ...], part: Callable[[int, tuple[int, ...]], int]) -> list[int]:
    """Index of the output of each part; sources read `inputs`, other parts the outputs of their predecessors.

    Args:
        dag: Graph of the parts.
        inputs: Indices of the nodes that the graph reads.
        part: Function that adds part i with the given inputs and returns the index of its output.
    """
    outputs: list[int] = []
    for number, before in enumerate(dag.predecessors):
        outputs.append(part(number, tuple(outputs[source] for source in before) or inputs))
    return outputs


class Bridges:
    """Pooled and projected copies of outputs for later stages, one for each pair of output and stage.

    Stage s has the width at place s and half the resolution of the stage before.

    Args:
        sketch: Blueprint to which nodes are added.
        names: Prefix of the names of the copies, for each output; entries may be added later.
    """

    def __init__(self, sketch: Sketch, names: dict[int, str]) -> None:
        self.sketch, self.names = sketch, names
        self._made: dict[tuple[int, int], int] = {}

    def to(self, stage: int, sources: tuple[int, ...]) -> tuple[int, ...]:
        """The sources as nodes of this stage; sources that already are of this stage are returned unchanged."""
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
