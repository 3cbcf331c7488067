"""What a search chooses from, told by its configuration alone, before any data or teacher are seen."""

from dataclasses import dataclass
from functools import cached_property

from optuna.distributions import BaseDistribution

from autokd.config.fidelity_metrics import FIDELITY_METRICS, FidelityMetric
from autokd.config.schema import SearchConfig
from autokd.core.references import include_current_folder
from autokd.errors import InputError
from autokd.searches.method_choice import MethodChoice
from search_spaces.design.dimensions import Dimension
from search_spaces.design.registry import space
from search_spaces.design.space import Space
from search_spaces.errors import SpaceError

__all__ = ["Choices"]


@dataclass(frozen=True)
class Choices:
    """The search space and the distillation methods as one set of dimensions.

    Attributes:
        config: What the user asked for.
    """

    config: SearchConfig

    @cached_property
    def space(self) -> Space:
        """The search space, narrowed to the configured ranges."""
        include_current_folder()  # a user's space is "module:Class"; so are samplers and pruners below
        try:
            return space(self.config.space.name, **self.config.space.ranges)
        except SpaceError as error:
            raise InputError(f"space: {error}") from None

    @cached_property
    def methods(self) -> MethodChoice:
        """The distillation methods and teachers."""
        include_current_folder()
        return MethodChoice(self.config.distillation, tuple(self.config.teacher.teacher_schedules))

    @cached_property
    def dimensions(self) -> dict[str, Dimension]:
        """Everything that the optimiser chooses: the space's dimensions, then the methods'."""
        ours, theirs = self.space.distributions(), self.methods.dimensions
        if shared := ours.keys() & theirs.keys():
            raise InputError(f"the space and the distillation method share the dimension {min(shared)!r}.")
        return ours | theirs

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The dimensions as Optuna's distributions, whether active or not."""
        return {name: dimension.distribution for name, dimension in self.dimensions.items()}

    @property
    def fidelity_metric(self) -> FidelityMetric:
        """By what trials are compared below the last rung."""
        return FIDELITY_METRICS[self.config.optimizer.signal]
