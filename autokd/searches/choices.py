"""What a search chooses from, told by its configuration alone, before any data or teacher are seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.study import Study

from autokd.config.fidelity_metrics import FIDELITY_METRICS, FidelityMetric
from autokd.config.objectives import Against
from autokd.config.schema import SearchConfig
from autokd.core.references import include_current_folder
from autokd.errors import InputError
from autokd.optimizers.space.conditions import Parents, parents_of
from autokd.searches.method_choice import MethodChoice
from search_spaces.architecture.format import Architecture
from search_spaces.design.dimensions import Dimension, Value
from search_spaces.design.registry import space_of
from search_spaces.design.space import Space
from search_spaces.errors import SpaceError

__all__ = ["BUDGET_SHARE", "Choices"]

BUDGET_SHARE = "budget_share"
"""Name of the dimension that says which share of the limits of its cost objectives a trial may use."""

SHARES = Dimension(FloatDistribution(0.1, 1.0, log=True))


@dataclass(frozen=True)
class Choices:
    """The search space and the distillation methods as one set of dimensions.

    Attributes:
        config: What the user asked for.
    """

    config: SearchConfig

    @property
    def teacher_graph(self) -> Architecture | None:
        """The teacher's network as an architecture, once the facts are known and if it has such a form."""
        return None

    @property
    def pruned_widths(self) -> Mapping[str, int] | None:
        """Widths that follow from the most pruned teacher, by the teacher's nodes, once it is made."""
        return None

    @property
    def earlier_studies(self) -> Sequence[Study]:
        """What the optimiser learns from, once the facts are known."""
        return ()

    @cached_property
    def space(self) -> Space:
        """The search space, or the choice among several, narrowed to the configured ranges.

        Until the facts are known, it is that of any teacher.
        """
        include_current_folder()  # a user's space is "module:Class"; so are samplers and pruners below
        try:
            section = self.config.space
            found = space_of(section.listed, section.ranges).tilted(section.tilt).with_stem(section.stem)
            if self.teacher_graph is None:
                return found
            return found.with_teacher(self.teacher_graph, self.pruned_widths if found.needs_pruning else None)
        except SpaceError as error:
            raise InputError(f"space: {error}") from None

    @cached_property
    def methods(self) -> MethodChoice:
        """The distillation methods and teachers."""
        include_current_folder()
        paths = self.config.panel.subsets if self.config.panel else ()
        return MethodChoice(self.config.distillation, tuple(self.config.teacher.teacher_schedules), tuple(paths))

    @cached_property
    def dimensions(self) -> dict[str, Dimension]:
        """Everything that the optimiser chooses: the space's dimensions, then the methods', then the budget's."""
        ours, theirs = self.space.distributions(), self.methods.dimensions
        if shared := ours.keys() & theirs.keys():
            raise InputError(f"the space and the distillation method share the dimension {min(shared)!r}.")
        if not self.costs:
            return ours | theirs
        if BUDGET_SHARE in ours | theirs:
            raise InputError(f"optimizer.objectives: {BUDGET_SHARE!r} is a dimension of the space or the method, too.")
        return ours | theirs | {BUDGET_SHARE: SHARES}

    @property
    def costs(self) -> tuple[Against, ...]:
        """The objectives beside the accuracy."""
        return self.config.optimizer.costs

    @cached_property
    def start_points(self) -> Sequence[Mapping[str, Value]]:
        """What the first trials must have, if several spaces are searched: each space once, then well-known families.

        They are distilled as one would without a search. A search of one space begins with the optimiser's own points,
        as it did before there were others.
        """
        points = self.space.start_points() if self._has_spaces else ()
        return [point | self.methods.defaults for point in points]

    @property
    def conditions(self) -> Parents:
        """The conditional dimensions as far as the optimiser is told of them.

        With one space it is told of none, since it was not before there were several, and must go on so.
        """
        return parents_of(self.dimensions) if self._has_spaces else {}

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The dimensions as Optuna's distributions, whether active or not."""
        return {name: dimension.distribution for name, dimension in self.dimensions.items()}

    @property
    def _has_spaces(self) -> bool:
        return len(self.config.space.listed) > 1

    @property
    def fidelity_metric(self) -> FidelityMetric:
        """By what trials are compared below the last rung."""
        return FIDELITY_METRICS[self.config.optimizer.signal]
