import pytest
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from autokd.optimizers.space.conditions import Conditions, parents_of
from autokd.optimizers.space.encoding import Encoding
from search_spaces.design.dimensions import Dimension

DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "space": CategoricalDistribution(("a", "b")),
    "a.size": FloatDistribution(0, 1),
    "b.block": CategoricalDistribution(("basic", "mbconv")),
    "b.kernel": IntDistribution(3, 7, step=2),
    "weight": FloatDistribution(0, 1),
}
PARENTS = {"a.size": ("space", ("a",)), "b.block": ("space", ("b",)), "b.kernel": ("b.block", ("mbconv",))}
ENCODING = Encoding.of(DISTRIBUTIONS)
CONDITIONS = Conditions(ENCODING, PARENTS)


def trial(**values: object) -> torch.Tensor:
    """Codes of a trial that has these parameters; double underscores stand for dots."""
    return torch.tensor([ENCODING.encode({name.replace("__", "."): value for name, value in values.items()})]).double()


A = trial(space="a", a__size=0.3, weight=0.5)
BASIC = trial(space="b", b__block="basic", weight=0.5)
MBCONV = trial(space="b", b__block="mbconv", b__kernel=3, weight=0.5)


def test_the_active_coordinates_are_those_whose_ancestors_have_the_right_values() -> None:
    def names(point: torch.Tensor) -> list[str]:
        return [name for name, is_active in zip(ENCODING.names, CONDITIONS.active(point)[0], strict=True) if is_active]

    assert names(A) == ["a.size", "space", "weight"]
    assert names(BASIC) == ["b.block", "space", "weight"]
    assert names(MBCONV) == ["b.block", "b.kernel", "space", "weight"]


def test_canonical_points_are_those_of_trials_that_lack_inactive_parameters() -> None:
    filled = trial(space="a", a__size=0.3, weight=0.5, b__block="mbconv", b__kernel=7)
    assert CONDITIONS.canonical(filled).equal(A)
    assert Conditions(ENCODING, {}).canonical(filled).equal(filled)


def test_coordinates_that_become_active_are_drawn_and_the_others_kept() -> None:
    changed = A.repeat(2000, 1)
    changed[:, ENCODING.names.index("space")] = 0.5  # the other space
    points = CONDITIONS.settled(changed, A, ENCODING.sobol(0, 2000, seed=0))
    decoded = [ENCODING.decode(row) for row in points.tolist()]
    assert all(point["space"] == "b" and point["weight"] == 0.5 for point in decoded)
    assert CONDITIONS.canonical(points).equal(points)
    kernels = [point["b.kernel"] for point in decoded if point["b.block"] == "mbconv"]
    assert len(kernels) == pytest.approx(1000, abs=100)
    assert all(kernels.count(size) == pytest.approx(len(kernels) / 3, abs=60) for size in (3, 5, 7))


def test_nothing_changes_without_conditions() -> None:
    assert Conditions(ENCODING, {}).settled(A, BASIC, MBCONV).equal(A)


@pytest.mark.parametrize(("kinds", "values"), [(("a", "b"), ("b",)), (("b",), ("b",)), (("a",), ())])
def test_a_dimension_whose_parent_always_has_another_value_is_never_active(
    kinds: tuple[str, ...], values: tuple[str, ...]
) -> None:
    dimensions = {
        "kind": Dimension(CategoricalDistribution(kinds)),
        "size": Dimension(FloatDistribution(0, 1), "kind", ("b",)),
    }
    assert parents_of(dimensions) == {"size": ("kind", values)}
