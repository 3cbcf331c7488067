"""An architecture whose widths are still open: what a space draws before the budget decides how wide it gets.

In a blueprint `Node.channels` is not a number of channels but a place in the list of widths
`(width of ratio 0, width of ratio 1, ..., classes, input channels)`; `CLASSES` and `IMAGE` are the last two places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from search_spaces.architecture import Architecture, Node
from search_spaces.budget import widths_at
from search_spaces.cost import BYTES, Cost, demand
from search_spaces.layers import Shape
from search_spaces.memory import best_order, last_uses
from search_spaces.operations import INPUT, Profile, profile

__all__ = ["CLASSES", "IMAGE", "SMALL_INPUT", "Blueprint", "Sketch"]

CLASSES, IMAGE = -2, -1

SMALL_INPUT = 39
"""Longest side in pixels up to which a stem keeps the resolution."""

REFERENCE = 16
"""Base width at which the execution order is chosen; it depends on the ratios and next to not on the base."""


@dataclass(frozen=True)
class Blueprint:
    """Nodes in execution order over open widths."""

    input_shape: tuple[int, int, int]
    classes: int
    nodes: tuple[Node, ...]
    ratios: tuple[float, ...]
    space: str

    def fill(self, widths: Sequence[int]) -> Architecture:
        """The architecture with these widths, one for each ratio."""
        table = self._table(widths)
        nodes = tuple(
            Node(node.operation, node.inputs, table[node.channels], node.stride, node.merge, node.stage, node.name)
            for node in self.nodes
        )
        return Architecture(self.input_shape, self.classes, nodes, self.space)

    def cost(self, widths: Sequence[int]) -> Cost:
        """The cost of `fill(widths)`, but faster: like nodes count once, and live sets are linear in the widths."""
        table = self._table(widths)
        count = self._count
        steps = [step.at(table) for step in count.steps]
        params, buffers, macs = count.gates, 0, 0
        for n, step in zip(count.repeats, steps, strict=True):
            params += n * step.parameters
            buffers += n * step.buffers
            macs += n * step.macs
        running = np.array([0, *[step.running for step in steps], *[step.running_kept for step in steps]])
        peak = int((count.live @ np.array(table) + running[count.runs]).max())
        return Cost(params, macs, BYTES * peak, BYTES * (params + buffers))

    def _table(self, widths: Sequence[int]) -> tuple[int, ...]:
        return (*widths, self.classes, self.input_shape[0])

    @cached_property
    def _count(self) -> _Count:
        return _count(self)


@dataclass(frozen=True)
class _Step:
    """All nodes of one operation between the same widths at the same resolution."""

    operation: str
    entering: int
    sizes: Shape
    leaving: int
    stride: int

    def at(self, table: Sequence[int]) -> Profile:
        return profile(self.operation, (table[self.entering], *self.sizes), table[self.leaving], self.stride)


@dataclass(frozen=True)
class _Count:
    """Everything about a blueprint's cost that the widths do not change.

    The peak is `max(live @ widths + running[runs])`: the live outputs of each moment and the step that then runs.
    """

    steps: tuple[_Step, ...]
    repeats: tuple[int, ...]
    gates: int
    live: NDArray[np.int64]  # moments x widths
    runs: NDArray[np.int64]  # moments; 0 none, then the steps, then the steps that must keep their input


def _count(blueprint: Blueprint) -> _Count:
    nodes = blueprint.nodes
    reference = blueprint._table(widths_at(blueprint.ratios, REFERENCE))
    sizes: list[Shape] = [blueprint.input_shape[1:]]
    repeats: Counter[_Step] = Counter()
    chosen: list[_Step] = []
    for node in nodes[1:]:
        entering = node.inputs[0]
        step = _Step(node.operation, nodes[entering].channels, sizes[entering], node.channels, node.stride)
        chosen.append(step)
        repeats[step] += 1
        sizes.append(step.at(reference).output[1:])
    steps = tuple(repeats)
    number = {step: place for place, step in enumerate(steps, 1)}

    live = [0] * len(reference)
    live[IMAGE] = prod(sizes[0])
    rows = {(tuple(live), 0)}
    dying = last_uses([node.inputs for node in nodes])
    for place, (node, step) in enumerate(zip(nodes[1:], chosen, strict=True), 1):
        if len(node.inputs) > 1:
            live[step.entering] += prod(step.sizes)
            rows.add((tuple(live), 0))
            live[step.entering] -= prod(step.sizes)
        for dead in dying[place]:
            live[nodes[dead].channels] -= prod(sizes[dead])
        kept = len(node.inputs) == 1 and not dying[place]
        rows.add((tuple(live), number[step] + kept * len(steps)))
        live[node.channels] += prod(sizes[place])
    gates = sum(len(node.inputs) for node in nodes if node.merge == "weighted_sum")
    moments = np.array([[*vector, run] for vector, run in rows], dtype=np.int64)
    return _Count(steps, tuple(repeats.values()), gates, moments[:, :-1], moments[:, -1])


class Sketch:
    """A blueprint in the making: `add` returns the new node's number, `finish` puts the nodes in a good order."""

    def __init__(self, input_shape: tuple[int, int, int], classes: int, ratios: Sequence[float], space: str) -> None:
        self.input_shape, self.classes, self.ratios, self.space = input_shape, classes, tuple(ratios), space
        self.nodes: list[Node] = [Node(INPUT, (), IMAGE, name="image")]
        self._reference = (*widths_at(ratios, REFERENCE), classes, input_shape[0])
        self._profiles: list[Profile] = [Profile(input_shape, 0, 0, 0, prod(input_shape), prod(input_shape))]

    def add(
        self,
        operation: str,
        inputs: Sequence[int],
        width: int,
        stride: int = 1,
        merge: str = "weighted_sum",
        stage: int = 0,
        name: str = "",
    ) -> int:
        """The number of a new node with the width at place `width`; `merge` counts only for two or more inputs."""
        entering = self._profiles[inputs[0]].output
        self._profiles.append(profile(operation, entering, self._reference[width], stride))
        rule = merge if len(inputs) > 1 else "none"
        self.nodes.append(Node(operation, tuple(inputs), width, stride, rule, stage, name))
        return len(self.nodes) - 1

    def classify(self, features: int, head: int, stage: int) -> Blueprint:
        """The blueprint after a 1x1 convolution to the width at place `head` and the linear classifier."""
        last = self.add("relu_conv1x1_bn", (features,), head, stage=stage, name="head")
        self.add("classifier", (last,), CLASSES, stage=stage, name="classifier")
        return self.finish()

    def finish(self) -> Blueprint:
        """The blueprint with the nodes in an order that keeps few tensors alive."""
        demands = [
            demand(step, self._profiles[node.inputs[0]].output if node.inputs else ())
            for node, step in zip(self.nodes, self._profiles, strict=True)
        ]
        order = best_order([node.inputs for node in self.nodes], demands)
        place = {number: position for position, number in enumerate(order)}
        nodes = tuple(
            Node(
                node.operation,
                tuple(sorted(place[source] for source in node.inputs)),
                node.channels,
                node.stride,
                node.merge,
                node.stage,
                node.name,
            )
            for node in (self.nodes[number] for number in order)
        )
        return Blueprint(self.input_shape, self.classes, nodes, self.ratios, self.space)
