from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
import torch
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from autokd.optimizers.acquisition.functions import (
    _MAX_OBSERVATIONS,
    _MAX_PENDING,
    AcquisitionFunction,
    _FrontImprovement,
    _Improvement,
    acquisition_function,
    feasible_volumes,
    observations,
)
from autokd.optimizers.history import History
from autokd.optimizers.hypervolume import exclusive_hypervolume, front
from autokd.optimizers.space.encoding import Encoding

SPACE: dict[str, BaseDistribution] = {"n": IntDistribution(0, 9)}


def trial(n, values):
    """A trial that reports at steps 1 and 2, or is pruned if it has only one value."""
    steps = dict(enumerate(values, start=1))
    final = {"value": values[-1]} if len(values) == 2 else {"state": TrialState.PRUNED}
    return create_trial(params={"n": n}, distributions=SPACE, intermediate_values=steps, **final)


def test_only_points_that_were_not_pruned_are_observed_again() -> None:
    encoding = Encoding.of(SPACE)
    trials = [trial(0, (0.1, 0.2)), trial(3, (0.5, 0.7)), trial(4, (0.4,)), trial(9, (0.2, 0.4)), trial(3, (0.45,))]
    history = History.of(trials, encoding, [1.0])
    again, values = acquisition_function(
        history, encoding.categories, number=0, repeats=True, reference=None
    ).repeated()
    assert sorted(encoding.decode(codes)["n"] for codes in again.tolist()) == [0, 9]
    assert len(values) == 2


def test_where_a_history_is_a_part_only_pending_points_near_the_best_one_condition_the_model() -> None:
    space: dict[str, BaseDistribution] = {"x": IntDistribution(0, 999)}
    encoding = Encoding.of(space)
    ended = [create_trial(params={"x": x}, distributions=space, value=float(x)) for x in (100, 500, 300)]
    running = [create_trial(state=TrialState.RUNNING, params={"x": x}, distributions=space) for x in range(600, 1000)]
    history = History.of([*ended, *running], encoding, [1.0])
    for is_part, expected in ((False, range(600, 1000)), (True, range(600, 600 + _MAX_PENDING))):
        shown = replace(history, is_part=is_part)
        function = acquisition_function(shown, encoding.categories, number=0, repeats=True, reference=None)
        assert isinstance(function, _Improvement)
        codes = function.conditioned.process.seen[len(ended) :]
        assert [encoding.decode(row)["x"] for row in codes.tolist()] == list(expected)


PLANE: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}


def ended(number: int, point: Sequence[float], values: Sequence[float], excess: float | None = None) -> Any:
    """A trial of two objectives."""
    attributes = {} if excess is None else {"constraints:size": excess}
    made = create_trial(
        params=dict(zip(PLANE, map(float, point), strict=True)),
        distributions=PLANE,
        values=list(values),
        system_attrs=attributes,
    )
    made.number, made.datetime_complete = number, datetime(2026, 1, 1) + timedelta(seconds=number)
    return made


def of_two(trials: Sequence[Any]) -> tuple[History, AcquisitionFunction]:
    encoding = Encoding.of(PLANE)
    history = History.of(trials, encoding, [1.0, 1.0])
    return history, acquisition_function(history, encoding.categories, number=0, repeats=False, reference=None)


def test_a_full_model_of_several_objectives_keeps_what_is_near_any_trial_of_the_front() -> None:
    rng, encoding = np.random.default_rng(0), Encoding.of(PLANE)
    points = rng.random((_MAX_OBSERVATIONS + 100, 2))
    values = np.stack([points[:, 0], 1 - points[:, 0] ** 2], axis=1) - (points[:, 1:] - 0.5) ** 2
    values[-1] = -1.0  # the newest is dominated by all others
    trials = [ended(number, *pair) for number, pair in enumerate(zip(points, values, strict=True))]
    history = History.of(trials, encoding, [1.0, 1.0])
    X, Y = observations(history, encoding.categories)
    assert len(X) == _MAX_OBSERVATIONS
    best = torch.from_numpy(points[front(values)])
    far = torch.cdist(torch.from_numpy(points), best).min(dim=1).values
    expected = far.argsort(stable=True)[:_MAX_OBSERVATIONS].sort().values
    assert torch.equal(X, torch.from_numpy(points)[expected])
    assert torch.equal(Y, torch.from_numpy(values)[expected])


def test_the_hypervolume_of_points_is_that_among_probably_feasible_ones_which_come_first() -> None:
    means = np.array([[1.0, 3.0], [2.0, 2.0], [9.0, 9.0], [3.0, 1.0], [8.0, 9.0]])
    likely = torch.tensor([0.0, -0.1, -5.0, -0.2, -2.0], dtype=torch.float64)
    found = feasible_volumes(means, np.zeros(2), likely)
    assert found[[0, 1, 3]].tolist() == exclusive_hypervolume(means[[0, 1, 3]], np.zeros(2)).tolist()
    assert found.argsort(descending=True, stable=True).tolist()[-2:] == [4, 2]
    assert found[[2, 4]].max() < found[[0, 1, 3]].min()
    none_likely = feasible_volumes(means, np.zeros(2), likely - 9)
    assert none_likely.argsort(descending=True).tolist() == [0, 1, 3, 4, 2]
    certain = feasible_volumes(means, np.zeros(2), torch.zeros(5, dtype=torch.float64))
    assert certain.tolist() == exclusive_hypervolume(means, np.zeros(2)).tolist()


def test_without_a_feasible_trial_of_several_objectives_the_probability_alone_counts() -> None:
    points = np.linspace(0.05, 0.95, 12)[:, None].repeat(2, axis=1)
    values = np.stack([points[:, 0], points[:, 1]], axis=1)
    _, function = of_two(
        [ended(i, p, v, excess=0.1 + p[0]) for i, (p, v) in enumerate(zip(points, values, strict=True))]
    )
    assert isinstance(function, _FrontImprovement)
    found = function.log_value(torch.from_numpy(points))
    assert torch.equal(found, function.limits.log_probability(torch.from_numpy(points)))
    assert found.argmax() == 0


def test_a_region_of_several_objectives_is_centred_on_feasible_trials() -> None:
    rng = np.random.default_rng(1)
    points = rng.random((30, 2))
    values = np.stack([2 * points[:, 0] + points[:, 1], 2 * points[:, 0] + 1 - points[:, 1]], axis=1)
    history, function = of_two(
        [ended(i, p, v, excess=p[0] - 0.3) for i, (p, v) in enumerate(zip(points, values, strict=True))]
    )
    best = history.finished[function.merit(history.finished).argmax()]
    assert best[0] <= 0.3
    assert best[0] == pytest.approx(max(x for x in points[:, 0] if x <= 0.3), abs=0.1)
