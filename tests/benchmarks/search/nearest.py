"""A task on a continuum of which only some points were recorded."""

import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from tasks import Array, Params, Task

__all__ = ["NearestTask"]


@dataclass(frozen=True)
class NearestTask(Task):
    """A task whose points are any numbers and choices within its space.

    A setting gives what the nearest recorded one gave that the run has not trained yet. The distance is Euclidean, of
    numbers standardised over the recorded settings that have them, after the logarithm if their scale is logarithmic,
    and of choices as indicators, so that two random settings are about as far apart in a choice as in a number; a
    number that a setting does not have counts as the mean. Without the second condition a search that closes in on a
    good setting would train one recorded setting again and again, where on the continuum it finds better ones. Once all
    of them are trained, it is the nearest. It is so for everybody, and nobody is told which one it was.

    Attributes:
        settings: The recorded ones.
        active: Takes away from a setting what it does not have, as the depth of a stage without layers; None if each
            setting has all parameters.
    """

    settings: Sequence[Params] = field(kw_only=True)
    active: Callable[[Params], Params] | None = None

    @property
    def _n_points(self) -> int:
        return len(self.settings)

    @cached_property
    def _axes(self) -> Mapping[str, Callable[[Any], list[float]]]:
        """For each parameter, its coordinates at a value; None is the value of a setting that does not have it."""
        recorded = {name: [each[name] for each in self.settings if name in each] for name in self.space}
        return {name: _axis(distribution, recorded[name]) for name, distribution in self.space.items()}

    def _position(self, setting: Params) -> list[float]:
        return [each for name, axis in self._axes.items() for each in axis(setting.get(name))]

    @cached_property
    def _positions(self) -> Array:
        return np.array([self._position(setting) for setting in self.settings])

    def row(self, params: Params, trained: Set[int] = frozenset()) -> int:
        """Number of the nearest recorded setting that is not trained yet, or of the nearest if all are."""
        setting = params if self.active is None else self.active(params)
        distances = ((self._positions - self._position(setting)) ** 2).sum(axis=1)
        if len(trained) < self.size:
            distances[list(trained)] = np.inf
        return int(np.argmin(distances))

    def params(self, row: int) -> dict[str, Any]:
        """A recorded setting."""
        return dict(self.settings[row])


def _axis(distribution: BaseDistribution, recorded: Sequence[Any]) -> Callable[[Any], list[float]]:
    if isinstance(distribution, CategoricalDistribution):
        return lambda value: [float(value == choice) for choice in distribution.choices]
    scale = math.log if getattr(distribution, "log", False) else float
    scaled = [scale(value) for value in recorded]
    mean, deviation = (float(np.mean(scaled)), float(np.std(scaled)) or 1.0) if scaled else (0.0, 1.0)
    return lambda value: [(mean if value is None else scale(value)) / deviation]
