"""`Space`, the base class of search spaces: named dimensions, and architectures within a budget."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from copy import copy
from math import inf, prod
from typing import ClassVar, Self

import numpy as np
from optuna.distributions import IntDistribution

from search_spaces.architecture.cost import Cost
from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import Shape
from search_spaces.design.blueprint import Blueprint
from search_spaces.design.budget import Budget
from search_spaces.design.dimensions import Dimension, Parameters, Range, Value, contains, low_ends, narrow
from search_spaces.design.repair import drawn, repair
from search_spaces.design.stems import Stem
from search_spaces.design.widths import Tilt, widths_at
from search_spaces.errors import SpaceError, unknown

__all__ = ["Dimension", "Parameters", "Range", "Space", "Value"]

WIDEST = 10**6
"""Largest fixed base width; costs of much wider networks could not be computed."""

MANY = 64
"""Up to this many smallest families, every choice of every category is included."""


class Space(ABC):
    """A set of families: each setting of the parameters is a distribution over architectures.

    Every subclass must satisfy the following.

    * `name` and `dimensions` (parents before children) are class attributes. `random` is False if the parameters
      determine the architecture up to its width, so that every family has one member. `needs_teacher` is True if the
      networks are copies of the teacher's graph, which `with_teacher` then takes.
    * `blueprint` takes all its randomness from the given generator, keeps no state, and does not raise for parameters
      within the dimensions whose `flaws` are 0. Its cost grows with every width.
    * `well_known` are families that people would try, such as a ResNet, by all their parameters.
    * The first choice of a category is the cheapest, if one of them is.
    * Equal parameters, inputs, classes and generator states give equal architectures in every process.

    Args:
        width: Fixed base width, with which budgets are only checked, at most `WIDEST`. By default it is solved from the
            budget.
        max_width: Largest base width, without a tilt.
        **ranges: A narrower or other legal range for any dimension, or one value to fix it; a fixed dimension is no
            longer in `distributions` and need not be among the parameters.

    Raises:
        SpaceError: If a dimension is unknown or a range is invalid.
    """

    name: ClassVar[str]
    dimensions: ClassVar[Mapping[str, Dimension]]
    random: ClassVar[bool] = True
    well_known: ClassVar[Sequence[Parameters]] = ()
    needs_teacher: bool = False

    def __init__(self, *, width: float | None = None, max_width: int = 512, **ranges: Range) -> None:
        if max_width < 1 or not (width is None or 0 < width <= WIDEST):
            raise SpaceError(f"`max_width >= 1` and `0 < width <= {WIDEST}` must hold, but got {max_width=}, {width=}.")
        self.width, self.max_width = width, max_width
        self.tilt: Tilt = "full"
        self.stem: Stem = "pooled"
        self._open, self.fixed = narrow(self.dimensions, ranges, f"space {self.name!r}")

    def distributions(self) -> dict[str, Dimension]:
        """Dimensions that are searched, parents before children; fixed ones are excluded."""
        return dict(self._open)

    def with_teacher(self, teacher: Architecture, pruned: Mapping[str, int] | None = None) -> Space:
        """The space for a teacher of this graph; most spaces are the same for every teacher.

        Args:
            teacher: The teacher's graph.
            pruned: Widths of a student that has as many weights as remain in a pruned teacher, by the names of nodes.
        """
        return self

    def tilted(self, tilt: Tilt) -> Self:
        """The space with another rule of how widths depart from their ratios to use several limits; see `solve_widths`.

        Args:
            tilt: The rule.
        """
        made = copy(self)
        made.tilt = tilt
        return made

    def with_stem(self, stem: Stem) -> Self:
        """The space with another stem for large inputs, where its networks have a choice: those of `blocks`.

        Args:
            stem: The stem.
        """
        made = copy(self)
        made.stem = stem
        return made

    def each_stem(self, input_shape: Shape) -> Sequence[Space]:
        """The space with each of the stems among which `sample` chooses, the usual one first; mostly only itself.

        Args:
            input_shape: Shape of one sample, without the batch.
        """
        return [self]

    @property
    def needs_pruning(self) -> bool:
        """Whether the networks have widths that follow from a pruned teacher."""
        return False

    def sample(
        self,
        parameters: Parameters,
        budget: Budget,
        input_shape: Shape,
        classes: int,
        rng: np.random.Generator,
    ) -> Architecture:
        """One architecture of the family, as wide as the budget allows.

        Args:
            parameters: A value for each active dimension of `distributions`; fixed ones may be omitted.
            budget: Limits that the architecture is guaranteed to keep.
            input_shape: Shape of one sample, without the batch.
            classes: Number of logits.
            rng: Source of randomness.

        Raises:
            SpaceError: If the parameters are not of this space, or neither the space nor the budget sets a width.
            BudgetError: If the draw does not fit at its smallest width.
        """
        blueprint = self.blueprint(self.complete(parameters), input_shape, classes, rng)
        if self.width is None:
            return blueprint.fill(blueprint.solve(budget, self.max_width, self.tilt))
        widths = widths_at(blueprint.ratios, self.width)
        budget.check(blueprint.cost(widths), f"This draw at the fixed width {self.width:g}")
        return blueprint.fill(widths)

    @abstractmethod
    def blueprint(
        self, parameters: Parameters, input_shape: Shape, classes: int, rng: np.random.Generator
    ) -> Blueprint:
        """One draw of the family, with open widths.

        Args:
            parameters: Complete and checked parameters, from `complete`.
            input_shape: Shape of one sample, without the batch.
            classes: Number of logits.
            rng: Source of randomness.
        """

    @abstractmethod
    def describe(self, parameters: Parameters) -> str:
        """Short description of the family in the field's notation, such as `WS(8,4,0.6)`.

        In a random space, the description states if the family has a single member.
        """

    def single_member(self, parameters: Parameters) -> bool:
        """Whether all draws of the family are the same graph, so that a second sample adds no information."""
        return not self.random

    def features(self, parameters: Parameters) -> tuple[float, ...]:
        """Description of the graph for the optimiser's surrogate model: a fixed number of finite values.

        Equal graphs have equal features. There are none by default, which suits parameters that describe the graph
        well themselves, such as those of a random generator. `parameters` are complete.
        """
        return ()

    def largest(self, name: str) -> int:
        """Largest value of a whole number within its range; 0 of other dimensions, and of those never active."""
        dimension = self.dimensions[name]
        if not isinstance(dimension.distribution, IntDistribution):
            return 0
        if name in self.fixed:
            parent = self.fixed.get(str(dimension.parent))
            return int(self.fixed[name]) if parent is None or parent in dimension.values else 0
        found = self._open[name].distribution if name in self._open else None
        return found.high if isinstance(found, IntDistribution) else 0

    def described(self) -> tuple[str, ...]:
        """Names of the dimensions that the features describe: all that are searched."""
        return tuple(self._open)

    def flaws(self, parameters: Parameters) -> int:
        """Number of rules that complete parameters break and that ranges cannot express; 0 in most spaces."""
        return 0

    def complete(self, parameters: Parameters) -> dict[str, Value]:
        """The parameters and the fixed values together, in the order of the dimensions.

        Raises:
            SpaceError: If a value is missing, unknown, out of its range, or given for an inactive dimension.
        """
        for name in parameters:
            if name not in self._open and name not in self.fixed:
                raise unknown(f"dimension of space {self.name!r}", name, [*self._open, *self.fixed])
        result: dict[str, Value] = {}
        for name in self.dimensions:
            if name in self.fixed:
                if parameters.get(name, self.fixed[name]) != self.fixed[name]:
                    raise SpaceError(f"`{name}` is fixed to {self.fixed[name]!r}, but got {parameters[name]!r}.")
                result[name] = self.fixed[name]
            elif name in self._open and self._open[name].is_active(result):
                if name not in parameters:
                    raise SpaceError(f"`{name}` is missing. Space {self.name!r} needs {', '.join(self._open)}.")
                if not contains(distribution := self._open[name].distribution, parameters[name]):
                    raise SpaceError(f"`{name}` must be in {distribution}, but got {parameters[name]!r}.")
                result[name] = parameters[name]
            elif name in parameters:
                parent = self._open[name].parent
                raise SpaceError(f"`{name}` is not active for {parent}={result.get(str(parent))!r}. Omit it.")
        return result

    def completed(self, values: Parameters) -> dict[str, Value]:
        """Complete parameters with these values as far as they are active; missing ones are at their low ends."""
        family: dict[str, Value] = {}
        for name, dimension in self._open.items():
            if dimension.is_active(self.fixed | family):
                family[name] = values.get(name, low_ends(dimension.distribution)[0])
        return self.complete(family)

    def start_points(self) -> list[dict[str, Value]]:
        """The well-known families that lie within the ranges, without fixed values."""
        points = []
        for family in self.well_known:
            with suppress(SpaceError):
                complete = self.complete(family)
                points.append({name: value for name, value in complete.items() if name in self._open})
        return points

    @property
    def members(self) -> dict[str, Space]:
        """The spaces of which this one is made, by name; only itself, without a name, in all but a choice of spaces."""
        return {"": self}

    def restricted(self, names: Collection[str]) -> Space:
        """The space made of those of its members that have these names."""
        return self

    def random_parameters(self, rng: np.random.Generator) -> dict[str, Value]:
        """A random family: a uniform draw of every active dimension, repaired until it has no flaws."""
        start = drawn(self._open, {}, rng)
        return repair(self._open, start, lambda parameters: (self._flaws(parameters),), rng)[0]

    def smallest_parameters(self) -> list[dict[str, Value]]:
        """Families with the fewest nodes and edges: all numbers at their lower ends, for each choice of a category.

        If these were more than `MANY`, categories on which no other dimension depends are at their first choice.
        """
        n_families = prod(len(low_ends(dimension.distribution)) for dimension in self._open.values())
        parents = {dimension.parent for dimension in self._open.values()}
        families: list[dict[str, Value]] = [{}]
        for name, dimension in self._open.items():
            ends = low_ends(dimension.distribution)
            chosen = ends if n_families <= MANY or name in parents else ends[:1]
            families = [
                {**family, name: end} if dimension.is_active(family) else family
                for family in families
                for end in (chosen if dimension.is_active(family) else chosen[:1])
            ]
        return families

    def fit(
        self,
        parameters: Parameters,
        budget: Budget,
        input_shape: Shape,
        classes: int,
        rng: np.random.Generator,
    ) -> dict[str, Value]:
        """The parameters themselves if they have no flaws and a draw fits the budget, else near ones that do.

        One dimension at a time is changed, as described in `repair.py`. In a random space a single draw is checked, so
        `sample` may still fail for a family that barely fits.

        Args:
            parameters: A value for each active dimension of `distributions`; fixed ones may be omitted.
            budget: Limits that a draw at its smallest width must keep.
            input_shape: Shape of one sample, without the batch.
            classes: Number of logits.
            rng: Source of randomness.

        Raises:
            BudgetError: If no near parameters fit.
            SpaceError: If the parameters are not of this space, or no near ones are without flaws.
        """
        self.complete(parameters)
        given = {name: value for name, value in parameters.items() if name in self._open}

        def smallest(parameters: Parameters) -> Cost:
            blueprint = self.blueprint(parameters, input_shape, classes, rng)
            return blueprint.limited_cost(widths_at(blueprint.ratios, self.width or 1), budget)

        def excess(parameters: Parameters) -> tuple[float, ...]:
            complete = self.complete(parameters)
            flaws = self.flaws(complete)
            return (flaws, inf) if flaws else (0, max(0.0, budget.tightest(smallest(complete)) - 1))

        fitted, left = repair(self._open, given, excess, rng)
        if left[0]:
            raise SpaceError(f"No family near {dict(given)} keeps the rules of space {self.name!r}. Widen its ranges.")
        if any(left):
            budget.check(smallest(self.complete(fitted)), f"The smallest family near {dict(given)}")
        return fitted

    def _flaws(self, parameters: Parameters) -> int:
        return self.flaws(self.complete(parameters))
