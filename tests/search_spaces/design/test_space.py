from typing import Any, ClassVar

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution

from search_spaces.architecture.cost import cost
from search_spaces.design.budget import Budget
from search_spaces.design.space import Dimension, Value
from search_spaces.errors import BudgetError, SpaceError
from search_spaces.spaces.nago import Nago
from search_spaces.spaces.randwire import RandWire

SHAPE = (1, 28, 28)


def test_fixed_dimensions_may_be_omitted_or_given_with_their_value() -> None:
    space = RandWire(generator="er", er_probability=0.3)
    assert space.distributions() == {}
    assert space.complete({}) == space.complete({"generator": "er"}) == {"generator": "er", "er_probability": 0.3}
    with pytest.raises(SpaceError, match=r"is fixed to 0\.3, but got 0\.4"):
        space.complete({"er_probability": 0.4})


def test_an_inactive_parameter_is_rejected() -> None:
    with pytest.raises(SpaceError, match="not active for generator='er'"):
        RandWire().complete({"generator": "er", "er_probability": 0.3, "ba_edges": 2})


def test_a_parameter_out_of_its_range_is_rejected() -> None:
    with pytest.raises(SpaceError, match=r"er_probability.*0\.95"):
        RandWire().complete({"generator": "er", "er_probability": 0.95})


def test_missing_values_are_completed_at_their_low_ends_and_inactive_ones_dropped() -> None:
    values: dict[str, Value] = {"generator": "ws", "ws_probability": 0.5, "er_probability": 0.3}
    assert RandWire().completed(values) == {"generator": "ws", "ws_neighbours": 2, "ws_probability": 0.5}
    assert RandWire(ws_neighbours=4).completed(values)["ws_neighbours"] == 4


def test_the_smallest_families_are_the_low_ends_of_every_choice() -> None:
    assert RandWire().smallest_parameters() == [
        {"generator": "er", "er_probability": 0.1},
        {"generator": "ba", "ba_edges": 1},
        {"generator": "ws", "ws_neighbours": 2, "ws_probability": 0.1},
    ]


def test_a_fixed_width_is_kept_and_the_budget_only_checked() -> None:
    space = RandWire(generator="ws", ws_neighbours=4, ws_probability=0.5, width=12)
    architecture = space.sample({}, Budget(), SHAPE, 10, np.random.default_rng(0))
    assert [node.channels for node in architecture.nodes[1:4]] == [6, 12, 12]
    exact = Budget(params=cost(architecture).params)
    assert space.sample({}, exact, SHAPE, 10, np.random.default_rng(0)) == architecture
    with pytest.raises(BudgetError, match="fixed width 12"):
        space.sample({}, Budget(params=100), SHAPE, 10, np.random.default_rng(0))


def test_without_a_limit_and_a_width_sampling_raises() -> None:
    space = Nago()
    rng = np.random.default_rng(0)
    with pytest.raises(SpaceError, match="Set a limit, or fix the width"):
        space.sample(space.random_parameters(rng), Budget(), SHAPE, 10, rng)


@pytest.mark.parametrize("limit", ["params", "macs", "activation_bytes", "memory_bytes", "model_bytes"])
def test_every_kind_of_limit_is_kept_and_used(limit: str) -> None:
    space = Nago()
    amounts: dict[str, Any] = {"params": 100_000, "macs": 10_000_000, "activation_bytes": 200_000}
    budget = Budget(**{limit: amounts.get(limit, 600_000)})
    for seed in range(20):
        rng = np.random.default_rng(seed)
        architecture = space.sample(space.random_parameters(rng), budget, SHAPE, 10, rng)
        # Peak activations depend on the first stage only, and one channel there changes them by much.
        least = 0.5 if limit == "activation_bytes" else 0.95
        assert least <= budget.tightest(cost(architecture)) <= 1


@pytest.mark.parametrize("options", [{"width": 0}, {"width": -1}, {"max_width": 0}])
def test_invalid_widths_are_rejected(options: dict[str, float]) -> None:
    with pytest.raises(SpaceError, match="must hold"):
        Nago(**options)  # type: ignore[arg-type]


def test_a_family_too_large_for_the_budget_becomes_the_nearest_that_fits() -> None:
    space = Nago()
    large = space.random_parameters(np.random.default_rng(0)) | {
        "top_nodes": 10,
        "middle_nodes": 10,
        "bottom_nodes": 10,
    }
    budget = Budget(params=2_000)
    with pytest.raises(BudgetError):
        space.sample(large, budget, SHAPE, 10, np.random.default_rng(0))
    fitted = space.fit(large, budget, SHAPE, 10, np.random.default_rng(0))
    architecture = space.sample(fitted, budget, SHAPE, 10, np.random.default_rng(0))
    assert cost(architecture).params <= 2_000
    changed = {name for name in large if fitted[name] != large[name]}
    assert changed <= {"top_nodes", "middle_nodes", "bottom_nodes", "top_neighbours", "bottom_neighbours"}


def test_families_are_fitted_to_a_limit_on_the_weights_without_execution_orders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("search_spaces.design.blueprint.best_schedule", None)
    start = RandWire(nodes=8).random_parameters(np.random.default_rng(0))
    assert RandWire(nodes=8).fit(start, Budget(params=2_000), SHAPE, 10, np.random.default_rng(0)) == start


def test_a_budget_that_no_near_family_fits_raises_with_the_smallest_cost() -> None:
    space = Nago()
    with pytest.raises(BudgetError, match=r"The smallest family near .* params=\d+ > 100"):
        space.fit(
            space.random_parameters(np.random.default_rng(0)), Budget(params=100), SHAPE, 10, np.random.default_rng(0)
        )


def test_many_categories_do_not_multiply_the_smallest_families() -> None:
    choices = CategoricalDistribution(("small", "large"))

    class Wide(Nago):
        name = "wide"
        dimensions: ClassVar = {f"choice{i}": Dimension(choices) for i in range(40)}

    assert Wide().smallest_parameters() == [{f"choice{i}": "small" for i in range(40)}]
