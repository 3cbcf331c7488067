"""The widths of a network that make best use of a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Literal

from search_spaces.architecture.cost import Cost
from search_spaces.design.budget import Budget
from search_spaces.errors import SpaceError

__all__ = ["Tilt", "solve_widths", "widths_at"]

Tilt = Literal["full", "balanced", "none"]
"""How widths are tilted: as far as a second limit can be used so; only where it can be used up; not at all."""

ENOUGH = 0.98
"""Share of every limit above which single widths are not widened further."""

MOST_GROWTH = 1.25
"""Largest factor by which a single width is widened further, so that the ratios stay about what they are."""

LARGEST_TILT = 0.5
"""Largest power of the ratio of positions by which widths are tilted: 2 for each halving of the resolution [ours]."""

TILT_STEPS = 6
"""Bisections of the tilt; the last one changes the widths by 1 to 2 %."""


def widths_at(ratios: Sequence[float], base: float) -> tuple[int, ...]:
    """Widths `ratio * base`, one for each ratio, rounded half up and at least 1."""
    return tuple(max(1, int(ratio * base + 0.5)) for ratio in ratios)


def solve_widths(
    cost_of: Callable[[tuple[int, ...]], Cost],
    ratios: Sequence[float],
    budget: Budget,
    max_base: int,
    areas: Sequence[float] = (),
    tilt: Tilt = "full",
) -> tuple[int, ...]:
    """Largest widths in approximately these ratios that fit the budget.

    The base width, a real number >= 1, is found by bisection on a grid so fine that neighbouring values differ in the
    rounding of one width; this requires a cost that grows with every width.

    One base width exhausts one limit only, while others may be far from used: wide maps cost activations and MACs,
    narrow ones parameters. With several limits, the ratios are therefore tilted: a group whose maps have `1/q` of the
    positions of the largest ones is `q**tilt` times as wide. A tilt within `±LARGEST_TILT` is found by bisection at
    which another limit becomes the tightest, so that both are used. If none does that, the widths are tilted by
    `±LARGEST_TILT` if that uses more of the limits on average.

    Since widths are whole numbers, one channel of a small network can be several per cent of its cost. While less than
    98 % of the tightest limit is used, single widths therefore grow by one, each time the width that uses the most.
    While less than 98 % of another limit is used, the width that is smallest for its ratio grows, by a quarter at most.

    Args:
        cost_of: Exact cost of given widths.
        ratios: Width of each group of nodes as a multiple of the base width.
        budget: Limits, at least one.
        max_base: Largest base width, whatever the budget; a tilt multiplies single widths beyond it.
        areas: Positions of the largest map of each group; by default all are equal, so that no tilt has an effect.
        tilt: "balanced" leaves the ratios as they are where no tilt balances two limits, "none" always does.

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

    def solved(by: float) -> tuple[int, ...]:
        return _widest(cost_of, _tilted(ratios, areas, by), budget, max_base)

    upright = solved(0.0)
    is_alone = len(budget.limits) == 1 or len(set(areas)) <= 1
    if tilt == "none" or is_alone or max(upright) >= max_base * max(ratios):
        return upright
    first = budget.binding(cost_of(upright))
    ends = {end: solved(end) for end in (LARGEST_TILT, -LARGEST_TILT)}
    others = {end: widths for end, widths in ends.items() if budget.binding(cost_of(widths)) != first}
    candidates = [_balanced(cost_of, solved, budget, first, end, widths) for end, widths in others.items()]
    if not candidates and tilt == "full":
        candidates = list(ends.values())
    return max([upright, *candidates], key=lambda widths: fmean(budget.utilisation(cost_of(widths)).values()))


def _tilted(ratios: Sequence[float], areas: Sequence[float], tilt: float) -> list[float]:
    largest = max(areas, default=1)
    return [ratio * (largest / area) ** tilt for ratio, area in zip(ratios, areas or [1] * len(ratios), strict=True)]


def _balanced(
    cost_of: Callable[[tuple[int, ...]], Cost],
    solved: Callable[[float], tuple[int, ...]],
    budget: Budget,
    first: str,
    end: float,
    found: tuple[int, ...],
) -> tuple[int, ...]:
    """Widths at the smallest tilt, nearly, at which another limit than without one is the tightest.

    Args:
        cost_of: Exact cost of given widths.
        solved: Widths at a tilt.
        budget: The limits.
        first: The limit that is tightest without a tilt.
        end: A tilt at which another one is.
        found: Widths at that.
    """
    near, far = 0.0, end
    for _ in range(TILT_STEPS):
        middle = (near + far) / 2
        widths = solved(middle)
        if budget.binding(cost_of(widths)) == first:
            near = middle
        else:
            far, found = middle, widths
    return found


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
