import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from autokd.optimizers.acquisition.candidates import Box, draw, vary
from autokd.optimizers.space.encoding import Encoding


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def space(n_floats=0, n_ints=0, n_categories=0):
    distributions: dict[str, BaseDistribution] = {f"f{i}": FloatDistribution(0, 1) for i in range(n_floats)}
    distributions |= {f"i{i}": IntDistribution(1, 9, log=bool(i % 2)) for i in range(n_ints)}
    distributions |= {f"k{i}": CategoricalDistribution(("a", "b", "c")) for i in range(n_categories)}
    return Encoding.of(distributions)


def box_of(encoding, length, seed=0):
    center = encoding.sobol(seed, 1, seed=1)[0]
    return Box.of(encoding, center, length, torch.ones(encoding.dimension, dtype=torch.float64))


def test_lengths_follow_the_lengthscales_over_their_geometric_mean() -> None:
    encoding = space(n_floats=2, n_categories=1)
    center = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    box = Box.of(encoding, center, 0.1, torch.tensor([2.0, 8.0, 100.0], dtype=torch.float64))
    torch.testing.assert_close((box.upper - box.lower)[:2], torch.tensor([0.05, 0.2], dtype=torch.float64))
    assert (box.lower[2], box.upper[2]) == (0, 1)


@pytest.mark.parametrize("dimension", [1, 3, 20, 60])
def test_every_coordinate_gets_perturbed(dimension) -> None:
    encoding = space(n_floats=dimension)
    box = box_of(encoding, 0.2)
    starts = box.center.unsqueeze(0)
    for points in (draw(box, encoding, 512, generator()), vary(box, encoding, starts, 512, 0.1, generator())):
        changed = points != box.center
        assert changed.any(dim=0).all()
        assert changed.any(dim=1).all()


def test_wide_spaces_have_about_twenty_coordinates_perturbed() -> None:
    encoding = space(n_floats=100)
    changed = draw(box_of(encoding, 0.2), encoding, 1000, generator()) != box_of(encoding, 0.2).center
    assert changed.sum(dim=1).double().mean() == pytest.approx(20, abs=0.5)


@given(st.integers(0, 50), st.floats(0.5**7, 2))
def test_points_lie_inside_the_region(seed, length) -> None:
    encoding = space(n_floats=2, n_ints=2, n_categories=3)
    box = box_of(encoding, length, seed)
    first = draw(box, encoding, 64, generator(seed))
    for points in (first, vary(box, encoding, first[:4], 64, 0.2, generator(seed))):
        inside = points.clamp(box.lower, box.upper)
        torch.testing.assert_close(inside[:, :2], points[:, :2], rtol=0, atol=1e-12)
        # A level belongs to the region if part of its cell does.
        torch.testing.assert_close(encoding.snap(inside), points, rtol=0, atol=1e-12)
        assert box.holds(points).all()


@pytest.mark.parametrize("seed", range(20))
def test_integers_are_never_frozen(seed) -> None:
    encoding = space(n_ints=4)
    box = box_of(encoding, 0.5**7, seed)
    points = draw(box, encoding, 256, generator())
    assert (points != box.center).any(dim=0).all()


def test_number_of_changed_categories_grows_with_the_length_from_one() -> None:
    encoding = space(n_categories=6)
    assert [box_of(encoding, length).n_changes for length in (0.5**7, 0.2, 0.5, 0.8, 1.6)] == [1, 2, 3, 5, 6]
    points = draw(box_of(encoding, 0.5**7), encoding, 256, generator())
    n_changed = (points != box_of(encoding, 0.5**7).center).sum(dim=1)
    assert int(n_changed.max()) == 1
    assert (points != box_of(encoding, 0.5**7).center).any(dim=0).all()


def test_a_space_of_categories_alone_has_no_lengths() -> None:
    box = box_of(space(n_categories=2), 0.4)
    assert box.lower.tolist() == [0, 0]
    assert box.upper.tolist() == [1, 1]


def test_missing_categories_of_the_centre_stay_missing_until_redrawn() -> None:
    encoding = space(n_categories=3)
    center = torch.ones(3, dtype=torch.float64)
    box = Box.of(encoding, center, 0.1, torch.ones(3, dtype=torch.float64))
    points = draw(box, encoding, 64, generator())
    assert ((points == 1).sum(dim=1) == 2).all()


def test_the_longest_region_is_the_whole_space_whatever_the_lengthscales() -> None:
    encoding = space(n_floats=2, n_ints=1)
    center = encoding.snap(torch.tensor([[0.0, 1.0, 0.1]], dtype=torch.float64))[0]
    box = Box.of(encoding, center, 2.0, torch.tensor([0.01, 1.0, 100.0], dtype=torch.float64))
    assert box.lower.tolist() == [0, 0, 0]
    assert box.upper.tolist() == [1, 1, 1]


def test_points_under_conditions_are_complete_and_canonical_and_reach_the_other_branch() -> None:
    encoding = Encoding.of(
        {"space": CategoricalDistribution(("a", "b")), "a.x": FloatDistribution(0, 1)}
        | {f"b.k{i}": CategoricalDistribution(("u", "v", "w")) for i in range(4)}
    )
    parents = {"a.x": ("space", ("a",))} | {f"b.k{i}": ("space", ("b",)) for i in range(4)}
    center = torch.tensor([encoding.encode({"space": "a", "a.x": 0.2})], dtype=torch.float64)[0]
    box = Box.of(encoding, center, 0.1, torch.ones(6, dtype=torch.float64), parents)
    assert box.n_changes == 1
    first = draw(box, encoding, 400, generator())
    for points in (first, vary(box, encoding, first[:20], 400, 0.2, generator())):
        assert box.conditions.canonical(points).equal(points)
        assert box.holds(points).all()
        decoded = [encoding.decode(row) for row in points.tolist()]
        others = [point for point in decoded if point["space"] == "b"]
        assert len(others) > 20
        assert all(len(point) == 6 for point in others)  # no category is missing; a missing number has its middle
        assert len({point["b.k0"] for point in others}) == 3
        near = [point["a.x"] for point in decoded if point["space"] == "a"]
        assert all(0.15 <= x <= 0.25 for x in near)
