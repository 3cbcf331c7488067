"""What further trials would gain, in small studies."""

import math
from typing import Literal

import optuna
import pytest
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import create_trial

from autokd.optimizers.gain import FACTOR, N_SAMPLES, TRIALS, Gain, gain
from autokd.optimizers.models.study_model import StudyModel

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}


def study_of(n: int, scale: float = 1.0, direction: Literal["maximize", "minimize"] = "maximize") -> optuna.Study:
    """A study of a hill at points all over the square, as of Kronecker's sequence."""
    study = optuna.create_study(direction=direction)
    for k in range(n):
        params = {"x": (0.1 + 0.7549 * k) % 1, "y": (0.2 + 0.5698 * k) % 1}
        value = scale * math.exp(-sum((each - 0.5) ** 2 for each in params.values()))
        study.add_trial(create_trial(value=value, params=params, distributions=SPACE))
    return study


def found(study: optuna.Study) -> Gain:
    further = gain(study, SPACE, range(len(study.trials)))
    assert further is not None
    return further


def test_the_gain_has_the_unit_of_the_objective_in_either_direction() -> None:
    once = found(study_of(8))
    assert once.trials == TRIALS
    assert found(study_of(8, scale=100.0)).most == pytest.approx(100 * once.most, rel=1e-3)
    assert found(study_of(8, scale=-1.0, direction="minimize")).most == pytest.approx(once.most, rel=1e-6)


def test_the_more_is_known_the_less_is_to_be_gained() -> None:
    first, second, third = (found(study_of(n)).most for n in (12, 24, 40))
    assert first > second > third > 0


def test_no_more_is_to_be_gained_than_is_left_to_a_ceiling() -> None:
    study = study_of(8)
    left = {ceiling: gain(study, SPACE, range(8), ceiling=ceiling) for ceiling in (0.9, 1.0, 9.0)}
    assert left[0.9] == Gain(TRIALS, 0.0)  # the best value is above it
    assert left[1.0] is not None
    assert left[1.0].most == pytest.approx(1.0 - study.best_value, abs=0.02)
    assert left[9.0] == found(study)


def test_where_all_points_are_tried_only_the_uncertainty_of_the_chosen_one_is_left() -> None:
    space: dict[str, BaseDistribution] = {"x": CategoricalDistribution(("a", "b"))}
    study = optuna.create_study(direction="maximize")
    for choice, value in (("a", 0.1), ("b", 0.7), ("b", 0.8)):
        study.add_trial(create_trial(value=value, params={"x": choice}, distributions=space))
    model = StudyModel.fit(study, space)
    samples, _ = model.samples(model.codes[[1]], 100 * N_SAMPLES, torch.Generator().manual_seed(1))
    further = gain(study, space, [0, 1, 2])
    assert further is not None
    assert further.most == pytest.approx(FACTOR * float(model.surrogate.value(samples).std()), rel=0.1)


def test_without_anything_to_choose_nothing_is_said() -> None:
    space: dict[str, BaseDistribution] = {"x": CategoricalDistribution(("a",))}
    study = optuna.create_study(direction="maximize")
    study.add_trial(create_trial(value=1.0, params={"x": "a"}, distributions=space))
    assert gain(study, space, [0]) is None


def test_the_same_trials_give_the_same_gain_and_those_that_are_not_eligible_are_not_chosen() -> None:
    study = study_of(8)
    assert found(study) == found(study)
    worst = gain(study, SPACE, [0])
    assert worst is not None
    assert worst.most > found(study).most
