"""The teacher's own graph with every width open: the slim copy that one would draw by hand."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from typing import ClassVar, Self

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import Shape
from search_spaces.design.blueprint import Blueprint
from search_spaces.design.dimensions import contains, low_ends
from search_spaces.design.open_graph import OpenGraph
from search_spaces.design.space import Dimension, Parameters, Range, Space, Value
from search_spaces.errors import SpaceError

__all__ = ["MOST_STAGES", "LikeTeacher"]

WIDTHS, TEACHER, PRUNED = "widths", "teacher", "pruned"
"""Dimension that chooses the widths to begin with, and its values."""

MOST_STAGES = 8
"""Number of stages with a ratio of their own; later ones share the last."""


class LikeTeacher(Space):
    """Networks with the graph of the teacher, in which the width of each of its resolutions is searched.

    Every width is open; those that must be equal are one (see `OpenGraph`). A stage is a resolution at which widths
    first appear, and the vectors behind the maps are one more. A width is the teacher's, times the ratio of its stage,
    times a factor that the budget decides, so only the proportions of the ratios matter.

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
        self._teacher: OpenGraph | None = None
        self._pruned: tuple[float, ...] = ()  # of each free group

    def with_teacher(self, teacher: Architecture, pruned: Mapping[str, int] | None = None) -> Self:
        """The space of the copies of this graph.

        Args:
            teacher: The teacher's graph.
            pruned: Widths for `widths = "pruned"`, by the names of nodes.

        Raises:
            SpaceError: If the widths of the graph cannot be chosen, or a range is for a stage that it does not have.
        """
        opened = OpenGraph.of(teacher)
        ratios = _RATIOS[: max(opened.stages) + 1]
        for name in self._given:
            if name not in (WIDTHS, *ratios):
                raise SpaceError(f"`{name}` has no meaning: the stages of this teacher are {', '.join(ratios)}.")
        made = copy(self)
        made._teacher, made._pruned = opened, opened.mean_widths(pruned or {})
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
        return max(self._pruned or self._known.widths)

    def blueprint(
        self, parameters: Parameters, input_shape: Shape, classes: int, rng: np.random.Generator
    ) -> Blueprint:
        """The teacher's graph, laid out for inputs of this shape and for these classes; nothing is drawn.

        Raises:
            SpaceError: If there is no teacher, or its layers do not fit inputs of this shape.
        """
        teacher = self._known
        widths = self._pruned if parameters[WIDTHS] == PRUNED else teacher.widths
        of_stages = [float(parameters[name]) for name in _RATIOS if name in parameters]
        stages = (min(stage, MOST_STAGES - 1) for stage in teacher.stages)
        ratios = [width / max(widths) * of_stages[stage] for width, stage in zip(widths, stages, strict=True)]
        return teacher.blueprint(input_shape, classes, ratios, self.name)

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
    def _known(self) -> OpenGraph:
        if self._teacher is None:
            raise SpaceError(f"Space {self.name!r} has no networks without a teacher. Call `with_teacher` first.")
        return self._teacher


_RATIOS = [name for name in LikeTeacher.dimensions if name != WIDTHS]
