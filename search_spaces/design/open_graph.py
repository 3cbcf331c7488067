"""The graph of a finished network with its widths open again: which can be chosen, and how the others follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from statistics import fmean

from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import Shape
from search_spaces.architecture.operations import keeps_channels
from search_spaces.design.blueprint import CLASSES, IMAGE, Blueprint, Sketch, Total
from search_spaces.errors import SpaceError

__all__ = ["FLATTENING", "SHUFFLE", "OpenGraph"]

FLATTENING = "vector"
"""The operation that makes a vector of all channels at all positions."""

SHUFFLE = "channel_shuffle"
"""The operation that divides the channels into two equal groups."""


@dataclass(frozen=True)
class OpenGraph:
    """A graph whose widths are open; nodes that must have the same width are a group, named by its first node.

    Widths must be equal where maps meet in a sum or an operation keeps its channels, and so must those of two maps
    whose channels are shuffled together. A concatenation is as wide as its parts together, and a vector of a map as its
    channels at all positions.

    Attributes:
        graph: The network.
        group_of: The group of each node.
        joining: For each group that is as wide as others together, the node that joins them.
        free: Groups whose widths can be chosen, in order.
    """

    graph: Architecture
    group_of: tuple[int, ...]
    joining: Mapping[int, int]
    free: tuple[int, ...]

    @classmethod
    def of(cls, graph: Architecture) -> OpenGraph:
        """The graph with its widths open.

        Raises:
            SpaceError: If a width that should be open cannot be chosen, or there is none.
        """
        groups, joints = _Groups(len(graph.nodes)), []
        for number, node in enumerate(graph.nodes[1:], 1):
            sizes = graph.entering()[number][1:]
            if node.operation == SHUFFLE:
                _check_halves(graph, number)
            if node.operation == SHUFFLE or node.merge not in ("none", "concat"):
                groups.unite(*node.inputs)
            if node.operation == FLATTENING and prod(sizes) > 1:
                joints.append(number)
            elif node.operation == FLATTENING or keeps_channels(node.operation, len(sizes)):
                if node.merge == "concat":
                    joints.append(number)
                else:
                    groups.unite(number, node.inputs[0])
        group_of = tuple(groups.first(number) for number in range(len(graph.nodes)))
        _check_widths(graph, group_of)
        joining = _joining(graph, group_of, joints)
        free = tuple(sorted({*group_of} - {*joining, group_of[0], group_of[-1]}))
        if not free:
            raise SpaceError("This teacher has no width that could be chosen.")
        return cls(graph, group_of, joining, free)

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of each free group in the network."""
        return tuple(self.graph.nodes[group].channels for group in self.free)

    @cached_property
    def stages(self) -> tuple[int, ...]:
        """Stage of each free group, numbered from 0 without gaps."""
        own = [self.graph.nodes[group].stage for group in self.free]
        numbers = sorted(set(own))
        return tuple(map(numbers.index, own))

    def mean_widths(self, known: Mapping[str, int]) -> tuple[float, ...]:
        """Mean width of each free group's nodes of which one is known; the group's own width if there are none.

        Args:
            known: Widths by the names of nodes.
        """
        found: dict[int, list[int]] = {group: [] for group in self.group_of}
        for name, group in zip(self.graph.names, self.group_of, strict=True):
            found[group] += [known[name]] if name in known else []
        pairs = zip(self.free, self.widths, strict=True)
        return tuple(fmean(found[group] or [width]) for group, width in pairs)

    def blueprint(self, input_shape: Shape, classes: int, ratios: Sequence[float], space: str) -> Blueprint:
        """The graph, laid out for inputs of this shape and for these classes.

        Args:
            input_shape: Shape of one sample, without the batch.
            classes: Number of logits.
            ratios: Width of each free group as a multiple of the base width.
            space: Name of the search space.

        Raises:
            SpaceError: If the layers do not fit inputs of this shape.
        """
        sketch = Sketch(input_shape, classes, ratios, space)
        for number, node in enumerate(self.graph.nodes[1:], 1):
            place = self._place(number, sketch)
            sketch.add(node.operation, node.inputs, place, node.stride, node.merge, node.stage, node.name)
        return sketch.finish()

    def _place(self, number: int, sketch: Sketch) -> int:
        """Place of a node's width; the nodes before it are in the sketch."""
        group = self.group_of[number]
        if group in self.joining:
            joint = self.graph.nodes[self.joining[group]]
            places = tuple(self._place(source, sketch) for source in joint.inputs)
            n_positions = prod(sketch.shape(joint.inputs[0])[1:]) if joint.operation == FLATTENING else 1
            return sketch.derive(Total(places * n_positions))
        if group in self.free:
            return self.free.index(group)
        return IMAGE if group == self.group_of[0] else CLASSES


def _check_halves(graph: Architecture, number: int) -> None:
    """Raise if a shuffle does not read two maps that are as wide as each other."""
    widths = [graph.nodes[source].channels for source in graph.nodes[number].inputs]
    if len(widths) != 2 or len(set(widths)) > 1:
        raise SpaceError(f"The width of {graph.names[number]!r} cannot be chosen: {SHUFFLE} needs equal halves.")


def _check_widths(graph: Architecture, group_of: Sequence[int]) -> None:
    """Raise if nodes of one group differ in width, as after an operation that takes a part of its channels."""
    for number, group in enumerate(group_of):
        if graph.nodes[number].channels != graph.nodes[group].channels:
            operation = graph.nodes[number].operation
            raise SpaceError(f"The width of {graph.names[number]!r} cannot be chosen: {operation} takes a part.")
    if group_of[0] == group_of[-1]:
        raise SpaceError("The widths of this teacher cannot be chosen: its outputs must be as many as its inputs.")


def _joining(graph: Architecture, group_of: Sequence[int], joints: Sequence[int]) -> dict[int, int]:
    """The node that decides the width of a group as that of other groups together, for each group that has one."""
    joining: dict[int, int] = {}
    for number in joints:
        group = group_of[number]
        other = joining.setdefault(group, number)
        groups, others = ([group_of[source] for source in graph.nodes[each].inputs] for each in (number, other))
        is_late = graph.nodes[number].operation == FLATTENING and number != group
        if groups != others or is_late or group in (group_of[0], group_of[-1]):
            raise SpaceError(
                f"The width of {graph.names[number]!r} cannot be chosen: it follows from several others, but must "
                f"equal that of {graph.names[group if number != group else -1]!r}, too."
            )
    return joining


class _Groups:
    """Union-find over nodes; a group is named by its first node."""

    def __init__(self, n_nodes: int) -> None:
        self._parent = list(range(n_nodes))

    def first(self, number: int) -> int:
        while self._parent[number] != number:
            number = self._parent[number]
        return number

    def unite(self, *numbers: int) -> None:
        first, *others = sorted(self.first(number) for number in numbers)
        for other in others:
            self._parent[other] = first
