from collections.abc import Callable
from itertools import permutations, product
from math import factorial
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from autokd.errors import InputError
from autokd.optimizers.importance import importances, shapley_effects
from search_spaces.design.dimensions import Dimension, draw

Parameters = dict[str, Any]

SPACE = {
    "x": Dimension(FloatDistribution(0, 1)),
    "method": Dimension(CategoricalDistribution(("kd", "dkd"))),
    "kd.temperature": Dimension(FloatDistribution(0, 1), "method", ("kd",)),
    "idle": Dimension(IntDistribution(1, 5)),
}


def values(dimensions: dict[str, Dimension], rng: np.random.Generator) -> Parameters:
    drawn: Parameters = {}
    for name, dimension in dimensions.items():
        if dimension.is_active(drawn):
            drawn[name] = draw(dimension.distribution, rng)
    return drawn


def study_of(
    function: Callable[[Parameters], float], n: int, dimensions: dict[str, Dimension] = SPACE, **changes: Any
) -> optuna.Study:
    """Study with trials at uniform random points of the space."""
    study, rng = optuna.create_study(direction=changes.get("direction", "maximize")), np.random.default_rng(0)
    for _ in range(n):
        parameters = values(dimensions, rng)
        distributions = {name: dimensions[name].distribution for name in parameters}
        study.add_trial(create_trial(value=function(parameters), params=parameters, distributions=distributions))
    return study


def conditional(parameters: Parameters, height: float = 1.0, slope: float = 3.0, tilt: float = 1.0) -> float:
    bonus = height + slope * (parameters["kd.temperature"] - 0.5) if parameters["method"] == "kd" else 0.0
    return bonus + tilt * parameters["x"]


def random_pairs(d: int, n: int = 20_000) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(1)
    orders = rng.permuted(np.tile(np.arange(d), (n, 1)), axis=1)
    return rng.random((n, d)), rng.random((n, d)), orders


def test_effects_of_a_sum_are_the_variances_of_its_terms() -> None:
    effects = shapley_effects(lambda u: u @ np.array([3.0, 2.0, 0.0]), *random_pairs(3))
    assert effects == pytest.approx([9 / 12, 4 / 12, 0], abs=0.015)


def test_an_interaction_is_shared_evenly() -> None:
    effects = shapley_effects(lambda u: 12 * (u[:, 0] - 0.5) * (u[:, 1] - 0.5) + u[:, 2], *random_pairs(3))
    assert effects == pytest.approx([0.5, 0.5, 1 / 12], abs=0.02)


def test_effects_are_the_mean_over_all_orders_of_the_variance_explained_beyond_those_before() -> None:
    table = np.random.default_rng(3).normal(size=(2, 2, 2))
    points = list(product((0, 1), repeat=3))

    def explained(known: frozenset[int]) -> float:
        """Variance of the mean of the table given the known inputs."""
        means = [
            np.mean([table[other] for other in points if all(other[k] == point[k] for k in known)]) for point in points
        ]
        return float(np.var(means))

    expected = np.zeros(3)
    for order in permutations(range(3)):
        for place, j in enumerate(order):
            before = frozenset(order[:place])
            expected[j] += (explained(before | {j}) - explained(before)) / factorial(3)
    first, second, orders = random_pairs(3)
    ends = (first > 0.5).astype(float), (second > 0.5).astype(float)
    effects = shapley_effects(lambda u: table[tuple(u.astype(int).T)], *ends, orders)
    assert effects == pytest.approx(expected, abs=0.04 * expected.sum())


def test_effects_sum_to_half_the_mean_squared_difference_of_the_pairs() -> None:
    first, second, orders = random_pairs(4, n=50)

    def function(u: Any) -> Any:
        return np.sin(7 * u[:, 0]) * u[:, 1] + u[:, 2] ** 3

    expected = np.mean((function(first) - function(second)) ** 2) / 2
    assert shapley_effects(function, first, second, orders).sum() == pytest.approx(expected, rel=1e-12)


def test_importances_of_a_conditional_function_are_those_of_its_closed_form() -> None:
    # With the bonus [kd] (h + s (t - 1/2)) and uniform t, the method explains h^2 / 4, the temperature s^2 / 48, and
    # their interaction s^2 / 48, which they share.
    height, slope, tilt = 1.0, 3.0, 1.0
    method, temperature, x = height**2 / 4 + slope**2 / 96, slope**2 / 48 + slope**2 / 96, tilt**2 / 12
    total = method + temperature + x
    found = importances(study_of(conditional, 150), SPACE)
    assert found["method"] == pytest.approx(method / total, abs=0.06)
    assert found["kd.temperature"] == pytest.approx(temperature / total, abs=0.06)
    assert found["x"] == pytest.approx(x / total, abs=0.06)
    assert found["idle"] < 0.03


