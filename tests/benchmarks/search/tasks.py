"""A task: a search space, and what somebody measured at its points.

Values are turned so that larger is better. A row of the arrays is a point of the space, in the order in which
`itertools.product` would list the parameters' choices.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from grids import choices, code, shape
from ladder import Rungs
from limits import Limit
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution

__all__ = ["Array", "Measurement", "Params", "Task"]

Array = NDArray[np.float64]
Params = Mapping[str, Any]

_NO_LIMITS: Mapping[str, float] = MappingProxyType({})


class Measurement(NamedTuple):
    """What one training gave.

    Attributes:
        value: The objective, of one training seed.
        seconds: How long it trained.
        excesses: By how much the point exceeds each limit, as a share of it; negative if it keeps it.
    """

    value: float
    seconds: float
    excesses: Mapping[str, float] = _NO_LIMITS

    @property
    def violation(self) -> float:
        """Excess over the limit that is broken worst, 0 if all are kept."""
        return max(0.0, *self.excesses.values()) if self.excesses else 0.0


@dataclass(frozen=True)
class Task:
    """A recorded objective on a grid.

    Attributes:
        name: What reports call it.
        space: Distributions with finitely many values each.
        values: Objective by point and training seed, `size x seeds`; NaN where that seed was not run.
        seconds: Training time of the same, `size x seeds`.
        limits: Upper limits by name, if there are any.
        ladder: Shorter trainings, if there are any.
        features: What can be said of any point without training it, where something is known of its graph.
        described: Names of the parameters that make the graph; None for all.
    """

    name: str
    space: Mapping[str, BaseDistribution]
    values: Array
    seconds: Array
    limits: Mapping[str, Limit] = field(default_factory=dict)
    ladder: Rungs = field(default_factory=Rungs)
    features: Callable[[Params], Sequence[float]] | None = None
    described: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.values.shape != self.seconds.shape or len(self.values) != self._n_points:
            raise ValueError(
                f"Values and seconds of {self.name!r} must be {self._n_points} x seeds, "
                f"but are {self.values.shape} and {self.seconds.shape}."
            )
        if np.isnan(self.values).all(axis=1).any():
            raise ValueError(f"Each point of {self.name!r} must have a value of at least one seed.")

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        return shape(self.space)

    @property
    def _n_points(self) -> int:
        return prod(self._shape)

    @property
    def size(self) -> int:
        """Number of points."""
        return len(self.values)

    @cached_property
    def means(self) -> Array:
        """Mean over the seeds by point, `size`."""
        return np.asarray(np.nanmean(self.values, axis=1), dtype=np.float64)

    @cached_property
    def feasible(self) -> NDArray[np.bool_]:
        """Which points keep all limits, `size`."""
        return self._keeping(self.limits.values())

    @cached_property
    def computably_feasible(self) -> NDArray[np.bool_]:
        """Which points keep the limits that can be computed beforehand, `size`."""
        return self._keeping(limit for limit in self.limits.values() if limit.computable)

    def _keeping(self, limits: Iterable[Limit]) -> NDArray[np.bool_]:
        kept = [np.ones(self.size, dtype=bool), *(limit.kept for limit in limits)]
        return np.asarray(np.all(kept, axis=0), dtype=bool)

    @cached_property
    def worths(self) -> Array:
        """What each point is worth: its mean, or the consolation if it breaks a limit, `size`."""
        return np.where(self.feasible, self.means, self.consolation)

    @cached_property
    def optimum(self) -> float:
        """What the best feasible point is worth."""
        return float(self.means[self.feasible].max())

    @cached_property
    def consolation(self) -> float:
        """What a feasible point drawn at random is worth on average: all that a search has until it finds one."""
        return float(self.means[self.feasible].mean())

    @cached_property
    def mean_seconds(self) -> float:
        """Mean time of a full training, over all points."""
        return float(np.nanmean(self.seconds, axis=1).mean())

    def row(self, params: Params, trained: Set[int] = frozenset()) -> int:
        """Number of the point that a proposal is.

        Args:
            params: What is proposed.
            trained: Rows that the run has trained already; on a grid a point is the same point all the same.
        """
        codes = [code(distribution, params[name]) for name, distribution in self.space.items()]
        return int(np.ravel_multi_index(codes, self._shape))

    def params(self, row: int) -> dict[str, Any]:
        """Inverse of `row`."""
        codes = np.unravel_index(row, self._shape)
        pairs = zip(self.space.items(), codes, strict=True)
        return {name: choices(distribution)[int(index)] for (name, distribution), index in pairs}

    def keeps_computable(self, params: Params) -> bool:
        """Whether a point keeps the limits that can be computed beforehand."""
        return bool(self.computably_feasible[self.row(params)])

    def evaluate(self, row: int, rng: np.random.Generator) -> Measurement:
        """One full training at a point: value and seconds of one of its seeds, each as likely as the others."""
        seed = rng.choice(np.flatnonzero(~np.isnan(self.values[row])))
        excesses = {name: float(limit.excesses[row]) for name, limit in self.limits.items()}
        return Measurement(float(self.values[row, seed]), float(self.seconds[row, seed]), excesses)

    def train(self, row: int, rung: int, below: int | None, rng: np.random.Generator) -> Measurement:
        """One training at a point up to a rung of the ladder; `below` is the rung that it has reached before, if any.

        Below the top the time is a share of the seeds' mean, and there is only one value.
        """
        share = self.ladder.share(rung, below)
        if rung == self.ladder.top:
            full = self.evaluate(row, rng)
            return full._replace(seconds=full.seconds * share)
        return Measurement(float(self.ladder.values[row, rung]), float(np.nanmean(self.seconds[row])) * share)

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
