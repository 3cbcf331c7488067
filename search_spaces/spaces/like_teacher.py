"""The teacher's own graph with every width open: the slim copy that one would draw by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from math import prod
from statistics import fmean
from typing import ClassVar, Self

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import Shape
from search_spaces.architecture.operations import keeps_channels
from search_spaces.design.blueprint import CLASSES, IMAGE, Blueprint, Sketch, Total
from search_spaces.design.dimensions import contains, low_ends
from search_spaces.design.space import Dimension, Parameters, Range, Space, Value
from search_spaces.errors import SpaceError

__all__ = ["MOST_STAGES", "LikeTeacher"]

WIDTHS, TEACHER, PRUNED = "widths", "teacher", "pruned"
"""Dimension that chooses the widths to begin with, and its values."""

MOST_STAGES = 8
"""Number of stages with a ratio of their own; later ones share the last."""

FLATTENING = "vector"
"""The operation that makes a vector of all channels at all positions."""


class LikeTeacher(Space):
    """Networks with the graph of the teacher, in which the width of each of its resolutions is searched.

    Every width is open. Widths that must be equal, because their maps meet in a sum or an operation keeps its channels,
    are one; a concatenation is as wide as its parts together. A stage is a resolution at which widths first appear, and
    the vectors behind the maps are one more. A width is the teacher's, times the ratio of its stage, times a factor
    that the budget decides, so only the proportions of the ratios matter.

    With `widths = "pruned"`, the widths to begin with are not the teacher's, but those at which each layer has as many
    weights as remain in the pruned teacher (Park and No 2022, https://arxiv.org/abs/2109.14960). Widths that are one
    get the mean of their layers [ours]. As long as no teacher is pruned, they are the teacher's.

    The graph is that of a traced teacher (`networks/traced.py`): `with_teacher` gives the space with as many ratios as
    the teacher has stages.

    Args:
        width: See `Space`; the largest of the widths to begin with is as wide as this at ratio 1.
        max_width: See `Space`.
        **ranges: See `Space`.
    """

    name = "like-teacher"
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        WIDTHS: Dimension(CategoricalDistribution((TEACHER, PRUNED)), default=TEACHER),
        **{
            f"stage{stage}_ratio": Dimension(FloatDistribution(0.1, 1.0), legal=(0.001, 1000))
            for stage in range(1, MOST_STAGES + 1)
        },
    }
    random = False
    needs_teacher = True

    def __init__(self, *, width: float | None = None, max_width: int = 4096, **ranges: Range) -> None:
        super().__init__(width=width, max_width=max_width, **ranges)
        self._given = tuple(ranges)
        self._teacher: _Teacher | None = None

    def with_teacher(self, teacher: Architecture, pruned: Mapping[str, int] | None = None) -> Self:
        """The space of the copies of this graph.

        Args:
            teacher: The teacher's graph.
            pruned: Widths for `widths = "pruned"`, by the names of nodes.

        Raises:
            SpaceError: If the widths of the graph cannot be chosen, or a range is for a stage that it does not have.
        """
        opened = _opened(teacher, pruned or {})
        ratios = _RATIOS[: opened.n_stages]
        for name in self._given:
            if name not in (WIDTHS, *ratios):
                raise SpaceError(f"`{name}` has no meaning: the stages of this teacher are {', '.join(ratios)}.")
        made = copy(self)
        made._teacher = opened
        made._open = {name: dimension for name, dimension in self._open.items() if name in (WIDTHS, *ratios)}
        return made

    @property
    def needs_pruning(self) -> bool:
        """Whether `widths` is, or can be, "pruned"."""
        searched = self._open.get(WIDTHS)
        return self.fixed.get(WIDTHS) == PRUNED or (searched is not None and contains(searched.distribution, PRUNED))

    @property
    def teacher_width(self) -> int:
        """Base width at which, with all ratios 1, the student is the teacher itself."""
        return max(self._known.widths)

    @property
    def pruned_width(self) -> float:
        """Base width at which, with all ratios 1, the widths are those of the pruned teacher's own student."""
        return max(self._known.pruned)

    def blueprint(
        self, parameters: Parameters, input_shape: Shape, classes: int, rng: np.random.Generator
    ) -> Blueprint:
        """The teacher's graph, laid out for inputs of this shape and for these classes; nothing is drawn.

        Raises:
            SpaceError: If there is no teacher, or its layers do not fit inputs of this shape.
        """
        teacher = self._known
        ratios = [float(parameters[name]) for name in _RATIOS if name in parameters]
        widths = teacher.pruned if parameters[WIDTHS] == PRUNED else teacher.widths
        sketch = Sketch(input_shape, classes, teacher.ratios(widths, ratios), self.name)
        for number, node in enumerate(teacher.graph.nodes[1:], 1):
            place = teacher.place(number, sketch)
            sketch.add(node.operation, node.inputs, place, node.stride, node.merge, node.stage, node.name)
        return sketch.finish()

    def start_points(self) -> list[dict[str, Value]]:
        """The proportions to begin with, if they lie within the ranges; none without a teacher."""
        if self._teacher is None:
            return []
        family: dict[str, Value] = dict.fromkeys(self._open, 1.0)
        widths = self._open.get(WIDTHS)
        choices = [] if widths is None else low_ends(widths.distribution)
        families = [family | {WIDTHS: choice} for choice in choices] or [family]
        return [family for family in families if self._has(family)]

    def _has(self, family: Parameters) -> bool:
        with suppress(SpaceError):
            return bool(self.complete(family))
        return False

    def describe(self, parameters: Parameters) -> str:
        """Ratios of the stages, such as `teacher at 1, 0.62, 0.5`."""
        complete = self.complete(parameters)
        ratios = ", ".join(f"{complete[name]:.2g}" for name in _RATIOS if name in complete)
        return f"{'pruned ' * (complete[WIDTHS] == PRUNED)}teacher at {ratios}"

    @property
    def _known(self) -> _Teacher:
        if self._teacher is None:
            raise SpaceError(f"Space {self.name!r} has no networks without a teacher. Call `with_teacher` first.")
        return self._teacher


_RATIOS = [name for name in LikeTeacher.dimensions if name != WIDTHS]


@dataclass(frozen=True)
class _Teacher:
    """A graph whose widths are open; a group of nodes of the same width is named by its first node.

    Attributes:
        graph: The teacher.
        group_of: The group of each node.
        joining: For each group that is as wide as others together, the node that joins them.
        free: Groups whose widths are chosen, in order.
        stages: Their stages, from 0.
        widths: Their widths in the teacher.
        pruned: Their widths where weights were pruned, see `LikeTeacher`.
    """

    graph: Architecture
    group_of: tuple[int, ...]
    joining: Mapping[int, int]
    free: tuple[int, ...]
    stages: tuple[int, ...]
    widths: tuple[int, ...]
    pruned: tuple[float, ...]

    @property
    def n_stages(self) -> int:
        return max(self.stages) + 1

    def ratios(self, widths: Sequence[float], of_stages: Sequence[float]) -> list[float]:
        """Width of each free group as a multiple of the base width, which the largest of `widths` has at ratio 1."""
        pairs = zip(widths, self.stages, strict=True)
        return [width / max(widths) * of_stages[stage] for width, stage in pairs]

    def place(self, number: int, sketch: Sketch) -> int:
        """Place of a node's width; the nodes before it are in the sketch."""
        group = self.group_of[number]
        if group in self.joining:
            joint = self.graph.nodes[self.joining[group]]
            places = tuple(self.place(source, sketch) for source in joint.inputs)
            n_positions = prod(sketch.shape(joint.inputs[0])[1:]) if joint.operation == FLATTENING else 1
            return sketch.derive(Total(places * n_positions))
        if group in self.free:
            return self.free.index(group)
        return IMAGE if group == self.group_of[0] else CLASSES


def _opened(graph: Architecture, pruned: Mapping[str, int]) -> _Teacher:
    """The graph with its widths open.

    Args:
        graph: The teacher.
        pruned: Widths of some of its nodes where weights were pruned.

    Raises:
        SpaceError: If that is not possible.
    """
    groups, joints = _Groups(len(graph.nodes)), []
    for number, node in enumerate(graph.nodes[1:], 1):
        sizes = graph.entering()[number][1:]
        if node.merge not in ("none", "concat"):
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
    free = tuple(group for group in sorted({*group_of} - {*joining, group_of[0], group_of[-1]}))
    if not free:
        raise SpaceError("This teacher has no width that could be chosen.")
    stages = sorted({graph.nodes[group].stage for group in free})
    numbers = tuple(min(stages.index(graph.nodes[group].stage), MOST_STAGES - 1) for group in free)
    widths = tuple(graph.nodes[group].channels for group in free)
    known: dict[int, list[int]] = {group: [] for group in group_of}
    for name, group in zip(graph.names, group_of, strict=True):
        known[group] += [pruned[name]] if name in pruned else []
    left = tuple(fmean(known[group] or [width]) for group, width in zip(free, widths, strict=True))
    return _Teacher(graph, group_of, joining, free, numbers, widths, left)


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
