"""One parameter as a coordinate of codes in [0, 1].

The *code* of a value depends on the parameter's distribution:

* The code of a float without step is its (log-)uniform quantile.
* The code of an integer or a stepped float is the middle of its cell. Equal lengths of the coordinate hold equal
  (log-)mass, so a uniform draw that is snapped to its cell is a uniform draw of the level.
* The code of category `i` of `n` is `i / n`. Only equality of these codes is meaningful (see the kernel in
  `models.gaussian_process`).
* A value is missing if its parameter is conditional and the trial did not ask for it, or if it lies outside the
  distribution. The code of a missing value is the middle of a numeric coordinate, and 1, a level of its own, on a
  categorical one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from torch import Tensor

from autokd.optimizers.errors import OptimizerError

__all__ = ["MISSING", "Category", "Continuous", "Coordinate", "Levels", "coordinate"]

MISSING = 1.0
"""Code of a missing categorical value."""


def coordinate(name: str, distribution: BaseDistribution) -> "Coordinate":
    """Coordinate of a parameter.

    Raises:
        OptimizerError: If the distribution is not one of Optuna's float, integer and categorical distributions.
    """
    if isinstance(distribution, CategoricalDistribution):
        return Category(distribution)
    if isinstance(distribution, IntDistribution):
        return Levels(distribution)
    if isinstance(distribution, FloatDistribution):
        return Continuous(distribution) if distribution.step is None else Levels(distribution)
    raise OptimizerError(f"Parameters must be floats, integers or categories, but {name!r} has {distribution=}.")


class Coordinate(Protocol):
    """One parameter as one coordinate. Implementations are frozen values."""

    @property
    def distribution(self) -> BaseDistribution:
        """Optuna's distribution of the parameter."""

    @property
    def n_levels(self) -> int | None:
        """Number of distinct values, None if continuous."""

    def encode(self, value: Any) -> float:
        """Code of a value; the code of a missing value if it does not belong to the distribution."""

    def missing(self) -> float:
        """Code of a missing value."""

    def decode(self, code: float) -> Any:
        """Value at a code, which must not be that of a missing category."""

    def snap(self, codes: Tensor) -> Tensor:
        """Codes of the values nearest to arbitrary numbers in [0, 1], same shape."""

    def levels(self) -> Iterator[float]:
        """All codes in order; `OptimizerError` if the coordinate is continuous."""


@dataclass(frozen=True)
class Continuous:
    """A float without step."""

    distribution: FloatDistribution

    def __post_init__(self) -> None:
        low, high = self._ends()
        if not math.isfinite(high - low):
            raise OptimizerError(f"The range of a parameter must have a finite width, but got {self.distribution}.")

    @property
    def n_levels(self) -> int | None:
        """None: the coordinate is continuous."""
        return None

    def encode(self, value: Any) -> float:
        """(Log-)uniform quantile of the value."""
        if not _contains(self.distribution, value):
            return self.missing()
        low, high = self._ends()
        return ((math.log(value) if self.distribution.log else value) - low) / (high - low)

    def missing(self) -> float:
        """Middle of the coordinate."""
        return 0.5

    def decode(self, code: float) -> float:
        """Value with this (log-)uniform quantile."""
        low, high = self._ends()
        value = low + code * (high - low)
        value = math.exp(value) if self.distribution.log else value
        # exp(log(high)) may exceed high by a rounding error, which Optuna would reject.
        return min(max(value, self.distribution.low), self.distribution.high)

    def snap(self, codes: Tensor) -> Tensor:
        """The codes unchanged."""
        return codes

    def levels(self) -> Iterator[float]:
        """Raise `OptimizerError`: a continuous coordinate has no levels."""
        raise OptimizerError(f"Only coordinates of finitely many values have levels, but got {self.distribution}.")

    def _ends(self) -> tuple[float, float]:
        low, high = self.distribution.low, self.distribution.high
        return (math.log(low), math.log(high)) if self.distribution.log else (low, high)


