"""Hard limits of a device, and the widths that use them best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

from search_spaces.architecture.cost import Cost
from search_spaces.errors import BudgetError, SpaceError

__all__ = ["Budget", "solve_widths", "widths_at"]

ENOUGH = 0.98
"""Share of the tightest limit from which on single widths are not widened further."""


@dataclass(frozen=True)
class Budget:
    """Upper limits on the fields of `Cost`; None is no limit.

    Raises:
        SpaceError: If a limit is not a positive whole number.
    """

    params: int | None = None
    macs: int | None = None
    activation_bytes: int | None = None
    memory_bytes: int | None = None
    model_bytes: int | None = None

    def __post_init__(self) -> None:
        for name, limit in self.limits.items():
            if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
                raise SpaceError(f"A limit is a whole number >= 1 or None, but got {name}={limit!r}.")

    @cached_property
    def limits(self) -> dict[str, int]:
        """The limits that are set."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: limit for name, limit in values.items() if limit is not None}

    def utilisation(self, cost: Cost) -> dict[str, float]:
        """For each limit the share of it that is used; above 1 it is broken."""
        return {name: getattr(cost, name) / limit for name, limit in self.limits.items()}

    def tightest(self, cost: Cost) -> float:
        """The largest share over all limits; 0 without limits."""
        return max(self.utilisation(cost).values(), default=0.0)

    def fits(self, cost: Cost) -> bool:
        """Whether no limit is broken."""
        return all(getattr(cost, name) <= limit for name, limit in self.limits.items())

    def check(self, cost: Cost, what: str) -> None:
        """Nothing, if `cost` fits.

        Raises:
            BudgetError: Otherwise, with every broken limit; `what` is the subject of the sentence.
        """
        if not self.fits(cost):
            over = [
                f"{name}={getattr(cost, name)} > {limit}"
                for name, limit in self.limits.items()
                if getattr(cost, name) > limit
            ]
            raise BudgetError(
                f"{what} breaks the budget: {', '.join(over)}. Raise the limit or narrow the space to smaller graphs."
            )


def widths_at(ratios: Sequence[float], base: float) -> tuple[int, ...]:
    """`ratio * base` for each ratio, rounded half up and at least 1."""
    return tuple(max(1, int(ratio * base + 0.5)) for ratio in ratios)


def solve_widths(
    cost_of: Callable[[tuple[int, ...]], Cost], ratios: Sequence[float], budget: Budget, max_base: int
) -> tuple[int, ...]:
    """The widest widths in about these ratios that fit the budget.

    The base width is a real number >= 1. It is bisected on a grid so fine that two neighbours differ in one rounding,
    which needs a cost that grows with every width. Widths are whole numbers, and in small networks one channel is many
    per cent: while less than 98 % of the tightest limit is used, single widths grow by one, each time the one that uses
    most, until none fits.

    Args:
        cost_of: The exact cost for given widths.
        ratios: Width of each group of nodes as a multiple of the base.
        budget: At least one limit.
        max_base: Largest base width; also what a very large budget ends at.

    Raises:
        BudgetError: If base width 1 does not fit.
        SpaceError: If the budget has no limit.
    """
    if not budget.limits:
        raise SpaceError(
            "A budget without limits does not decide a width. Set a limit, or fix the width with `width=`."
        )
    smallest = widths_at(ratios, 1)
    budget.check(cost_of(smallest), f"The smallest network of this draw (widths {smallest})")
    scale = 4 * max(1, round(max(ratios)))
    low, high = scale, max_base * scale + 1
    while high - low > 1:
        middle = (low + high) // 2
        if budget.fits(cost_of(widths_at(ratios, middle / scale))):
            low = middle
        else:
            high = middle
    widths = widths_at(ratios, low / scale)
    return widths if low == max_base * scale else _widen(cost_of, widths, budget)


def _widen(cost_of: Callable[[tuple[int, ...]], Cost], widths: tuple[int, ...], budget: Budget) -> tuple[int, ...]:
    used = budget.tightest(cost_of(widths))
    places = list(range(len(widths)))
    while used < ENOUGH and places:
        wider = [(*widths[:place], widths[place] + 1, *widths[place + 1 :]) for place in places]
        shares = [_share(cost_of(each), budget) for each in wider]
        best, candidate = max(zip(shares, wider, strict=True))
        if best <= used:
            break
        places = [place for place, share in zip(places, shares, strict=True) if share >= 0]  # costs only grow
        used, widths = best, candidate
    return widths


def _share(cost: Cost, budget: Budget) -> float:
    """Of the tightest limit; -1 if that is broken, so that it is never the best."""
    return budget.tightest(cost) if budget.fits(cost) else -1.0
