"""Several search spaces as one, of which each family belongs to one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
from optuna.distributions import CategoricalDistribution

from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import Shape
from search_spaces.design.blueprint import Blueprint
from search_spaces.design.budget import Budget
from search_spaces.design.dimensions import Dimension, Parameters, Value
from search_spaces.design.space import Space
from search_spaces.design.stems import Stem
from search_spaces.design.widths import Tilt
from search_spaces.errors import SpaceError, unknown

__all__ = ["SPACE", "SpaceChoice"]

SPACE = "space"
"""Name of the dimension that chooses among the spaces."""


class SpaceChoice(Space):
    """A choice among spaces: the dimension `space`, and the dimensions of each space, which depend on it.

    The name of a dimension begins with that of its space, as in "nago.top_nodes". Everything else is what the chosen
    space makes of its own parameters. Values that a space fixes are among the complete parameters of its own families
    only, so the choice itself has none in `fixed`.

    Args:
        spaces: The spaces by the names under which they are chosen, at least one.

    Raises:
        SpaceError: If there are none.
    """

    name = "choice"
    dimensions: ClassVar[Mapping[str, Dimension]] = {}  # each choice has its own, in `distributions`

    def __init__(self, spaces: Mapping[str, Space]) -> None:
        if not spaces:
            raise SpaceError("A choice among spaces needs at least one space.")
        super().__init__()
        self.needs_teacher = any(each.needs_teacher for each in spaces.values())
        self._spaces = dict(spaces)
        self._open = {SPACE: Dimension(CategoricalDistribution(tuple(spaces)))}
        for name, each in spaces.items():
            self._open |= {f"{name}.{key}": _under(name, one) for key, one in each.distributions().items()}
        self._idle = {name: each.features(each.completed({})) for name, each in spaces.items()}  # if not chosen

    @property
    def members(self) -> dict[str, Space]:
        """The spaces by name."""
        return dict(self._spaces)

    def with_teacher(self, teacher: Architecture, pruned: Mapping[str, int] | None = None) -> SpaceChoice:
        """The choice among the spaces for this teacher; see `Space.with_teacher`."""
        return self._of_each(lambda space: space.with_teacher(teacher, pruned))

    def tilted(self, tilt: Tilt) -> SpaceChoice:
        """The choice among the spaces with this rule; see `Space.tilted`."""
        return self._of_each(lambda space: space.tilted(tilt))

    def with_stem(self, stem: Stem) -> SpaceChoice:
        """The choice among the spaces with this stem; see `Space.with_stem`."""
        return self._of_each(lambda space: space.with_stem(stem))

    @property
    def needs_pruning(self) -> bool:
        """Whether one of the spaces does."""
        return any(each.needs_pruning for each in self._spaces.values())

    def restricted(self, names: Collection[str]) -> SpaceChoice:
        """The choice among the spaces of these names, even if there is only one; a `SpaceError` if there is none."""
        return SpaceChoice({name: each for name, each in self._spaces.items() if name in names})

    def complete(self, parameters: Parameters) -> dict[str, Value]:
        """The choice with the complete parameters of the chosen space; see `Space.complete`."""
        name, own = self._chosen(parameters)
        return _of_choice(name, self._spaces[name].complete(own))

    def sample(
        self, parameters: Parameters, budget: Budget, input_shape: Shape, classes: int, rng: np.random.Generator
    ) -> Architecture:
        """An architecture of the chosen space; see `Space.sample`."""
        name, own = self._chosen(parameters)
        return self._spaces[name].sample(own, budget, input_shape, classes, rng)

    def blueprint(
        self, parameters: Parameters, input_shape: Shape, classes: int, rng: np.random.Generator
    ) -> Blueprint:
        """A draw of the chosen space; see `Space.blueprint`."""
        name, own = self._chosen(parameters)
        return self._spaces[name].blueprint(own, input_shape, classes, rng)

    def fit(
        self, parameters: Parameters, budget: Budget, input_shape: Shape, classes: int, rng: np.random.Generator
    ) -> dict[str, Value]:
        """Near parameters of the same space that fit the budget; see `Space.fit`."""
        name, own = self._chosen(parameters)
        return _of_choice(name, self._spaces[name].fit(own, budget, input_shape, classes, rng))

    def describe(self, parameters: Parameters) -> str:
        """The space and its description of the family, such as `blocks: 2 basic at 1, ...`."""
        name, own = self._chosen(parameters)
        return f"{name}: {self._spaces[name].describe(own)}"

    def single_member(self, parameters: Parameters) -> bool:
        """Whether the family has one member; see `Space.single_member`."""
        name, own = self._chosen(parameters)
        return self._spaces[name].single_member(own)

    def features(self, parameters: Parameters) -> tuple[float, ...]:
        """Features of all spaces one after the other; those of the spaces not chosen are of a fixed family of each.

        So these do not distinguish families of other spaces, and lie in the range of the features of their own.
        """
        chosen, own = self._chosen(parameters)
        known = self._idle | {chosen: self._spaces[chosen].features(own)}
        return tuple(value for features in known.values() for value in features)

    def described(self) -> tuple[str, ...]:
        """The dimensions of the spaces that have features."""
        pairs = ((name, each) for name, each in self._spaces.items() if self._idle[name])
        return tuple(f"{name}.{key}" for name, each in pairs for key in each.described())

    def flaws(self, parameters: Parameters) -> int:
        """Number of rules of the chosen space that the parameters break."""
        name, own = self._chosen(parameters)
        return self._spaces[name].flaws(own)

    def start_points(self) -> list[dict[str, Value]]:
        """One of each space, the first where it has any, then all others.

        A space without start points is represented by the choice alone; the optimiser chooses the other values.
        """
        points = {
            name: [_of_choice(name, point) for point in each.start_points() or [{}]]
            for name, each in self._spaces.items()
        }
        return [first for first, *_ in points.values()] + [one for _, *others in points.values() for one in others]

    def random_parameters(self, rng: np.random.Generator) -> dict[str, Value]:
        """A random family of a space drawn at random."""
        name = list(self._spaces)[int(rng.integers(len(self._spaces)))]
        return _of_choice(name, self._spaces[name].random_parameters(rng))

    def smallest_parameters(self) -> list[dict[str, Value]]:
        """The smallest families of each space."""
        return [
            _of_choice(name, family) for name, each in self._spaces.items() for family in each.smallest_parameters()
        ]

    def _of_each(self, change: Callable[[Space], Space]) -> SpaceChoice:
        return SpaceChoice({name: change(each) for name, each in self._spaces.items()})

    def _chosen(self, parameters: Parameters) -> tuple[str, dict[str, Value]]:
        """The name of the chosen space, and its parameters by its own names."""
        if SPACE not in parameters:
            raise SpaceError(f"`{SPACE}` is missing: one of {', '.join(self._spaces)}.")
        name = str(parameters[SPACE])
        if name not in self._spaces:
            raise unknown("value of `space`", name, self._spaces)
        own: dict[str, Value] = {}
        for key, value in parameters.items():
            if key.startswith(f"{name}."):
                own[key.removeprefix(f"{name}.")] = value
            elif key in self._open and key != SPACE:
                raise SpaceError(f"`{key}` is not active for space={name!r}. Omit it.")
            elif key != SPACE:
                raise unknown("dimension", key, self._open)
        return name, own


def _under(name: str, dimension: Dimension) -> Dimension:
    """A space's dimension as one of the choice: it depends on what it did or, if on nothing, on `space`."""
    if dimension.parent is None:
        return replace(dimension, parent=SPACE, values=(name,))
    return replace(dimension, parent=f"{name}.{dimension.parent}")


def _of_choice(name: str, parameters: Parameters) -> dict[str, Value]:
    """Parameters of a space as those of the choice of this space."""
    return {SPACE: name, **{f"{name}.{key}": value for key, value in parameters.items()}}
