"""Blueprints: architectures whose widths are still open, which a space draws before the budget decides the widths.

In a blueprint, `Node.channels` is not a number of channels but a place (an index) in the list of widths
`(width of ratio 0, width of ratio 1, ..., derived widths, ..., classes, input channels)`; `CLASSES` and `IMAGE` are the
last two places. The budget decides the widths of the ratios; each derived width follows from those at earlier places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, prod

from search_spaces.architecture.cost import Cost, demand
from search_spaces.architecture.format import Architecture, Node
from search_spaces.architecture.layers import Shape
from search_spaces.architecture.memory import Demand
from search_spaces.architecture.operations import INPUT, ORDERED, Profile, merged_shape, profile
from search_spaces.architecture.schedule import best_schedule
from search_spaces.design.budget import Budget
from search_spaces.design.counting import Count, count
from search_spaces.design.widths import Tilt, solve_widths, widths_at
from search_spaces.errors import SpaceError

__all__ = ["CLASSES", "IMAGE", "Blueprint", "Derived", "Share", "Sketch", "Total"]

CLASSES, IMAGE = -2, -1

REFERENCE = 16
"""Base width at which the execution order is chosen; the best order depends on the ratios and hardly on the base."""


@dataclass(frozen=True)
class Share:
    """Part `index` of the width at place `whole`, split into `parts`; the first parts are larger by one if needed."""

    whole: int
    index: int
    parts: int

    @property
    def sources(self) -> tuple[int, ...]:
        """Places on which the width depends."""
        return (self.whole,)

    def width(self, table: Sequence[int]) -> int:
        """Width of the part, at least 1 even if the whole is narrower than its number of parts."""
        size, rest = divmod(table[self.whole], self.parts)
        return max(1, size + (self.index < rest))


@dataclass(frozen=True)
class Total:
    """Sum of the widths at these places; a place may occur several times."""

    places: tuple[int, ...]

    @property
    def sources(self) -> tuple[int, ...]:
        """Places on which the width depends."""
        return self.places

    def width(self, table: Sequence[int]) -> int:
        """Sum of the widths."""
        return sum(table[place] for place in self.places)


Derived = Share | Total


@dataclass(frozen=True)
class Blueprint:
    """An architecture with open widths.

    Attributes:
        input_shape: Shape of one sample, without the batch.
        classes: Number of logits.
        added: Nodes in the order in which they were added; their `channels` are places in the list of widths.
        demands: Memory that each of them needs at the widths at which the execution order is chosen.
        ratios: Width of each group of nodes as a multiple of the base width.
        space: Name of the search space.
        derived: Rules for the derived widths, by place.
        areas: Positions of the largest map with the width of each ratio, or with one derived from it.
    """

    input_shape: Shape
    classes: int
    added: tuple[Node, ...]
    demands: tuple[Demand, ...]
    ratios: tuple[float, ...]
    space: str
    derived: tuple[Derived, ...] = ()
    areas: tuple[int, ...] = ()

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Nodes in an execution order with a low peak of live tensors, which takes long to find."""
        order = best_schedule([node.inputs for node in self.added], self.demands)
        place = {number: position for position, number in enumerate(order)}
        return tuple(_moved(self.added[number], place) for number in order)

    def fill(self, widths: Sequence[int]) -> Architecture:
        """Architecture with these widths, one for each ratio."""
        table = self._table(widths)
        nodes = tuple(
            Node(node.operation, node.inputs, table[node.channels], node.stride, node.merge, node.stage, node.name)
            for node in self.nodes
        )
        return Architecture(self.input_shape, self.classes, nodes, self.space)

    def cost(self, widths: Sequence[int]) -> Cost:
        """Cost of `fill(widths)`, computed faster than from the architecture; see `counting.py`."""
        return self._count.cost(self._table(widths))

    def limited_cost(self, widths: Sequence[int], budget: Budget) -> Cost:
        """Cost of `fill(widths)`; without a limit on its activations they are 0, and no execution order is sought."""
        return self.cost(widths) if budget.limits_activations else self._count_unordered.cost(self._table(widths))

    def solve(self, budget: Budget, max_base: int, tilt: Tilt = "full") -> tuple[int, ...]:
        """Widths for `fill` that make best use of the budget; see `solve_widths`.

        Args:
            budget: Limits, at least one.
            max_base: Largest base width, whatever the budget; a tilt multiplies single widths beyond it.
            tilt: How far the ratios may change so that several limits are used.

        Raises:
            BudgetError: If base width 1 does not fit.
            SpaceError: If the budget has no limit.
        """
        return solve_widths(self.cost, self.ratios, budget, max_base, self.areas, tilt)

    def _table(self, widths: Sequence[int]) -> tuple[int, ...]:
        return _width_table(widths, self.derived, self.classes, self.input_shape[0])

    @cached_property
    def _count(self) -> Count:
        return count(self.nodes, self.input_shape, self._table(widths_at(self.ratios, REFERENCE)))

    @cached_property
    def _count_unordered(self) -> Count:
        table = self._table(widths_at(self.ratios, REFERENCE))
        return count(self.added, self.input_shape, table, is_ordered=False)


