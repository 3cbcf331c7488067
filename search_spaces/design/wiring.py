"""How a graph of parts becomes nodes of a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from search_spaces.design.blueprint import Sketch, is_small
from search_spaces.design.graphs import Dag

__all__ = ["Bridges", "Place", "connect", "stem", "wire"]


@dataclass(frozen=True)
class Place:
    """Where in the network a graph goes: place of its width, stage, and the name that its nodes' names begin with."""

    width: int
    stage: int
    name: str


def stem(sketch: Sketch, half: int) -> int:
    """The number of the last node of a stem to the width at place 0.

    One 3x3 convolution for small inputs; else two of stride 2, the first to the width at place `half`.
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
    """The number of the node that holds the graph's output.

    Every source of the graph gets all `inputs`, merged as a weighted sum; the output is the mean of the sinks. No node
    is spent where there is nothing to do: the merge is one only if several sources share it, the mean only if there
    are several sinks.

    Args:
        sketch: Where nodes are added.
        dag: The graph of parts.
        inputs: Numbers of the nodes that come in.
        place: For the merge and the mean.
        part: Adds part number i with these inputs and returns the number of its output.
    """
    if len(inputs) > 1 and len(dag.sources) > 1:
        inputs = (sketch.add("identity", inputs, place.width, stage=place.stage, name=f"{place.name}_input"),)
    outputs = connect(dag, inputs, part)
    if len(dag.sinks) == 1:
        return outputs[dag.sinks[0]]
    ends = tuple(outputs[sink] for sink in dag.sinks)
    return sketch.add("identity", ends, place.width, merge="mean", stage=place.stage, name=f"{place.name}_output")


def connect(dag: Dag, inputs: tuple[int, ...], part: Callable[[int, tuple[int, ...]], int]) -> list[int]:
    """The output of each part, where a source reads `inputs` and any other part its predecessors' outputs."""
    outputs: list[int] = []
    for number, before in enumerate(dag.predecessors):
        outputs.append(part(number, tuple(outputs[source] for source in before) or inputs))
    return outputs


class Bridges:
    """Pooled and projected copies of outputs for later stages, one for each pair of output and stage.

    Stage s has the width at place s and half the resolution of the stage before.

    Args:
        sketch: Where nodes are added.
        names: What the names of an output's copies begin with; may grow.
    """

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
