"""Hard limits of a device."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from functools import cached_property
from typing import Any

from search_spaces.architecture.cost import Cost
from search_spaces.errors import BudgetError, SpaceError, unknown

__all__ = ["LARGEST_LIMIT", "LIMITS", "Budget"]

LARGEST_LIMIT = 10**15
FINEST_SHARE = 10**6  # largest denominator of a share of the teacher


@dataclass(frozen=True)
class Budget:
    """Upper limits on what a network costs; a limit that is omitted does not bind.

    Attributes:
        params: Parameters.
        macs: Multiply-accumulates of one sample.
        activation_bytes: Peak live activations of one sample.
        model_bytes: The model's own size.
        memory_bytes: Model and activations together.
        of_teacher: Limits as shares of what the teacher costs, above 0 and at most 1, by the same names. Widths can be
            solved once `resolved` has made them whole numbers.

    Raises:
        SpaceError: If a limit is not a whole number from 1 to `LARGEST_LIMIT`, or a share is none of a known limit.
    """

    params: int | None = None
    macs: int | None = None
    activation_bytes: int | None = None
    model_bytes: int | None = None
    memory_bytes: int | None = None
    of_teacher: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name, limit in self._absolute.items():
            if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= LARGEST_LIMIT:
                raise SpaceError(f"A limit must be a whole number from 1 to 10**15, but got {name}={limit!r}.")
        for name, share in self.of_teacher.items():
            if name not in LIMITS:
                raise unknown("limit", name, LIMITS)
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
                raise SpaceError(f"A share of the teacher must be above 0 and at most 1, but got {name}={share!r}.")

    @cached_property
    def limits(self) -> dict[str, int]:
        """The limits that are set, by name.

        Raises:
            SpaceError: If some are shares of a teacher, whose cost is not known here.
        """
        if self.of_teacher:
            raise SpaceError(
                f"Limits that are shares of the teacher ({', '.join(self.of_teacher)}) must be resolved first: "
                "`Budget.resolved`, `Problem.budget`."
            )
        return self._absolute

    def to_dict(self) -> dict[str, Any]:
        """The keyword arguments of this budget that are set, as plain values."""
        return self._absolute | ({"of_teacher": dict(self.of_teacher)} if self.of_teacher else {})

    def resolved(self, teacher: Mapping[str, int | None]) -> Budget:
        """The same budget without shares: of a limit and a share of the teacher, the tighter one is left.

        A share stands for the nearest fraction whose denominator is at most a million, so that 0.1 and 1/3 are exact;
        its product with the teacher's cost is rounded down.

        Args:
            teacher: Cost of the teacher by the names of the limits; None where it is not known.

        Raises:
            SpaceError: If a cost that is needed is not known, or a limit would be below 1.
        """
        limits: dict[str, Any] = self._absolute
        for name, share in self.of_teacher.items():
            limit = _share_of(teacher[name], share, name)
            limits[name] = min(limit, limits.get(name, limit))
        return Budget(**limits)

    def scaled(self, share: float, names: Collection[str]) -> Budget:
        """The same budget with a share of some of its limits, rounded down but at least 1.

        Args:
            share: Above 0 and at most 1.
            names: Names of the limits to scale; the others stay as they are.
        """
        limits: dict[str, Any] = dict(self.limits)
        return Budget(**limits | {name: max(1, int(limits[name] * share)) for name in names if name in limits})

    @property
    def limits_activations(self) -> bool:
        """Whether a limit depends on the activations, and so on the order in which a network's nodes run."""
        return not self.limits.keys().isdisjoint(("activation_bytes", "memory_bytes"))

    @property
    def _absolute(self) -> dict[str, int]:
        return {name: limit for name in LIMITS if (limit := getattr(self, name)) is not None}

    def utilisation(self, cost: Cost) -> dict[str, float]:
        """Share of each limit that a cost uses; a share above 1 exceeds the limit."""
        return {name: getattr(cost, name) / limit for name, limit in self.limits.items()}

    def tightest(self, cost: Cost) -> float:
        """Largest share over all limits; 0 without limits."""
        return max(self.utilisation(cost).values(), default=0.0)

    def binding(self, cost: Cost) -> str:
        """Name of the limit of which a cost uses the largest share."""
        shares = self.utilisation(cost)
        return max(shares, key=shares.__getitem__)

    def fits(self, cost: Cost) -> bool:
        """Whether a cost exceeds no limit."""
        return all(getattr(cost, name) <= limit for name, limit in self.limits.items())

    def check(self, cost: Cost, what: str) -> None:
        """Raise `BudgetError` if a cost exceeds a limit.

        Args:
            cost: The cost to check.
            what: What has this cost: the subject of the message.

        Raises:
            BudgetError: If a limit is exceeded; the message lists all of these.
        """
        if not self.fits(cost):
            over = [
                f"{name}={getattr(cost, name)} > {limit}"
                for name, limit in self.limits.items()
                if getattr(cost, name) > limit
            ]
            raise BudgetError(
                f"{what} exceeds the budget: {', '.join(over)}. Raise the limit or narrow the space to smaller graphs."
            )


LIMITS = tuple(each.name for each in fields(Budget) if each.name != "of_teacher")
"""All quantities that a budget can limit."""


def _share_of(cost: int | None, share: float, name: str) -> int:
    if cost is None:
        raise SpaceError(
            f"budget.of_teacher.{name}: the teacher's {name} cannot be told, since it is no torch module; set a limit "
            f"of its own, budget.{name}."
        )
    limit = int(cost * Fraction(share).limit_denominator(FINEST_SHARE))
    if limit < 1:
        raise SpaceError(f"budget.of_teacher.{name}: {share:g} of the teacher's {cost:,} is less than 1.")
    return limit