@dataclass(frozen=True)
class Levels:
    """An integer, or a float with a step."""

    distribution: IntDistribution | FloatDistribution

    @property
    def n_levels(self) -> int:
        """Number of levels: one more than the number of steps."""
        return round((self.distribution.high - self.distribution.low) / self._step) + 1

    def encode(self, value: Any) -> float:
        """Middle of the cell of the level nearest to the value."""
        if not _contains(self.distribution, value):
            return self.missing()
        return self._code(round((value - self.distribution.low) / self._step))

    def missing(self) -> float:
        """Code of the level nearest to the middle of the coordinate."""
        return float(self.snap(torch.tensor(0.5, dtype=torch.float64)))

    def decode(self, code: float) -> int | float:
        """Value of the level whose cell contains the code."""
        level = self.level(code)
        value = self.distribution.low + level * self._step
        return int(value) if isinstance(self.distribution, IntDistribution) else min(value, self.distribution.high)

    def snap(self, codes: Tensor) -> Tensor:
        """Middles of the cells that contain the codes."""
        low, high = self._ends()
        values = low + codes * (high - low)
        values = values.exp() if self.distribution.log else values
        levels = ((values - self.distribution.low) / self._step).round().clamp(0, self.n_levels - 1)
        values = self.distribution.low + levels * self._step
        values = values.log() if self.distribution.log else values
        return (values - low) / (high - low)

    def levels(self) -> Iterator[float]:
        """Middle of each cell."""
        return (self._code(level) for level in range(self.n_levels))

    def level(self, code: float) -> int:
        """Index of the level nearest to a code."""
        low, high = self._ends()
        value = low + code * (high - low)
        value = math.exp(value) if self.distribution.log else value
        return min(max(round((value - self.distribution.low) / self._step), 0), self.n_levels - 1)

    def neighbours(self, code: float) -> tuple[float, float]:
        """Codes of the levels below and above the level at a code; at either end, the level's own code."""
        level = self.level(code)
        return self._code(max(level - 1, 0)), self._code(min(level + 1, self.n_levels - 1))

    @property
    def _step(self) -> float:
        step = self.distribution.step
        assert step is not None  # Encoding makes Levels only of distributions that have one
        return step

    def _ends(self) -> tuple[float, float]:
        # Half a step beyond the outer levels, so that these have whole cells, too.
        low = self.distribution.low - self._step / 2
        high = self.distribution.high + self._step / 2
        return (math.log(low), math.log(high)) if self.distribution.log else (low, high)

    def _code(self, level: int) -> float:
        low, high = self._ends()
        value = self.distribution.low + level * self._step
        return ((math.log(value) if self.distribution.log else value) - low) / (high - low)


@dataclass(frozen=True)
class Category:
    """An unordered choice."""

    distribution: CategoricalDistribution

    @property
    def n_levels(self) -> int:
        """Number of choices."""
        return len(self.distribution.choices)

    def encode(self, value: Any) -> float:
        """Index of the choice divided by the number of choices."""
        try:
            index = self.distribution.to_internal_repr(value)
        except ValueError:  # a choice of another distribution
            return self.missing()
        return float(index) / self.n_levels

    def missing(self) -> float:
        """Code that no choice has."""
        return MISSING

    def decode(self, code: float) -> Any:
        """Choice with this code."""
        return self.distribution.choices[round(code * self.n_levels)]

    def snap(self, codes: Tensor) -> Tensor:
        """Codes of the choices, each of which owns an equal share of [0, 1]; never missing."""
        return (codes * self.n_levels).floor().clamp(0, self.n_levels - 1) / self.n_levels

    def levels(self) -> Iterator[float]:
        """Code of each choice."""
        return (index / self.n_levels for index in range(self.n_levels))


def _contains(distribution: FloatDistribution | IntDistribution, value: Any) -> bool:
    return isinstance(value, Real) and bool(distribution._contains(float(value)))
