"""One parameter as a coordinate of codes in [0, 1].

A *code* is the place of one value on its coordinate:

* a float without step lies where its (log-)uniform quantile lies;
* an integer or a stepped float lies at the middle of its cell, so that equal lengths of the coordinate hold equal
  (log-)mass and a uniform draw snapped to its cell is a uniform draw of the level;
* category `i` of `n` is `i / n`: only equality of these codes means anything (see the kernel in `surrogate`);
* a value can be missing, because its parameter is conditional and the trial did not ask for it or because it lies
  outside the distribution: it is the middle of a numeric coordinate, and the code 1, a level of its own, of a
  categorical one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from torch import Tensor

from autokd.optimizers.errors import OptimizerError

__all__ = ["MISSING", "Category", "Continuous", "Coordinate", "Levels", "coordinate"]

MISSING = 1.0
"""Code of a categorical value that a trial does not have."""


def coordinate(name: str, distribution: BaseDistribution) -> "Coordinate":
    """Coordinate of a parameter.

    Raises:
        OptimizerError: If the distribution is of no kind that Optuna had when this was written.
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
        """Number of distinct values, None where they are a continuum."""

    def encode(self, value: Any) -> float:
        """Code of a value, or of a missing one if the value does not belong to the distribution."""

    def missing(self) -> float:
        """Code of a value that the trial does not have."""

    def decode(self, code: float) -> Any:
        """Value at a code that does not say missing."""

    def snap(self, codes: Tensor) -> Tensor:
        """The codes of the values nearest to any numbers in [0, 1], same shape."""

    def levels(self) -> Iterator[float]:
        """All codes in order. Only for coordinates with `n_levels`."""


@dataclass(frozen=True)
class Continuous:
    """A float without step."""

    distribution: FloatDistribution

    @property
    def n_levels(self) -> int | None:
        """None: a continuum."""
        return None

    def encode(self, value: Any) -> float:
        """The value's (log-)uniform quantile."""
        if not _contains(self.distribution, value):
            return self.missing()
        low, high = self._ends()
        return ((math.log(value) if self.distribution.log else value) - low) / (high - low)

    def missing(self) -> float:
        """The middle."""
        return 0.5

    def decode(self, code: float) -> float:
        """The value of which the code is the quantile."""
        low, high = self._ends()
        value = low + code * (high - low)
        value = math.exp(value) if self.distribution.log else value
        # exp(log(high)) may exceed high by a rounding error, which Optuna would refuse.
        return min(max(value, self.distribution.low), self.distribution.high)

    def snap(self, codes: Tensor) -> Tensor:
        """The codes as they are."""
        return codes

    def levels(self) -> Iterator[float]:
        """Refused."""
        raise OptimizerError(f"A continuous coordinate has no levels, but they were asked of {self.distribution}.")

    def _ends(self) -> tuple[float, float]:
        low, high = self.distribution.low, self.distribution.high
        return (math.log(low), math.log(high)) if self.distribution.log else (low, high)


@dataclass(frozen=True)
class Levels:
    """An integer, or a float with a step."""

    distribution: IntDistribution | FloatDistribution

    @property
    def n_levels(self) -> int:
        """Number of steps and one."""
        return round((self.distribution.high - self.distribution.low) / self._step) + 1

    def encode(self, value: Any) -> float:
        """The middle of the cell of the level nearest to the value."""
        if not _contains(self.distribution, value):
            return self.missing()
        return self._code(round((value - self.distribution.low) / self._step))

    def missing(self) -> float:
        """The level nearest to the middle."""
        return float(self.snap(torch.tensor(0.5, dtype=torch.float64)))

    def decode(self, code: float) -> int | float:
        """The value of the level in whose cell the code lies."""
        level = self.level(code)
        value = self.distribution.low + level * self._step
        return int(value) if isinstance(self.distribution, IntDistribution) else min(value, self.distribution.high)

    def snap(self, codes: Tensor) -> Tensor:
        """The middles of the cells."""
        low, high = self._ends()
        values = low + codes * (high - low)
        values = values.exp() if self.distribution.log else values
        levels = ((values - self.distribution.low) / self._step).round().clamp(0, self.n_levels - 1)
        values = self.distribution.low + levels * self._step
        values = values.log() if self.distribution.log else values
        return (values - low) / (high - low)

    def levels(self) -> Iterator[float]:
        """The middle of each cell."""
        return (self._code(level) for level in range(self.n_levels))

    def level(self, code: float) -> int:
        """Number of the level nearest to a code, from 0."""
        low, high = self._ends()
        value = low + code * (high - low)
        value = math.exp(value) if self.distribution.log else value
        return min(max(round((value - self.distribution.low) / self._step), 0), self.n_levels - 1)

    def neighbours(self, code: float) -> tuple[float, float]:
        """Codes of the levels below and above the one at a code; at an end, its own code."""
        level = self.level(code)
        return self._code(max(level - 1, 0)), self._code(min(level + 1, self.n_levels - 1))

    @property
    def _step(self) -> float:
        step = self.distribution.step
        assert step is not None  # Encoding makes Levels only of distributions that have one
        return step

    def _ends(self) -> tuple[float, float]:
        # Half a step beyond the outer levels: each level owns a whole cell.
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
        """The number of the choice over that of all choices."""
        try:
            index = self.distribution.to_internal_repr(value)
        except ValueError:  # a choice of another distribution
            return self.missing()
        return float(index) / self.n_levels

    def missing(self) -> float:
        """A level of its own."""
        return MISSING

    def decode(self, code: float) -> Any:
        """The choice of which this is the code."""
        return self.distribution.choices[round(code * self.n_levels)]

    def snap(self, codes: Tensor) -> Tensor:
        """The starts of equal shares of [0, 1], one a choice; never missing."""
        return (codes * self.n_levels).floor().clamp(0, self.n_levels - 1) / self.n_levels

    def levels(self) -> Iterator[float]:
        """The code of each choice."""
        return (index / self.n_levels for index in range(self.n_levels))


def _contains(distribution: FloatDistribution | IntDistribution, value: Any) -> bool:
    return isinstance(value, int | float) and bool(distribution._contains(float(value)))
