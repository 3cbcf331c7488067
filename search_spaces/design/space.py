"""What a search space must offer: named dimensions, and architectures within a budget."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from math import inf, prod
from typing import ClassVar

import numpy as np

from search_spaces.architecture.cost import Cost
from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import Shape
from search_spaces.design.blueprint import Blueprint
from search_spaces.design.budget import Budget, solve_widths, widths_at
from search_spaces.design.dimensions import Dimension, Parameters, Range, Value, contains, low_ends, narrow
from search_spaces.design.repair import drawn, repair
from search_spaces.errors import SpaceError, unknown

__all__ = ["Dimension", "Parameters", "Range", "Space", "Value", "narrow"]

MANY = 64
"""Most smallest families for which every choice of every category is tried."""


class Space(ABC):
    """A set of families: each setting of the parameters is a distribution over architectures.

    What a subclass must hold:

    * `name` and `dimensions` (parents before children) are class attributes; `random` is False where parameters leave
      nothing to chance, so that every family is one architecture.
    * `blueprint` takes all its randomness from the rng that it is given, keeps no state, and raises nothing for
      parameters within the dimensions whose `flaws` are 0. Its cost grows with every width.
    * The first choice of a category is the cheapest, as far as there is one.
    * Same parameters, input, classes and rng state: same architecture, in any process.

    Args:
        width: Fixes the base width; budgets are then only checked. None solves it from the budget.
        max_width: Largest base width.
        ranges: For any dimension a narrower (or other legal) range, or one value to fix it: it then leaves
            `distributions` and need not be among the parameters.

    Raises:
        SpaceError: For an unknown dimension or a range that makes no sense.
    """

    name: ClassVar[str]
    dimensions: ClassVar[Mapping[str, Dimension]]
    random: ClassVar[bool] = True

    def __init__(self, *, width: float | None = None, max_width: int = 512, **ranges: Range) -> None:
        if max_width < 1 or (width is not None and width <= 0):
            raise SpaceError(f"`max_width >= 1` and `width > 0` must hold, but got {max_width=}, {width=}.")
        self.width, self.max_width = width, max_width
        self._open, self.fixed = narrow(self.dimensions, ranges, f"space {self.name!r}")

    def distributions(self) -> dict[str, Dimension]:
        """The dimensions that are searched, parents before children, without the fixed ones."""
        return dict(self._open)

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
            parameters: A value for each active dimension of `distributions`; fixed ones may be left out.
            budget: Limits that the architecture keeps, always.
            input_shape: Of one sample, without the batch.
            classes: Number of logits.
            rng: All the randomness of the draw.

        Raises:
            SpaceError: If the parameters are not of this space, or nothing decides the width.
            BudgetError: If the draw does not fit at its smallest width.
        """
        blueprint = self.blueprint(self.complete(parameters), input_shape, classes, rng)
        if self.width is None:
            return blueprint.fill(solve_widths(blueprint.cost, blueprint.ratios, budget, self.max_width))
        widths = widths_at(blueprint.ratios, self.width)
        budget.check(blueprint.cost(widths), f"This draw at the fixed width {self.width:g}")
        return blueprint.fill(widths)

    @abstractmethod
    def blueprint(
        self, parameters: Parameters, input_shape: Shape, classes: int, rng: np.random.Generator
    ) -> Blueprint:
        """One draw of the family whose widths are still open; `parameters` are complete and checked."""

    @abstractmethod
    def describe(self, parameters: Parameters) -> str:
        """The family in a few words of the field, such as `WS(8,4,0.6)`.

        In a random space it says so if the family has a single member.
        """

    def single_member(self, parameters: Parameters) -> bool:
        """Whether all draws of the family are one graph, so that more samples of it teach nothing."""
        return not self.random

    def features(self, parameters: Parameters) -> tuple[float, ...]:
        """What the optimiser is told of the graph of complete parameters, in always as many finite numbers.

        Equal graphs have equal ones. Empty where the parameters say it best, as those of a random generator do.
        """
        return ()

    def flaws(self, parameters: Parameters) -> int:
        """How many rules of the space complete parameters break that no range can express; 0 for most spaces."""
        return 0

    def complete(self, parameters: Parameters) -> dict[str, Value]:
        """The parameters with the fixed ones, in the order of the dimensions.

        Raises:
            SpaceError: If one is missing, unknown, out of its range, or given while its parent says it is inactive.
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
                    raise SpaceError(f"`{name}` must be of {distribution}, but got {parameters[name]!r}.")
                result[name] = parameters[name]
            elif name in parameters:
                parent = self._open[name].parent
                raise SpaceError(f"`{name}` is not active for {parent}={result.get(str(parent))!r}. Leave it out.")
        return result

    def random_parameters(self, rng: np.random.Generator) -> dict[str, Value]:
        """An even draw of every active dimension, without flaws: a random family."""
        start = drawn(self._open, {}, rng)
        return repair(self._open, start, lambda parameters: (self._flaws(parameters),), rng)[0]

    def smallest_parameters(self) -> list[dict[str, Value]]:
        """Families with the fewest nodes and edges: all numbers at their lower ends, for each choice of a category.

        Where there are more than `MANY` of these, every category that nothing depends on is at its first choice.
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

        One dimension at a time is changed: to a value that makes all well, chosen evenly, or else to the one that is
        least over. Where draws are random one draw is judged, so `sample` may still fail for a family at the edge.

        Raises:
            BudgetError: If nothing near fits.
            SpaceError: If the parameters are not of this space, or nothing near them is without flaws.
        """
        self.complete(parameters)
        given = {name: value for name, value in parameters.items() if name in self._open}
        smallest = partial(self._smallest_cost, input_shape=input_shape, classes=classes, rng=rng)

        def excess(parameters: Parameters) -> tuple[float, ...]:
            flaws = self._flaws(parameters)
            return (flaws, inf) if flaws else (0, max(0.0, budget.tightest(smallest(parameters)) - 1))

        fitted, left = repair(self._open, given, excess, rng)
        if left[0]:
            raise SpaceError(f"No family near {dict(given)} keeps the rules of space {self.name!r}. Widen its ranges.")
        if any(left):
            budget.check(smallest(fitted), f"The family nearest to {dict(given)} that is smallest")
        return fitted

    def _smallest_cost(
        self, parameters: Parameters, input_shape: Shape, classes: int, rng: np.random.Generator
    ) -> Cost:
        blueprint = self.blueprint(self.complete(parameters), input_shape, classes, rng)
        return blueprint.cost(widths_at(blueprint.ratios, self.width or 1))

    def _flaws(self, parameters: Parameters) -> int:
        return self.flaws(self.complete(parameters))