def test_a_subset_of_many_observations_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of(conditional, 150)
    whole = importances(study, SPACE)
    monkeypatch.setattr("autokd.optimizers.importance.MOST_OBSERVATIONS", 75)
    assert importances(study, SPACE) == pytest.approx(whole, abs=0.06)


def test_importances_sum_to_one_and_begin_with_the_largest() -> None:
    found = importances(study_of(conditional, 20), SPACE)
    assert set(found) == set(SPACE)
    assert sum(found.values()) == pytest.approx(1)
    assert all(share >= 0 for share in found.values())
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_importances_are_deterministic_and_independent_of_the_direction() -> None:
    study = study_of(conditional, 20)
    assert importances(study, SPACE) == importances(study, SPACE)
    negated = study_of(lambda parameters: -conditional(parameters), 20, direction="minimize")
    assert importances(negated, SPACE) == pytest.approx(importances(study, SPACE))


def test_a_child_of_a_parent_with_one_value_is_always_or_never_active() -> None:
    space = SPACE | {"method": Dimension(CategoricalDistribution(("kd",)))}
    found = importances(study_of(conditional, 60, space), space)
    assert set(found) == {"x", "kd.temperature", "idle"}
    assert found["kd.temperature"] == pytest.approx(0.9, abs=0.05)  # 9 / 12 of 10 / 12
    never = space | {"kd.temperature": Dimension(FloatDistribution(0, 1), "method", ("dkd",))}
    found = importances(study_of(lambda parameters: parameters["x"], 20, never), never)
    assert found["kd.temperature"] == 0


def test_a_grandchild_is_inactive_where_its_parent_is() -> None:
    space = {
        "method": Dimension(CategoricalDistribution(("kd", "dkd"))),
        "kd.form": Dimension(CategoricalDistribution(("soft", "hard")), "method", ("kd",)),
        "kd.slope": Dimension(FloatDistribution(0, 1), "kd.form", ("hard",)),
    }
    # [kd] [hard] (s - 1/2): the slope, its interactions with either parent, and that of all three explain 1/4 each.
    found = importances(study_of(lambda parameters: parameters.get("kd.slope", 0.5), 150, space), space)
    assert found["kd.slope"] == pytest.approx((1 + 1 / 2 + 1 / 2 + 1 / 3) / 4, abs=0.06)
    assert found["kd.form"] == pytest.approx((1 / 2 + 1 / 3) / 4, abs=0.06)
    assert found["method"] == pytest.approx((1 / 2 + 1 / 3) / 4, abs=0.06)


def test_a_dimension_of_which_one_value_was_tried_has_no_importance() -> None:
    always = SPACE | {"method": Dimension(CategoricalDistribution(("kd",)))}
    found = importances(study_of(conditional, 8, always), SPACE)
    assert found["method"] == 0
    assert found["kd.temperature"] + found["x"] > 0.9


def test_low_values_of_trials_that_were_pruned_early_do_not_count() -> None:
    study, rng = optuna.create_study(direction="maximize"), np.random.default_rng(0)
    for number in range(60):
        parameters = values(SPACE, rng)
        short, long = parameters["x"], parameters["x"] + 5
        pruned = number % 2 == 1
        study.add_trial(
            create_trial(
                state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
                value=short if pruned else long,
                params=parameters,
                distributions={name: SPACE[name].distribution for name in parameters},
                intermediate_values={1: short} if pruned else {1: short, 2: long},
            )
        )
    assert importances(study, SPACE)["x"] > 0.9


@pytest.mark.parametrize("n", [0, 3])
def test_too_few_trials_are_an_error(n: int) -> None:
    with pytest.raises(InputError, match=f"^importances need 4 finished trials, but there are {n}.$"):
        importances(study_of(conditional, n), SPACE)


def test_equal_values_are_an_error() -> None:
    with pytest.raises(InputError, match=r"need trials of different values, but the model sees 5 equal ones"):
        importances(study_of(lambda parameters: 0.5, 5), SPACE)


def test_a_space_of_fixed_dimensions_is_an_error() -> None:
    space = {"x": Dimension(FloatDistribution(1, 1))}
    with pytest.raises(InputError, match="all are fixed"):
        importances(study_of(lambda parameters: 0.5, 5, space), space)


def test_trials_without_any_value_are_an_error() -> None:
    study = optuna.create_study(direction="maximize")
    for _ in range(5):
        pruned = create_trial(state=TrialState.PRUNED, params={"x": 0.5}, distributions={"x": SPACE["x"].distribution})
        study.add_trial(pruned)
    with pytest.raises(InputError, match=r"^importances need trials with a value, but none of 5 has one\.$"):
        importances(study, SPACE)
