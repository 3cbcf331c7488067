"""BoTorch's models and acquisition functions at the place of ours."""

import sys
from collections.abc import Mapping
from typing import Any

import gpytorch
import numpy as np
import optuna
import pytest
import torch
from botorch.acquisition.multi_objective import logei
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from autokd.errors import InputError
from autokd.optimizers import TrustRegionSampler
from autokd.optimizers.acquisition.botorch import BoTorch, _Scores
from autokd.optimizers.errors import OptimizerError
from autokd.optimizers.history import History
from autokd.optimizers.space.encoding import Encoding

SPACE: dict[str, BaseDistribution] = {
    "kind": CategoricalDistribution(["good", "bad", "worse"]),
    "x": FloatDistribution(0.0, 1.0),
}
ENCODING = Encoding.of(SPACE)
LOSS = {"good": 0.0, "bad": 0.5, "worse": 1.0}


def trial(kind: str, x: float, **changes: Any) -> FrozenTrial:
    value = -((x - 0.4) ** 2) - LOSS[kind]
    return create_trial(**{"params": {"kind": kind, "x": x}, "distributions": SPACE, "value": value, **changes})


TRIALS = [trial(kind, x) for kind in LOSS for x in (0.0, 0.25, 0.6, 0.9)]


def scores(trials: list[FrozenTrial], kernel: str | None = None, signs: tuple[float, ...] = (1.0,)) -> _Scores:
    history = History.of(trials, ENCODING, signs)
    function = BoTorch(kernel)(history, ENCODING.categories, number=7, repeats=True, reference=None)
    assert isinstance(function, _Scores)
    return function


def codes(*points: Mapping[str, Any]) -> torch.Tensor:
    return torch.tensor([ENCODING.encode(point) for point in points], dtype=torch.float64)


def test_the_best_new_point_is_near_the_optimum() -> None:
    points = codes(*({"kind": kind, "x": x / 50} for kind in LOSS for x in range(51)))
    best = ENCODING.decode(points[scores(TRIALS).log_value(points).argmax()].tolist())
    assert best["kind"] == "good"
    assert best["x"] == pytest.approx(0.4, abs=0.1)


def test_it_is_the_expected_improvement_over_the_unknown_values_of_the_tried_points() -> None:
    function, points = scores(TRIALS), codes(*({"kind": "good", "x": x} for x in (0.3, 0.35, 0.45, 0.5)))
    tried = codes(*(trial.params for trial in TRIALS))
    torch.manual_seed(0)
    with torch.no_grad():
        posterior = function.model.posterior(function.inputs(torch.cat([points, tried])))
        drawn = posterior.rsample(torch.Size([20_000])).squeeze(-1)
    gained = (drawn[:, :4] - drawn[:, 4:].amax(dim=1, keepdim=True)).clamp_min(0).mean(dim=0)
    np.testing.assert_allclose(function.log_value(points), gained.log(), atol=0.1)


def test_merit_is_the_posterior_mean_in_the_closed_form() -> None:
    function, points = scores(TRIALS), codes(*(trial.params for trial in TRIALS))
    (model,) = function.model.models
    values = torch.tensor([trial.value for trial in TRIALS], dtype=torch.float64)
    y = (values - values.mean()) / values.std()
    with torch.no_grad():
        K, level = model.covar_module(function.inputs(points)).to_dense(), model.mean_module.constant
        noise = model.likelihood.noise * torch.eye(len(y), dtype=torch.float64)
        mean = level + K @ torch.linalg.solve(K + noise, y - level)
    torch.testing.assert_close(function.merit(points), mean * values.std() + values.mean())


def test_a_category_is_as_far_from_each_other_one_and_a_missing_one_too() -> None:
    inputs = scores(TRIALS).inputs(codes(*({"kind": kind, "x": 0.5} for kind in LOSS), {"x": 0.5}))
    distance = torch.cdist(inputs, inputs)
    torch.testing.assert_close(distance, 1 - torch.eye(4, dtype=torch.float64))


def test_the_kernel_is_the_one_that_was_named_and_has_a_length_for_each_parameter() -> None:
    function = scores(TRIALS, "MaternKernel")
    assert isinstance(function.model.models[0].covar_module.base_kernel, gpytorch.kernels.MaternKernel)
    assert function.lengthscales.shape == (2,)


def test_a_point_beside_a_pending_one_is_worth_less() -> None:
    running = trial("good", 0.4, state=TrialState.RUNNING, value=None)
    point = codes({"kind": "good", "x": 0.41})
    assert scores([*TRIALS, running]).log_value(point) < scores(TRIALS).log_value(point) - 0.5


def test_points_that_probably_break_a_measured_limit_are_worth_less_and_no_centre() -> None:
    limited = [trial(t.params["kind"], t.params["x"]) for t in TRIALS]
    for each in limited:
        each.set_constraint("limit", each.params["x"] - 0.3)
    function, points = scores(limited), codes({"kind": "good", "x": 0.28}, {"kind": "good", "x": 0.4})
    within, beyond = function.log_value(points)
    assert within > beyond
    assert function.merit(points)[0] > function.merit(points)[1]


def test_with_steps_the_prediction_is_for_the_last_one() -> None:
    def climbing(x: float) -> FrozenTrial:
        values = {1: 5 - x, 3: x}  # at the first step it is the other way round
        return create_trial(
            params={"kind": "good", "x": x}, distributions=SPACE, value=values[3], intermediate_values=values
        )

    function = scores([climbing(x) for x in (0.1, 0.3, 0.6, 0.8)])
    low, high = function.merit(codes({"kind": "good", "x": 0.2}, {"kind": "good", "x": 0.7}))
    assert high > low


def test_with_two_objectives_a_point_between_two_of_the_front_is_worth_more_than_one_behind_it() -> None:
    def both(kind: str, x: float) -> FrozenTrial:
        values = [-LOSS[kind] - x * x, -LOSS[kind] - (1 - x) ** 2]
        return create_trial(params={"kind": kind, "x": x}, distributions=SPACE, values=values)

    function = scores([both(kind, x) for kind in LOSS for x in (0.0, 0.3, 0.9)], signs=(1.0, 1.0))
    assert logei._C is None  # nothing was compiled
    between, behind = function.log_value(codes({"kind": "good", "x": 0.6}, {"kind": "worse", "x": 0.6}))
    assert between > behind
    assert (function.merit(codes({"kind": "good", "x": 0.3}, {"kind": "worse", "x": 0.3})) > 0).tolist() == [
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "x"}, '`model` must be "own" or "botorch", but got \'x\''),
        ({"kernel": "RBFKernel"}, '`kernel` is an option of model = "botorch"'),
        ({"model": "botorch", "kernel": "Kernel"}, "`kernel` must be one of MaternKernel, .* but got 'Kernel'"),
    ],
)
def test_options_that_do_not_exist_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptimizerError, match=message):
        TrustRegionSampler(**options)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "autokd.optimizers.acquisition.botorch")
    monkeypatch.setitem(sys.modules, "botorch.models", None)
    with pytest.raises(InputError, match=r"pip install 'autokd\[botorch\]'"):
        TrustRegionSampler(model="botorch")


def test_a_study_of_it_finds_the_optimum() -> None:
    def loss(trial: optuna.Trial) -> float:
        return LOSS[trial.suggest_categorical("kind", list(LOSS))] + (trial.suggest_float("x", 0, 1) - 0.4) ** 2

    study = optuna.create_study(sampler=TrustRegionSampler(seed=0, search_space=SPACE, model="botorch"))
    study.optimize(loss, n_trials=12)
    assert study.best_value < 0.01
