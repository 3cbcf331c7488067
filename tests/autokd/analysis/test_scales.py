from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from optuna.distributions import CategoricalDistribution, FloatDistribution

from autokd.analysis.scales import accuracy_places, apart, label_accuracies, label_costs, label_values


@given(st.lists(st.floats(-3, 3), max_size=12), st.floats(0.01, 1))
def test_names_stand_apart_in_the_order_of_their_points_and_not_below_them(places: list[float], least: float) -> None:
    heights = apart(places, least)
    order = np.argsort(places, kind="stable")
    assert all(np.diff(np.array(heights)[order]) >= least - 1e-9)
    assert all(height >= place for height, place in zip(heights, places, strict=True))


def test_a_name_that_has_room_stands_at_its_point() -> None:
    assert apart([0.5, 0.1, 0.9], 0.3) == [0.5, 0.1, 0.9]
    assert apart([0.5, 0.5], 0.3) == [0.5, 0.8]


@pytest.mark.parametrize("accuracies", [[80.0], [90.0, 90.0], [0.0, 0.0], [0.02, 0.1], [99.5, 99.5]])
def test_ticks_of_equal_accuracies_fill_the_axis_and_none_is_negative(accuracies: list[float]) -> None:
    axes = Figure().subplots()
    places = accuracy_places(accuracies)
    axes.scatter(places, range(len(places)))
    label_accuracies(axes.xaxis, accuracies)
    low, high = axes.get_xlim()
    ticks, labels = axes.get_xticks(), [float(label.get_text()) for label in axes.get_xticklabels()]
    assert low < min(places) <= max(places) < high
    assert min(np.diff(ticks)) > (high - low) / 12
    assert min(labels) >= 0


@pytest.mark.parametrize(
    ("costs", "labels"), [((900, 1_200_000), {"1 k", "10 k", "100 k", "1 M"}), ((7_500, 7_700), {"7.6 k"})]
)
def test_an_axis_of_costs_has_ticks_whether_they_are_wide_or_narrow(costs: Any, labels: set[str]) -> None:
    axes = Figure().subplots()
    axes.set(xscale="log", xlim=costs)
    label_costs(axes.xaxis, costs)
    low, high = costs
    ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    assert labels <= {label.get_text() for tick, label in ticks if low <= tick <= high}


@pytest.mark.parametrize(
    ("low", "high", "labels"), [(1, 4, ["1", "2", "3", "4"]), (1, 20, ["1", "2", "5", "10", "20"])]
)
def test_a_logarithmic_dimension_has_ticks_whether_it_is_wide_or_narrow(
    low: float, high: float, labels: list[str]
) -> None:
    axis = Figure().subplots().xaxis
    distribution = FloatDistribution(low, high, log=True)
    places = label_values(axis, distribution, [low, high], np.random.default_rng(0))
    assert [label.get_text() for label in axis.get_ticklabels()] == labels
    assert places == pytest.approx([axis.get_ticklocs()[0], axis.get_ticklocs()[-1]])


@pytest.mark.parametrize("seed", range(4))
def test_the_names_of_all_choices_are_seen_wherever_the_points_are_shifted(seed: int) -> None:
    axes = Figure().subplots()
    distribution = CategoricalDistribution(("blocks", "like-teacher"))
    places = label_values(axes.yaxis, distribution, ["blocks", "like-teacher"], np.random.default_rng(seed))
    axes.scatter([0, 1], places)
    low, high = axes.get_ylim()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["blocks", "like-teacher"]
    assert all(low < place < high for place in (*axes.get_yticks(), *places))
