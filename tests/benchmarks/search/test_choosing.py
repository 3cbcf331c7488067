import math
from dataclasses import replace

import choosing
import numpy as np
import pytest
from choosing import ByModel, by_hindsight, by_observation, worth_at
from optuna.distributions import IntDistribution
from optuna.trial import TrialState
from results import Result, Run
from runner import Shorter, Trace
from tasks import Task

from autokd.optimizers.models.posterior import Posterior


def result(trace: Trace) -> Result:
    return Result(Run("line", "ours", "v1", 0, 1, len(trace.values)), 10.0, trace)


@pytest.fixture
def line() -> Task:
    zeros = np.zeros((9, 1))
    return Task("line", {"layer": IntDistribution(0, 8)}, zeros, zeros + 1)


def test_the_best_observed_is_the_first_of_equals() -> None:
    observed = result(Trace(values=[1.0, 3.0, 2.0, 3.0, 4.0]))
    assert [by_observation(observed, n) for n in range(1, 6)] == [0, 1, 1, 1, 4]


def test_hindsight_knows_the_means() -> None:
    observed = result(Trace(values=[5.0, 7.0, 6.0], worths=[5.5, 4.0, 9.0]))
    assert [by_hindsight(observed, n) for n in range(1, 4)] == [0, 0, 2]


def test_the_model_is_not_taken_in_by_a_lucky_value(line: Task) -> None:
    # Row 8 gives 1 each time; row 0 gives 0 each time but one.
    rng = np.random.default_rng(0)
    rows = [0] * 10 + [8] * 10 + [4] * 10
    values = np.array([0.0] * 10 + [1.0] * 10 + [0.5] * 10) + 0.05 * rng.normal(size=30)
    values[3] = 1.3
    observed = result(Trace(rows=rows, values=values.tolist()))
    choose = ByModel(lambda name: line)
    assert rows[by_observation(observed, 30)] == 0
    assert rows[choose(observed, 30)] == 8


def test_the_model_sees_the_first_points_that_keep_the_limits_and_is_asked_once(
    line: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def posterior(study, space, numbers, n_samples, seed, features):  # type: ignore[no-untyped-def]
        assert features is None
        seen.append([(trial.params["layer"], trial.value, trial.state) for trial in study.trials])
        return Posterior((0.1, 0.3, 0.2), (1.0,) * 3, (1 / 3,) * 3, (0.0,) * 3, (1.0,) * 3)

    monkeypatch.setattr(choosing, "posterior", posterior)
    observed = result(Trace(rows=[5, 6, 7, 8, 2], values=[1.0, -math.inf, 2.0, 3.0, 9.0]))
    choose = ByModel(lambda name: line)
    assert [choose(observed, 4), choose(observed, 4)] == [2, 2]
    assert seen == [[(5, 1.0, TrialState.COMPLETE), (7, 2.0, TrialState.COMPLETE), (8, 3.0, TrialState.COMPLETE)]]


def test_for_the_peer_that_is_told_of_graphs_the_model_is_told_too(line: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def posterior(*args, features, **options):  # type: ignore[no-untyped-def]
        seen.append(features)
        return Posterior((0.1, 0.3), (1.0,) * 2, (0.5,) * 2, (0.0,) * 2, (1.0,) * 2)

    monkeypatch.setattr(choosing, "posterior", posterior)
    known = replace(line, features=lambda params: [params["layer"]])
    for peer in ("ours", "ours+graphs"):
        run = Run("line", peer, "v1", 0, 1, 2)
        ByModel(lambda name: known)(Result(run, 10.0, Trace(rows=[5, 6], values=[1.0, 2.0])), 2)
    assert seen == [None, known.features]


def test_the_model_has_nothing_to_say_of_fewer_than_two_points(line: Task) -> None:
    observed = result(Trace(rows=[5, 6], values=[-math.inf, 1.0]))
    assert [ByModel(lambda name: line)(observed, n) for n in (1, 2)] == [0, 1]


def test_full_trainings_count_before_shorter_ones_and_higher_rungs_before_lower() -> None:
    shorter = [
        Shorter(row=1, rung=0, value=9.0, worth=1.0, finished=1.0),
        Shorter(row=2, rung=0, value=8.0, worth=2.0, finished=2.0),
        Shorter(row=3, rung=1, value=3.0, worth=3.0, finished=4.0),
        Shorter(row=4, rung=1, value=4.0, worth=4.0, finished=5.0),
    ]
    trace = Trace(values=[0.5, 0.7], worths=[5.0, 6.0], finished=[7.0, 8.0], shorter=shorter)
    moments = (0.5, 1.0, 3.0, 4.0, 6.0, 7.0, 9.0)
    assert [worth_at(trace, seconds) for seconds in moments] == [1.0, 1.0, 1.0, 3.0, 4.0, 5.0, 6.0]
