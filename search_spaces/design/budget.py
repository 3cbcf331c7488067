"""Hard limits of a device, and the widths that make best use of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

from search_spaces.architecture.cost import Cost
from search_spaces.errors import BudgetError, SpaceError

__all__ = ["LARGEST_LIMIT", "LIMITS", "Budget", "solve_widths", "widths_at"]

LARGEST_LIMIT = 10**15

ENOUGH = 0.98
"""Share of the tightest limit above which single widths are not widened further."""


@dataclass(frozen=True)
class Budget:
    """Upper limits on what a network costs; a limit that is omitted does not bind.

    Attributes:
        params: Parameters.
        macs: Multiply-accumulates of one sample.
        activation_bytes: Peak live activations of one sample.
        model_bytes: The model's own size.
        memory_bytes: Model and activations together.

    Raises:
        SpaceError: If a limit is not a whole number from 1 to `LARGEST_LIMIT`.
    """

    params: int | None = None
    macs: int | None = None
    activation_bytes: int | None = None
    model_bytes: int | None = None
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        for name, limit in self.limits.items():
            if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= LARGEST_LIMIT:
                raise SpaceError(f"A limit must be a whole number from 1 to 10**15, but got {name}={limit!r}.")

    @cached_property
    def limits(self) -> dict[str, int]:
        """The limits that are not None, by name."""
        return {name: limit for name in LIMITS if (limit := getattr(self, name)) is not None}

    def utilisation(self, cost: Cost) -> dict[str, float]:
        """Share of each limit that a cost uses; a share above 1 exceeds the limit."""
        return {name: getattr(cost, name) / limit for name, limit in self.limits.items()}

    def tightest(self, cost: Cost) -> float:
        """Largest share over all limits; 0 without limits."""
        return max(self.utilisation(cost).values(), default=0.0)

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


LIMITS = tuple(field.name for field in fields(Budget))
"""All quantities that a budget can limit."""


def widths_at(ratios: Sequence[float], base: float) -> tuple[int, ...]:
    """Widths `ratio * base`, one for each ratio, rounded half up and at least 1."""
    return tuple(max(1, int(ratio * base + 0.5)) for ratio in ratios)


def solve_widths(
    cost_of: Callable[[tuple[int, ...]], Cost], ratios: Sequence[float], budget: Budget, max_base: int
) -> tuple[int, ...]:
    """Largest widths in approximately these ratios that fit the budget.

    The base width, a real number >= 1, is found by bisection on a grid so fine that neighbouring values differ in the
    rounding of one width; this requires a cost that grows with every width. Since widths are whole numbers, one channel
    of a small network can be several per cent of its cost. While less than 98 % of the tightest limit is used, single
    widths therefore grow by one, each time the width that uses the most, until none fits.

    Args:
        cost_of: Exact cost of given widths.
        ratios: Width of each group of nodes as a multiple of the base width.
        budget: Limits, at least one.
        max_base: Largest base width, whatever the budget.

    Raises:
        BudgetError: If base width 1 does not fit.
        SpaceError: If the budget has no limit.
    """
    if not budget.limits:
        raise SpaceError(
            "A budget needs at least one limit to decide the widths. Set a limit, or fix the width with `width=`."
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
    """Used share of the tightest limit; -1 if it is exceeded, so that it is never the best."""
    return budget.tightest(cost) if budget.fits(cost) else -1.0
