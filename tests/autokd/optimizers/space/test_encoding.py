import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from autokd.optimizers.errors import OptimizerError
from autokd.optimizers.space.coordinates import MISSING, Category, Continuous, Levels, coordinate
from autokd.optimizers.space.encoding import Encoding, keys, nearest, unseen

SPACE: dict[str, Any] = {
    "rate": FloatDistribution(1e-5, 1e-1, log=True),
    "share": FloatDistribution(-1.0, 1.0),
    "drop": FloatDistribution(0.1, 0.7, step=0.15),
    "width": IntDistribution(8, 64, step=8),
    "nodes": IntDistribution(1, 300, log=True),
    "merge": CategoricalDistribution(("sum", "concat", None)),
}
ENCODING = Encoding.of(SPACE)

points = st.lists(st.floats(0, 1), min_size=6, max_size=6)


@given(points)
def test_decoding_and_encoding_again_is_the_snapped_point(point) -> None:
    snapped = ENCODING.snap(torch.tensor([point], dtype=torch.float64))
    params = ENCODING.decode(snapped[0].tolist())
    torch.testing.assert_close(torch.tensor(ENCODING.encode(params)), snapped[0].float(), atol=1e-6, rtol=0)
    assert keys(torch.tensor([ENCODING.encode(params)], dtype=torch.float64)) == keys(snapped)


@given(points)
def test_decoded_values_belong_to_their_distributions(point) -> None:
    params = ENCODING.decode(ENCODING.snap(torch.tensor([point], dtype=torch.float64))[0].tolist())
    assert set(params) == set(SPACE)
    for name, value in params.items():
        assert SPACE[name]._contains(SPACE[name].to_internal_repr(value))
    assert isinstance(params["width"], int)


@given(st.integers(-50, 50), st.integers(0, 200), st.integers(1, 7))
def test_each_integer_survives_the_round_trip(low, span, step) -> None:
    levels = Levels(IntDistribution(low, low + span * step, step=step))
    values = range(low, low + span * step + 1, step)
    assert [levels.decode(levels.encode(value)) for value in values] == list(values)
    assert list(levels.levels()) == pytest.approx([(i + 0.5) / (span + 1) for i in range(span + 1)])


@given(st.integers(1, 100), st.integers(1, 1000))
def test_each_integer_of_a_logarithmic_range_survives_the_round_trip(low, span) -> None:
    levels = Levels(IntDistribution(low, low + span, log=True))
    assert [levels.decode(levels.encode(value)) for value in range(low, low + span + 1)] == list(
        range(low, low + span + 1)
    )


def test_uniform_codes_are_uniform_levels() -> None:
    levels = Levels(FloatDistribution(0.1, 0.7, step=0.15))
    codes = levels.snap((torch.arange(1000, dtype=torch.float64) + 0.5) / 1000)
    values, counts = codes.unique(return_counts=True)
    assert counts.tolist() == [200] * 5
    assert [levels.decode(float(v)) for v in values] == pytest.approx([0.1, 0.25, 0.4, 0.55, 0.7])


def test_logarithmic_floats_have_their_geometric_mean_in_the_middle() -> None:
    rate = Continuous(FloatDistribution(1e-5, 1e-1, log=True))
    assert rate.encode(1e-3) == pytest.approx(0.5)
    assert rate.decode(0.5) == pytest.approx(1e-3)
    assert (rate.decode(0.0), rate.decode(1.0)) == (1e-5, 1e-1)


def test_missing_and_foreign_values_have_the_middle_or_a_level_of_their_own() -> None:
    codes = dict(zip(ENCODING.names, ENCODING.encode({"width": 1000, "merge": "other", "share": "x"}), strict=True))
    assert codes["rate"] == codes["share"] == 0.5
    assert codes["width"] in list(Levels(SPACE["width"]).levels())
    assert codes["merge"] == MISSING
    assert "merge" not in ENCODING.decode(ENCODING.encode({}))


def test_none_is_a_choice_and_not_missing() -> None:
    merge = Category(SPACE["merge"])
    assert merge.encode(None) == pytest.approx(2 / 3)
    assert ENCODING.decode(ENCODING.encode({"merge": None}))["merge"] is None


def test_neighbours_are_the_next_levels_and_end_at_the_ends() -> None:
    nodes = Levels(SPACE["nodes"])
    below, above = nodes.neighbours(nodes.encode(17))
    assert (nodes.decode(below), nodes.decode(above)) == (16, 18)
    assert nodes.neighbours(nodes.encode(1))[0] == nodes.encode(1)
    assert nodes.neighbours(nodes.encode(300))[1] == nodes.encode(300)


def test_sobol_points_depend_on_their_number_only() -> None:
    all_points = ENCODING.sobol(0, 20, seed=3)
    for i in range(20):
        assert torch.equal(ENCODING.sobol(i, 1, seed=3)[0], all_points[i])


def test_size_and_grid_count_the_points_of_a_finite_space() -> None:
    finite = Encoding.of({name: SPACE[name] for name in ("drop", "width", "merge")})
    assert finite.size == 5 * 8 * 3 == len(set(keys(finite.grid())))
    assert math.isinf(ENCODING.size)


def test_the_resolution_is_the_shortest_step() -> None:
    numbers = {"n": IntDistribution(1, 4), "m": IntDistribution(1, 10)}
    assert Encoding.of(numbers).resolution == 0.1
    assert Encoding.of({f"k{i}": CategoricalDistribution("ab") for i in range(5)}).resolution == 0.2
    assert ENCODING.resolution == 0  # continuous


def test_unseen_drops_known_and_repeated_rows() -> None:
    rows = torch.tensor([[0.1], [0.2], [0.1 + 1e-12], [0.3]], dtype=torch.float64)
    assert unseen(rows, keys(rows[1:2])).flatten().tolist() == [0.1, 0.3]


def test_the_internal_representation_survives_the_round_trip() -> None:
    params = {"rate": 1e-3, "width": 16, "merge": None}
    assert ENCODING.from_internal(ENCODING.to_internal(params)) == params


def test_an_unknown_distribution_is_rejected() -> None:
    with pytest.raises(OptimizerError, match="'x'"):
        coordinate("x", object())  # type: ignore[arg-type]
    with pytest.raises(OptimizerError, match="have levels"):
        Continuous(SPACE["share"]).levels()


def test_the_nearest_points_are_the_first_of_a_stable_order_by_distance() -> None:
    rng = np.random.default_rng(0)
    points = torch.from_numpy(np.stack([rng.integers(4, size=200) / 4, rng.integers(3, size=200) / 3], axis=1))
    difference = points - points[7]
    distance = difference[:, 0].square() + (difference[:, 1] != 0)
    for most in (1, 2, 17, 50, 199, 200, 300):
        expected = distance.argsort(stable=True)[:most].sort().values
        assert nearest(points, points[[7]], (0, 3), most).tolist() == expected.tolist()


def test_the_nearest_points_are_near_any_of_several_centres() -> None:
    points = torch.linspace(0, 1, 11, dtype=torch.float64)[:, None]
    assert nearest(points, points[[0, 10]], (0,), 4).tolist() == [0, 1, 9, 10]


def test_a_negative_zero_has_the_key_of_zero() -> None:
    assert len(set(keys(torch.tensor([[0.0], [-0.0], [-1e-12]], dtype=torch.float64)))) == 1