def _width_table(widths: Sequence[int], derived: Sequence[Derived], classes: int, channels: int) -> tuple[int, ...]:
    """All widths, by place."""
    table = [*widths, *[0] * len(derived), classes, channels]
    for place, rule in enumerate(derived, len(widths)):
        table[place] = rule.width(table)
    return tuple(table)


class Sketch:
    """Builder of a blueprint: `add` returns the index of a new node.

    Args:
        input_shape: Shape of one sample, without the batch.
        classes: Number of logits.
        ratios: Width of each group of nodes as a multiple of the base width; place i holds the width of ratio i.
        space: Name of the search space.

    Raises:
        SpaceError: If a ratio is not above 0, or not finite.
    """

    def __init__(self, input_shape: Shape, classes: int, ratios: Sequence[float], space: str) -> None:
        if not all(0 < ratio < inf for ratio in ratios):
            raise SpaceError(f"Ratios of widths must be above 0 and finite, but got {tuple(ratios)}.")
        self.input_shape, self.classes, self.ratios, self.space = input_shape, classes, tuple(ratios), space
        self.nodes: list[Node] = [Node(INPUT, (), IMAGE, name="image")]
        self._derived: list[Derived] = []
        self._reference = self._table()
        self._entering: list[Shape] = [input_shape]
        self._profiles: list[Profile] = [Profile(input_shape, 0, 0, 0, prod(input_shape), prod(input_shape))]

    def derive(self, rule: Derived) -> int:
        """Place of a width that follows from earlier ones; equal rules share a place.

        Raises:
            SpaceError: If there is no width at one of their places.
        """
        for place in rule.sources:
            self._check_place(place)
        if rule not in self._derived:
            self._derived.append(rule)
            self._reference = self._table()
        return len(self.ratios) + self._derived.index(rule)

    def shape(self, node: int) -> Shape:
        """Shape of a node's output at the reference widths; only its channels depend on the widths."""
        return self._profiles[node].output

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
        """Index of a new node.

        Args:
            operation: Name in `operations.OPERATIONS`.
            inputs: Indices of earlier nodes.
            width: Place of its width.
            stride: Factor by which the operation divides the resolution.
            merge: Name in `operations.MERGES`; ignored for a single input.
            stage: Part of the network that the node belongs to.
            name: Identifier of the node's module and weights; `node<index>` if empty.

        Raises:
            SpaceError: If the operation or the merge does not accept the inputs' shapes, or no width is at the place.
        """
        self._check_place(width)
        rule = merge if len(inputs) > 1 else "none"
        entering = merged_shape(rule, [self.shape(source) for source in inputs])
        self._profiles.append(profile(operation, entering, self._reference[width], stride))
        self._entering.append(entering)
        self.nodes.append(Node(operation, tuple(inputs), width, stride, rule, stage, name))
        return len(self.nodes) - 1

    def classify(self, features: int, head: int, stage: int) -> Blueprint:
        """Blueprint that ends with a 1x1 convolution and a linear classifier.

        Args:
            features: Index of the node that the convolution reads.
            head: Place of the convolution's width.
            stage: Stage of both new nodes.
        """
        last = self.add("relu_conv1x1_bn", (features,), head, stage=stage, name="head")
        self.add("classifier", (last,), CLASSES, stage=stage, name="classifier")
        return self.finish()

    def finish(self) -> Blueprint:
        """Blueprint of the nodes."""
        demands = tuple(demand(*pair) for pair in zip(self._profiles, self._entering, strict=True))
        return Blueprint(
            self.input_shape,
            self.classes,
            tuple(self.nodes),
            demands,
            self.ratios,
            self.space,
            tuple(self._derived),
            self._areas(),
        )

    def _check_place(self, place: int) -> None:
        n_places = len(self.ratios) + len(self._derived)
        if not CLASSES <= place < n_places:
            raise SpaceError(f"Places of widths are 0 to {n_places - 1}, `CLASSES` and `IMAGE`, but got {place}.")

    def _areas(self) -> tuple[int, ...]:
        """Positions of the largest map of each ratio's width, or of a width derived from it."""
        areas = [1] * (len(self.ratios) + len(self._derived))
        for node, found in zip(self.nodes, self._profiles, strict=True):
            if node.channels >= 0:
                areas[node.channels] = max(areas[node.channels], prod(found.output[1:]))
        for place, rule in reversed(list(enumerate(self._derived, len(self.ratios)))):
            for source in rule.sources:
                areas[source] = max(areas[source], areas[place])
        return tuple(areas[: len(self.ratios)])

    def _table(self) -> tuple[int, ...]:
        return _width_table(widths_at(self.ratios, REFERENCE), self._derived, self.classes, self.input_shape[0])


def _moved(node: Node, place: Mapping[int, int]) -> Node:
    """The node with the new indices of its inputs, ascending unless their order matters."""
    inputs = [place[source] for source in node.inputs]
    ordered = inputs if node.merge in ORDERED else sorted(inputs)
    return Node(node.operation, tuple(ordered), node.channels, node.stride, node.merge, node.stage, node.name)
