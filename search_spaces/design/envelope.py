"""What a space offers under a budget, computed before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from search_spaces.architecture.cost import Cost
from search_spaces.architecture.layers import Shape
from search_spaces.design.blueprint import Blueprint
from search_spaces.design.budget import LIMITS, Budget
from search_spaces.design.space import Parameters, Space
from search_spaces.design.widths import widths_at
from search_spaces.errors import BudgetError, SpaceError

__all__ = ["Offer", "envelope"]

REPAIRED = 3
"""Random families that are repaired if none of those drawn fits the budget."""


@dataclass(frozen=True)
class Offer:
    """Range of one quantity of a cost over a space, and the budget's limit on it.

    Attributes:
        limit: Name of the quantity.
        allowed: The budget's limit on it; None if there is none.
        smallest: Minimum at the smallest width, over the smallest families and random ones.
        typical: Median over random families made as wide as the budget allows, or at the smallest width if the budget
            has no limits. If none of them fits, over a few families that were repaired so that they do; None if none
            was found.
        largest: Maximum at the largest width, over random families.
        share: Share of random families of which a draw keeps this limit at the smallest width, from 0 to 1.
        space: Name of the space, if there are several.
    """

    limit: str
    allowed: int | None
    smallest: int
    typical: int | None
    largest: int
    share: float
    space: str = ""

    @property
    def satisfiable(self) -> bool:
        """Whether the smallest network keeps this limit."""
        return self.allowed is None or self.smallest <= self.allowed


def envelope(
    space: Space,
    budget: Budget,
    input_shape: Shape,
    classes: int,
    rng: np.random.Generator,
    draws: int = 50,
) -> tuple[Offer, ...]:
    """One offer for each of `LIMITS`, estimated from the smallest families and from random ones.

    Further stems of the space count only where no network with its usual one keeps the budget.

    Args:
        space: The space.
        budget: The limits.
        input_shape: Shape of one sample, without the batch.
        classes: Number of logits.
        rng: Source of randomness.
        draws: Number of random families, of each of which one architecture is drawn.
    """
    usual, *others = space.each_stem(input_shape)
    found = _offers(usual, budget, input_shape, classes, rng, draws)
    for each in others:
        if any(offer.typical is None for offer in found):
            further = _offers(each, budget, input_shape, classes, rng, draws)
            found = tuple(_either(*pair) for pair in zip(found, further, strict=True))
    return found


def _offers(
    space: Space, budget: Budget, input_shape: Shape, classes: int, rng: np.random.Generator, draws: int
) -> tuple[Offer, ...]:
    """Offers of a space with one stem; see `envelope`."""

    def draw(parameters: Parameters) -> Blueprint:
        return space.blueprint(space.complete(parameters), input_shape, classes, rng)

    def repaired() -> Iterator[Blueprint]:
        nearest = min(range(len(families)), key=lambda number: budget.tightest(least[number]))
        for start in [families[nearest], *(space.random_parameters(rng) for _ in range(REPAIRED))]:
            with suppress(SpaceError):
                yield draw(space.fit(start, budget, input_shape, classes, rng))

    def offers(candidates: Iterable[Blueprint]) -> tuple[Offer, ...]:
        typical = [cost for blueprint in candidates if (cost := _solved(blueprint, space, budget))]
        return tuple(_offer(limit, budget, least, typical, most) for limit in LIMITS)

    narrow, wide = space.width or 1, space.width or space.max_width
    families = space.smallest_parameters()
    smallest = [draw(parameters) for parameters in families]
    random = [draw(space.random_parameters(rng)) for _ in range(draws)]
    least = [_cost_at(blueprint, narrow) for blueprint in [*smallest, *random]]
    most = [_cost_at(blueprint, wide) for blueprint in random]
    found = offers(random)
    may_fit = all(offer.satisfiable and offer.typical is None for offer in found)
    return offers(repaired()) if may_fit else found


def _either(offer: Offer, other: Offer) -> Offer:
    """What two stems offer of one quantity."""
    return replace(
        offer,
        smallest=min(offer.smallest, other.smallest),
        typical=other.typical if offer.typical is None else offer.typical,
        largest=max(offer.largest, other.largest),
        share=max(offer.share, other.share),
    )


def _cost_at(blueprint: Blueprint, base: float) -> Cost:
    return blueprint.cost(widths_at(blueprint.ratios, base))


def _solved(blueprint: Blueprint, space: Space, budget: Budget) -> Cost | None:
    """Cost at the largest width that the budget allows, or at the space's fixed width; None if it does not fit."""
    if space.width is not None or not budget.limits:
        cost = _cost_at(blueprint, space.width or 1)
        return cost if budget.fits(cost) else None
    try:
        return blueprint.cost(blueprint.solve(budget, space.max_width, space.tilt))
    except BudgetError:
        return None


def _offer(limit: str, budget: Budget, least: Sequence[Cost], typical: Sequence[Cost], most: Sequence[Cost]) -> Offer:
    allowed = budget.limits.get(limit)
    keeps = [allowed is None or int(getattr(cost, limit)) <= allowed for cost in least[-len(most) :]]
    fitting = [int(getattr(cost, limit)) for cost in typical]
    return Offer(
        limit=limit,
        allowed=allowed,
        smallest=min(int(getattr(cost, limit)) for cost in least),
        typical=round(median(fitting)) if fitting else None,
        largest=max(int(getattr(cost, limit)) for cost in most),
        share=sum(keeps) / len(keeps),
    )
