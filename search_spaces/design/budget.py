"""Hard limits of a device, and the widths that make best use of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fractions import Fraction
from functools import cached_property
from statistics import fmean
from typing import Any

from search_spaces.architecture.cost import Cost
from search_spaces.errors import BudgetError, SpaceError, unknown

__all__ = ["LARGEST_LIMIT", "LIMITS", "Budget", "solve_widths", "widths_at"]

LARGEST_LIMIT = 10**15
FINEST_SHARE = 10**6  # largest denominator of a share of the teacher

ENOUGH = 0.98
"""Share of every limit above which single widths are not widened further."""

MOST_GROWTH = 1.25
"""Largest factor by which a single width is widened further, so that the ratios stay about what they are."""

LARGEST_TILT = 0.5
"""Largest power of the ratio of positions by which widths are tilted: 2 for each halving of the resolution [ours]."""

TILT_STEPS = 6
"""Bisections of the tilt; the last one changes the widths by 1 to 2 %."""


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


def widths_at(ratios: Sequence[float], base: float) -> tuple[int, ...]:
    """Widths `ratio * base`, one for each ratio, rounded half up and at least 1."""
    return tuple(max(1, int(ratio * base + 0.5)) for ratio in ratios)


def solve_widths(
    cost_of: Callable[[tuple[int, ...]], Cost],
    ratios: Sequence[float],
    budget: Budget,
    max_base: int,
    areas: Sequence[float] = (),
) -> tuple[int, ...]:
    """Largest widths in approximately these ratios that fit the budget.

    The base width, a real number >= 1, is found by bisection on a grid so fine that neighbouring values differ in the
    rounding of one width; this requires a cost that grows with every width.

    One base width exhausts one limit only, while others may be far from used: wide maps cost activations and MACs,
    narrow ones parameters. With several limits, the ratios are therefore tilted: a group whose maps have `1/q` of the
    positions of the largest ones is `q**tilt` times as wide. A tilt within `+-LARGEST_TILT` is found by bisection at
    which another limit becomes the tightest, so that both are used, if there is one.

    Since widths are whole numbers, one channel of a small network can be several per cent of its cost. While less than
    98 % of the tightest limit is used, single widths therefore grow by one, each time the width that uses the most.
    While less than 98 % of another limit is used, the width that is smallest for its ratio grows, by a quarter at most.

    Args:
        cost_of: Exact cost of given widths.
        ratios: Width of each group of nodes as a multiple of the base width.
        budget: Limits, at least one.
        max_base: Largest base width, whatever the budget.
        areas: Positions of the largest map of each group; by default all are equal, so that no tilt has an effect.

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

    def solved(tilt: float) -> tuple[int, ...]:
        return _widest(cost_of, _tilted(ratios, areas, tilt), budget, max_base)

    upright = solved(0)
    if len(budget.limits) == 1 or len(set(areas)) <= 1 or max(upright) >= max_base * max(ratios):
        return upright
    balanced = [_balanced(cost_of, solved, budget, end) for end in (LARGEST_TILT, -LARGEST_TILT)]
    candidates = [upright, *(widths for widths in balanced if widths)]
    return max(candidates, key=lambda widths: fmean(budget.utilisation(cost_of(widths)).values()))


def _tilted(ratios: Sequence[float], areas: Sequence[float], tilt: float) -> list[float]:
    largest = max(areas, default=1)
    return [ratio * (largest / area) ** tilt for ratio, area in zip(ratios, areas or [1] * len(ratios), strict=True)]


def _balanced(
    cost_of: Callable[[tuple[int, ...]], Cost],
    solved: Callable[[float], tuple[int, ...]],
    budget: Budget,
    end: float,
) -> tuple[int, ...] | None:
    """Widths at the tilt between 0 and `end` at which the tightest limit changes; None if it does not."""
    first = budget.binding(cost_of(solved(0)))
    if budget.binding(cost_of(solved(end))) == first:
        return None
    near, far = 0.0, end
    for _ in range(TILT_STEPS):
        middle = (near + far) / 2
        if budget.binding(cost_of(solved(middle))) == first:
            near = middle
        else:
            far = middle
    return solved(far)


def _widest(
    cost_of: Callable[[tuple[int, ...]], Cost], ratios: Sequence[float], budget: Budget, max_base: int
) -> tuple[int, ...]:
    """Largest widths in these ratios that fit, found by bisection, then channel by channel."""
    scale = 4 * max(1, round(max(ratios)))
    low, high = 0, max_base * scale + 1
    while high - low > 1:
        middle = (low + high) // 2
        if budget.fits(cost_of(widths_at(ratios, middle / scale))):
            low = middle
        else:
            high = middle
    widths = widths_at(ratios, low / scale)
    if low == max_base * scale:
        return widths
    return _fill(cost_of, _widen(cost_of, widths, budget), ratios, budget)


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


def _widen(cost_of: Callable[[tuple[int, ...]], Cost], widths: tuple[int, ...], budget: Budget) -> tuple[int, ...]:
    """Widths grown one by one, each time the one that uses the most, until the tightest limit is used."""
    used = budget.tightest(cost_of(widths))
    places = list(range(len(widths)))
    while used < ENOUGH and places:
        wider = [_one_wider(widths, place) for place in places]
        shares = [_share(cost_of(each), budget) for each in wider]
        best, candidate = max(zip(shares, wider, strict=True))
        if best <= used:
            break
        places = [place for place, share in zip(places, shares, strict=True) if share >= 0]  # costs only grow
        used, widths = best, candidate
    return widths


def _fill(
    cost_of: Callable[[tuple[int, ...]], Cost], widths: tuple[int, ...], ratios: Sequence[float], budget: Budget
) -> tuple[int, ...]:
    """Widths grown one by one, first the one that is smallest for its ratio, until every limit is used."""
    bounds = [int(MOST_GROWTH * width) for width in widths]
    places = list(range(len(widths))) if len(budget.limits) > 1 else []
    while places and min(budget.utilisation(cost_of(widths)).values()) < ENOUGH:
        place = min(places, key=lambda place: widths[place] / ratios[place])
        wider = _one_wider(widths, place)
        if wider[place] <= bounds[place] and budget.fits(cost_of(wider)):
            widths = wider
        else:
            places.remove(place)
    return widths


def _one_wider(widths: tuple[int, ...], place: int) -> tuple[int, ...]:
    return (*widths[:place], widths[place] + 1, *widths[place + 1 :])


def _share(cost: Cost, budget: Budget) -> float:
    """Used share of the tightest limit; -1 if it is exceeded, so that it is never the best."""
    return budget.tightest(cost) if budget.fits(cost) else -1.0
