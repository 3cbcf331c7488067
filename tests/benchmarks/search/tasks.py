"""A task: a finite search space, and what somebody measured at every one of its points.

Values are turned so that larger is better. A row of the arrays is a point of the space, in the order in which
`itertools.product` would list the parameters' choices.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

__all__ = ["Array", "Early", "Measurement", "Params", "Task", "choices", "code"]

Array = NDArray[np.float64]
Params = Mapping[str, Any]


class Measurement(NamedTuple):
    """What one training gave.

    Attributes:
        value: The objective, of one training seed.
        seconds: How long it trained.
        violation: By how much the point breaks the worst of its limits, as a share of the limit; 0 if it keeps them.
    """

    value: float
    seconds: float
    violation: float = 0.0


class Early(NamedTuple):
    """Short trainings of all points, from which a search may stop the long ones.

    They have learning-rate schedules of their own, so a long training starts anew.

    Attributes:
        values: Objective, `size`.
        epochs: Length of the short trainings.
        full_epochs: Length of the long ones.
    """

    values: Array
    epochs: int
    full_epochs: int


@dataclass(frozen=True)
class Task:
    """A recorded objective.

    Attributes:
        name: What reports call it.
        space: Distributions with finitely many values each.
        values: Objective by point and training seed, `size x seeds`; NaN where that seed was not run.
        seconds: Training time of the same, `size x seeds`.
        violations: By how much each point breaks its limits, `size`; see `Measurement`. None if there are no limits.
        early: Short trainings, if there are any.
    """

    name: str
    space: Mapping[str, BaseDistribution]
    values: Array
    seconds: Array
    violations: Array | None = None
    early: Early | None = None

    def __post_init__(self) -> None:
        if self.values.shape != self.seconds.shape or len(self.values) != math.prod(self.shape):
            raise ValueError(
                f"Values and seconds of {self.name!r} must be {math.prod(self.shape)} x seeds, "
                f"but are {self.values.shape} and {self.seconds.shape}."
            )
        if np.isnan(self.values).all(axis=1).any():
            raise ValueError(f"Each point of {self.name!r} must have a value of at least one seed.")

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Number of choices a parameter."""
        return tuple(len(choices(distribution)) for distribution in self.space.values())

    @property
    def size(self) -> int:
        """Number of points."""
        return len(self.values)

    @cached_property
    def means(self) -> Array:
        """Mean over the seeds by point, `size`: what a point is worth."""
        return np.asarray(np.nanmean(self.values, axis=1), dtype=np.float64)

    @cached_property
    def feasible(self) -> NDArray[np.bool_]:
        """Which points keep the limits, `size`."""
        return np.ones(self.size, dtype=bool) if self.violations is None else self.violations <= 0

    @cached_property
    def optimum(self) -> float:
        """What the best feasible point is worth."""
        return float(self.means[self.feasible].max())

    @cached_property
    def consolation(self) -> float:
        """What a feasible point drawn at random is worth on average: all that a search has until it finds one."""
        return float(self.means[self.feasible].mean())

    def row(self, params: Params) -> int:
        """Number of a point."""
        codes = [code(distribution, params[name]) for name, distribution in self.space.items()]
        return int(np.ravel_multi_index(codes, self.shape))

    def params(self, row: int) -> dict[str, Any]:
        """Inverse of `row`."""
        codes = np.unravel_index(row, self.shape)
        pairs = zip(self.space.items(), codes, strict=True)
        return {name: choices(distribution)[int(index)] for (name, distribution), index in pairs}

    def evaluate(self, params: Params, rng: np.random.Generator) -> Measurement:
        """One training at a point: value and seconds of one of its seeds, each as likely as the others."""
        row = self.row(params)
        seed = rng.choice(np.flatnonzero(~np.isnan(self.values[row])))
        violation = 0.0 if self.violations is None else float(self.violations[row])
        return Measurement(float(self.values[row, seed]), float(self.seconds[row, seed]), violation)

    def evaluate_early(self, params: Params) -> Measurement:
        """The short training of a point, whose time is its share of the long one's epochs.

        Raises:
            ValueError: If the task has none.
        """
        if self.early is None:
            raise ValueError(f"The task {self.name!r} has no short trainings.")
        row = self.row(params)
        seconds = float(np.nanmean(self.seconds[row])) * self.early.epochs / self.early.full_epochs
        return Measurement(float(self.early.values[row]), seconds)

    def worth(self, params: Params) -> float:
        """What a point is worth: its mean, or the consolation if it breaks a limit."""
        row = self.row(params)
        return float(self.means[row]) if self.feasible[row] else self.consolation

    def averaged(self) -> "Task":
        """The same task without noise: each training gives the mean of all seeds."""
        seconds = np.nanmean(self.seconds, axis=1, keepdims=True)
        return replace(self, name=f"{self.name}-averaged", values=self.means[:, np.newaxis], seconds=seconds)

    def expected_best(self, n: int) -> float:
        """Mean worth of the best of `n` different points drawn at random: random search without noise, exactly."""
        expected, still_open = 0.0, 1.0
        worths = np.where(self.feasible, self.means, -np.inf)
        for rank, worth in enumerate(np.sort(worths)[::-1]):
            # Given that no better point was drawn, all n are among the `size - rank` others, this one included.
            drawn = min(1.0, n / (self.size - rank))
            expected += still_open * drawn * (float(worth) if np.isfinite(worth) else self.consolation)
            still_open *= 1.0 - drawn
            if not still_open:
                break
        return expected


def choices(distribution: BaseDistribution) -> tuple[Any, ...]:
    """All values of a distribution, in their order.

    Raises:
        ValueError: If there is a continuum of them.
    """
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return tuple(range(distribution.low, distribution.high + 1, distribution.step))
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        n_steps = round((distribution.high - distribution.low) / distribution.step)
        return tuple(distribution.low + distribution.step * index for index in range(n_steps + 1))
    raise ValueError(f"A task's parameters must have finitely many values, but one is {distribution}.")


def code(distribution: BaseDistribution, value: Any) -> int:
    """Index of the value among the choices; a float may be off by rounding."""
    if isinstance(distribution, CategoricalDistribution):
        return int(distribution.to_internal_repr(value))
    if isinstance(distribution, IntDistribution | FloatDistribution) and distribution.step is not None:
        position: float = (value - distribution.low) / distribution.step
        return round(position)
    raise ValueError(f"A task's parameters must have finitely many values, but one is {distribution}.")
