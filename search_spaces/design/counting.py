"""Cost of a graph with open widths, prepared so that the cost at given widths is quick to compute.

Equal nodes are counted once, and the numbers of elements that are alive are linear in the widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import NDArray

from search_spaces.architecture.cost import BYTES, Cost
from search_spaces.architecture.format import Node
from search_spaces.architecture.layers import Shape
from search_spaces.architecture.memory import last_uses
from search_spaces.architecture.operations import Profile, profile

__all__ = ["Count", "count"]


@dataclass(frozen=True)
class _Step:
    """All nodes of one operation with the same widths and resolution; several entering widths are concatenated."""

    operation: str
    entering: tuple[int, ...]
    sizes: Shape
    leaving: int
    stride: int

    def at(self, table: Sequence[int]) -> Profile:
        channels = sum([table[place] for place in self.entering])
        return profile(self.operation, (channels, *self.sizes), table[self.leaving], self.stride)


@dataclass(frozen=True)
class Count:
    """The part of a graph's cost that does not depend on the widths.

    The peak is `max(live @ widths + running[runs])`: the live outputs at each moment of the execution, and the
    operation that runs then.

    Attributes:
        steps: The distinct operations with their places of widths.
        repeats: Number of nodes of each step.
        gates: Number of merge weights.
        live: Live elements for each channel of a width, `moments x widths`.
        runs: What runs, `moments`: 0 for nothing, then the steps, then the steps that must keep their input.
    """

    steps: tuple[_Step, ...]
    repeats: tuple[int, ...]
    gates: int
    live: NDArray[np.int64]
    runs: NDArray[np.int64]

    def cost(self, table: Sequence[int]) -> Cost:
        """Cost with these widths, by place."""
        steps = [step.at(table) for step in self.steps]
        params, buffers, macs = self.gates, 0, 0
        for n, step in zip(self.repeats, steps, strict=True):
            params += n * step.parameters
            buffers += n * step.buffers
            macs += n * step.macs
        running = np.array([0, *[step.running for step in steps], *[step.running_kept for step in steps]])
        peak = int((self.live @ np.array(table) + running[self.runs]).max())
        return Cost(params, macs, BYTES * peak, BYTES * (params + buffers))


def count(nodes: Sequence[Node], input_shape: Shape, table: Sequence[int], is_ordered: bool = True) -> Count:
    """Count of nodes whose channels are places in the table of widths.

    Args:
        nodes: The nodes; the first is the input, whose width is at the last place.
        input_shape: Shape of one sample, without the batch.
        table: Any widths that are valid for the graph; the result does not depend on them.
        is_ordered: Whether the nodes are in execution order. If not, the peak of activations is 0.
    """
    kinds = _Kinds(input_shape[1:])
    for node in nodes[1:]:
        kinds.add(node, nodes, table)
    moments = _moments(nodes, kinds, len(table)) if is_ordered else np.zeros((1, len(table) + 1), dtype=np.int64)
    gates = sum([len(node.inputs) for node in nodes if node.merge == "weighted_sum"])
    return Count(tuple(kinds.steps), tuple(kinds.repeats), gates, moments[:, :-1], moments[:, -1])


@dataclass
class _Kinds:
    """The distinct steps of a graph, the step of each node, and the spatial sizes of each node's output."""

    image: Shape
    steps: list[_Step] = field(default_factory=list)
    repeats: list[int] = field(default_factory=list)
    of: list[int] = field(default_factory=lambda: [-1])
    sizes: list[Shape] = field(default_factory=list)
    _number: dict[tuple[object, ...], int] = field(default_factory=dict)
    _leaving: list[Shape] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sizes.append(self.image)

    def add(self, node: Node, nodes: Sequence[Node], table: Sequence[int]) -> None:
        merged = node.inputs if node.merge == "concat" else node.inputs[:1]
        places = tuple([nodes[source].channels for source in merged])
        key = (node.operation, places, self.sizes[merged[0]], node.channels, node.stride)
        number = self._number.get(key)
        if number is None:
            number = self._number[key] = len(self.steps)
            self.steps.append(_Step(*key))
            self.repeats.append(0)
            self._leaving.append(self.steps[-1].at(table).output[1:])
        self.repeats[number] += 1
        self.of.append(number)
        self.sizes.append(self._leaving[number])


def _moments(nodes: Sequence[Node], kinds: _Kinds, n_places: int) -> NDArray[np.int64]:
    """A row for each distinct moment: live elements for each channel of a width, and what runs (see `Count`)."""
    areas = [prod(size) for size in kinds.sizes]
    live = [0] * n_places
    live[-1] = areas[0]
    rows = {(*live, 0)}
    dying = last_uses([node.inputs for node in nodes])
    for number, node in enumerate(nodes[1:], 1):
        step = kinds.of[number]
        if len(node.inputs) > 1:
            merging = live.copy()
            for place in kinds.steps[step].entering:
                merging[place] += areas[node.inputs[0]]
            rows.add((*merging, 0))
        for dead in dying[number]:
            live[nodes[dead].channels] -= areas[dead]
        kept = len(node.inputs) == 1 and not dying[number]
        rows.add((*live, 1 + step + kept * len(kinds.steps)))
        live[node.channels] += areas[number]
    return np.array(list(rows), dtype=np.int64)
