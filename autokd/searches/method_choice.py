"""The distillation methods and teachers of a search as dimensions, and the choice of a trial."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from optuna.distributions import CategoricalDistribution

from autokd.config.schema import DistillationConfig
from autokd.distillation import Method, Need, make_method, method_defaults, method_distributions
from autokd.distillation.registry import learns_from_panel, weighs_panel
from autokd.errors import InputError
from search_spaces.design.dimensions import Dimension, Value, contains, low_ends, narrow
from search_spaces.errors import SpaceError

__all__ = ["METHOD", "PATH", "TEACHER", "MethodChoice"]

METHOD, TEACHER, PATH = "method", "teacher", "path"
"""Names of the dimensions that choose, if there are several methods, teachers or subsets of the assistants."""

Settings = tuple[tuple[str, Value], ...]


@dataclass(frozen=True)
class MethodChoice:
    """One method with its hyper-parameters, or several with their own, among which the dimension `method` chooses.

    Attributes:
        config: The section `[distillation]`.
        teacher_schedules: Names of the teacher schedules to choose from.
        paths: Names of the subsets of the assistants to choose from; none without a choice.
    """

    config: DistillationConfig
    teacher_schedules: tuple[str, ...] = ("",)
    paths: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The methods that a trial can have."""
        searched, fixed = self._narrowed
        if METHOD in searched:
            return tuple(map(str, low_ends(searched[METHOD].distribution)))
        return (str(fixed.get(METHOD, self.config.names[0])),)

    @property
    def dimensions(self) -> dict[str, Dimension]:
        """The searched dimensions."""
        return self._narrowed[0]

    @property
    def defaults(self) -> dict[str, Value]:
        """What one would choose without a search: the first method with its paper's settings, and the first teacher.

        Only searched dimensions are included, and those only if the value is in their ranges.
        """
        name = self.names[0]
        prefix = self._prefix(name)
        settings = {prefix + key: value for key, value in method_defaults(name).items()}
        wanted = {METHOD: name, **settings, TEACHER: self.teacher_schedules[0]}
        if self._has_path(name):
            wanted[PATH] = self.paths[-1]
        return {
            key: wanted[key]
            for key, dimension in self.dimensions.items()
            if key in wanted and contains(dimension.distribution, wanted[key])
        }

    def name(self, parameters: Mapping[str, Value]) -> str:
        """The method of a trial with these parameters."""
        return str(self._values(parameters)[METHOD]) if self._several else self.config.names[0]

    def settings(self, parameters: Mapping[str, Value]) -> Settings:
        """The hyper-parameters of the trial's method by its own names, fixed ones included.

        Those that did not exist yet when the trial was recorded are omitted, so that they have their defaults.
        """
        values = self._values(parameters)
        prefix = self._prefix(self.name(parameters))
        own = method_distributions(self.name(parameters))
        return tuple(sorted((name, values[prefix + name]) for name in own if prefix + name in values))

    def teacher_schedule(self, parameters: Mapping[str, Value]) -> int:
        """Number of the teacher schedule of a trial with these parameters."""
        return (
            self.teacher_schedules.index(str(self._values(parameters)[TEACHER]))
            if len(self.teacher_schedules) > 1
            else 0
        )

    def path(self, parameters: Mapping[str, Value]) -> str | None:
        """Name of the subset of the assistants that teaches in a trial with these parameters; None for all."""
        return str(self._values(parameters)[PATH]) if self._has_path(self.name(parameters)) else None

    @cached_property
    def needs(self) -> frozenset[Need]:
        """What any of the methods needs from the stored teacher outputs besides logits.

        Methods that look at further views, or choose layers themselves, cannot use stored outputs and do not count.
        """
        methods = (method for _, method in self.examples())
        reading = (method for method in methods if method.n_views == 1 and not method.chooses_layers)
        return frozenset[Need]().union(*(method.needs for method in reading))

    @property
    def first_with_panel(self) -> str | None:
        """The first method that learns from assistants; None if none does."""
        return next(filter(learns_from_panel, self.names), None)

    @property
    def weighs_panel(self) -> bool:
        """Whether a method wants weights of teacher and assistants."""
        return any(map(weighs_panel, self.names))

    def chosen(self, parameters: Mapping[str, Value]) -> dict[str, Value]:
        """How a trial with these parameters distils: `method`, its settings, and `teacher` and `path` where chosen."""
        teacher = (
            {TEACHER: self.teacher_schedules[self.teacher_schedule(parameters)]}
            if len(self.teacher_schedules) > 1
            else {}
        )
        path = {} if (chosen := self.path(parameters)) is None else {PATH: chosen}
        return {METHOD: self.name(parameters), **dict(self.settings(parameters)), **teacher, **path}

    def check(self) -> None:
        """Create each method at the ends of its ranges.

        Raises:
            InputError: If a method does not exist, or refuses an end of its ranges.
        """
        for _ in self.examples():
            pass

    def examples(self) -> Iterator[tuple[str, Method]]:
        """Yield name and instance of each method, with all numbers at the low and then at the high end of their ranges.

        Raises:
            InputError: If a method does not exist or refuses such a value.
        """
        searched, fixed = self._narrowed
        for name in self.names:
            for end in (_low, _high):
                parameters = fixed | {key: end(dimension) for key, dimension in searched.items()} | {METHOD: name}
                try:
                    yield name, make_method(name, dict(self.settings(parameters)))
                except (InputError, TypeError) as error:
                    raise InputError(f"distillation.ranges: {error}") from None

    @property
    def _several(self) -> bool:
        return self.config.methods is not None

    @cached_property
    def _narrowed(self) -> tuple[dict[str, Dimension], dict[str, Value]]:
        """The searched dimensions, and the fixed values."""
        what = "the distillation methods" if self._several else f"distillation method {self.config.names[0]!r}"
        try:
            return narrow(dict(self._all()), self.config.ranges, what)
        except SpaceError as error:
            raise InputError(f"distillation.ranges: {error}") from None

    def _all(self) -> Iterator[tuple[str, Dimension]]:
        if self._several:
            yield METHOD, Dimension(CategoricalDistribution(self.config.names))
        for method in self.config.names:
            for name, distribution in method_distributions(method).items():
                parent = Dimension(distribution, METHOD, (method,)) if self._several else Dimension(distribution)
                yield self._prefix(method) + name, parent
        if len(self.teacher_schedules) > 1:
            yield TEACHER, Dimension(CategoricalDistribution(self.teacher_schedules))
        if with_panel := tuple(filter(self._has_path, self.config.names)):
            choice = CategoricalDistribution(self.paths)
            yield PATH, Dimension(choice, METHOD, with_panel) if self._several else Dimension(choice)

    def _has_path(self, method: str) -> bool:
        """Whether it is to be chosen which assistants teach by this method."""
        return bool(self.paths) and learns_from_panel(method)

    def _prefix(self, method: str) -> str:
        return f"{method}." if self._several else ""

    def _values(self, parameters: Mapping[str, Value]) -> dict[str, Value]:
        return {**parameters, **self._narrowed[1]}


def _low(dimension: Dimension) -> Value:
    return low_ends(dimension.distribution)[0]


def _high(dimension: Dimension) -> Value:
    high = getattr(dimension.distribution, "high", None)
    return low_ends(dimension.distribution)[-1] if high is None else high
