import numpy as np
import pytest

from search_spaces.architecture.cost import cost
from search_spaces.design.budget import LIMITS, Budget
from search_spaces.design.envelope import Offer, envelope
from search_spaces.design.space import Space
from search_spaces.design.widths import widths_at
from search_spaces.errors import BudgetError
from search_spaces.spaces.blocks import Blocks
from search_spaces.spaces.nago import Nago
from search_spaces.spaces.randwire import RandWire

SHAPE = (1, 28, 28)


def offers(space: Space, budget: Budget) -> dict[str, Offer]:
    return {offer.limit: offer for offer in envelope(space, budget, SHAPE, 10, np.random.default_rng(0), draws=20)}


def test_every_quantity_has_an_offer() -> None:
    assert tuple(offers(Nago(), Budget(params=100_000))) == LIMITS


def test_typical_students_use_the_tightest_limit() -> None:
    offer = offers(Nago(), Budget(params=100_000))["params"]
    assert offer.smallest < 98_000 <= (offer.typical or 0) <= 100_000 < offer.largest
    assert offer.share == 1


@pytest.mark.parametrize("space", [Nago(), RandWire()])
def test_no_sample_is_smaller_than_the_smallest(space: Space) -> None:
    found = offers(space, Budget(params=100_000))
    for seed in range(20):
        rng = np.random.default_rng(100 + seed)
        parameters = space.random_parameters(rng)
        blueprint = space.blueprint(space.complete(parameters), SHAPE, 10, rng)
        least = cost(blueprint.fill(widths_at(blueprint.ratios, 1)))
        # A smallest family is random, too: another draw of it may have a few edges, and so merge weights, fewer.
        assert least.params >= 0.95 * found["params"].smallest
        assert least.macs >= 0.95 * found["macs"].smallest


def test_a_limit_below_the_smallest_is_not_satisfiable() -> None:
    found = offers(Nago(), Budget(params=200, macs=10**9))
    assert not found["params"].satisfiable
    assert found["macs"].satisfiable
    assert found["params"].typical is None
    assert found["params"].share == 0


@pytest.mark.parametrize(
    ("budget", "is_met"),
    [
        (Budget(activation_bytes=620_000), True),  # the image has 602,112 of these
        (Budget(activation_bytes=620_000, params=140), False),  # a 7x7 convolution alone has more
    ],
)
def test_a_budget_that_only_another_stem_meets_is_met(budget: Budget, is_met: bool) -> None:
    given = (budget, (3, 224, 224), 10, np.random.default_rng(0))
    space, fixed = Blocks().with_stem("auto"), Blocks().with_stem("pooled")
    assert all(offer.typical is None for offer in envelope(fixed, *given, draws=5))
    assert all(
        (offer.satisfiable and offer.typical is not None) is is_met for offer in envelope(space, *given, draws=5)
    )
    start = space.random_parameters(np.random.default_rng(1))
    if not is_met:
        with pytest.raises(BudgetError):
            space.fit(start, *given)
        return
    drawn = space.sample(space.fit(start, *given), *given)
    assert budget.fits(cost(drawn))
    assert drawn.nodes[1].stride == 4


def test_families_that_were_repaired_are_typical_if_no_random_one_fits() -> None:
    offer = offers(Blocks(), Budget(params=200))["params"]
    assert offer.share == 0
    assert offer.smallest < (offer.typical or 0) <= 200


def test_at_a_fixed_width_all_offers_are_equal() -> None:
    space = Nago(width=4, top_nodes=3, middle_nodes=1, bottom_nodes=3, top_neighbours=2, bottom_neighbours=2)
    offer = offers(space, Budget())["params"]
    assert offer.smallest == offer.typical == offer.largest
    assert offer.allowed is None
