import math
import sys
from datetime import datetime, timedelta

import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from autokd.optimizers.history import PROPOSAL, History
from autokd.optimizers.reports import REPORTS
from autokd.optimizers.space.encoding import Encoding

SPACE = {"x": FloatDistribution(0, 1), "k": CategoricalDistribution(("a", "b"))}
ENCODING = Encoding.of(SPACE)  # coordinates in the order k, x
START = datetime(2026, 1, 1)


def trial(
    number,
    x=0.5,
    value=None,
    state=TrialState.COMPLETE,
    reports=None,
    end=None,
    attrs=None,
    params=None,
    values=None,
    excesses=None,
):
    finished = state.is_finished()
    params = {"x": x} if params is None else params
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=state,
        value=value,
        values=values,
        datetime_start=START + timedelta(minutes=number),
        datetime_complete=START + timedelta(minutes=number + 1 if end is None else end) if finished else None,
        params=params,
        distributions={name: SPACE[name] for name in params},
        user_attrs={},
        system_attrs={**(attrs or {}), **{f"constraints:{name}": excess for name, excess in (excesses or {}).items()}},
        intermediate_values=reports or {},
    )


def history(*trials, sign=1.0):
    return History.of(trials, ENCODING, [sign])


def test_finished_trials_come_in_the_order_in_which_they_finished() -> None:
    seen = history(trial(0, 0.1, 1.0, end=9), trial(1, 0.2, 2.0, end=5), trial(2, 0.3, 3.0, end=5))
    assert seen.finished[:, 1].tolist() == [0.2, 0.3, 0.1]
    assert [o.value for o in seen.outcomes] == [2.0, 3.0, 1.0]
    assert seen.Y[:, 0].tolist() == [2.0, 3.0, 1.0]


def test_minimised_values_are_negated() -> None:
    seen = history(trial(0, value=1.0), trial(1, value=3.0), trial(2, state=TrialState.FAIL), sign=-1.0)
    assert seen.Y[:, 0].tolist() == [-1.0, -3.0, -3.0]


def test_failed_trials_are_observed_with_the_worst_value() -> None:
    seen = history(trial(0, state=TrialState.FAIL), trial(1, value=5.0), trial(2, value=2.0))
    assert seen.Y[:, 0].tolist() == [2.0, 5.0, 2.0]
    assert [(o.value, o.observed) for o in seen.outcomes] == [(None, False), (5.0, True), (2.0, True)]


def test_failed_trials_alone_give_no_observation() -> None:
    seen = history(trial(0, state=TrialState.FAIL), trial(1, state=TrialState.PRUNED))
    assert len(seen.Y) == 0
    assert [o.observed for o in seen.outcomes] == [False, False]


def test_infinite_and_nan_values_count_as_failures() -> None:
    nan = trial(2, state=TrialState.PRUNED, reports={1: math.nan})
    seen = history(trial(0, value=math.inf), trial(1, value=-1.0), nan)
    assert seen.Y[:, 0].tolist() == [-1.0, -1.0, -1.0]
    assert [o.observed for o in seen.outcomes] == [False, True, False]


def test_values_and_excesses_near_the_largest_number_are_cut_so_that_their_squares_are_numbers() -> None:
    seen = history(
        trial(0, value=1e308, excesses={"fits": -1e308}),
        trial(1, value=-sys.float_info.max, excesses={"fits": math.inf}),
        trial(2, value=0.5, excesses={"fits": 0.5}),
    )
    assert seen.Y[:, 0].tolist() == seen.final[:, 0].tolist() == [1e100, -1e100, 0.5]
    assert seen.excesses[:, 0].tolist() == [-1e100, 1e100, 0.5]
    assert [o.value for o in seen.outcomes] == [1e100, None, None]


def test_steps_are_a_coordinate_on_a_logarithmic_scale_if_there_are_several() -> None:
    pruned = trial(0, 0.1, state=TrialState.PRUNED, reports={1: 0.1})
    one = history(pruned, trial(1, 0.2, 0.7, reports={1: 0.6}))
    assert not one.has_steps
    assert one.X.shape == (2, 2)
    assert one.Y[:, 0].tolist() == [0.1, 0.7]
    many = history(pruned, trial(1, 0.2, 0.7, reports={1: 0.2, 3: 0.4, 9: 0.6}), trial(2, 0.3, 0.8))
    assert many.has_steps
    assert many.X[:, 1].tolist() == [0.1, 0.2, 0.2, 0.2, 0.3]
    torch.testing.assert_close(many.X[:, 2], torch.tensor([0, 0, 0.5, 1, 1], dtype=torch.float64))
    assert many.Y[:, 0].tolist() == [0.1, 0.2, 0.4, 0.7, 0.8]


def test_steps_may_start_at_zero() -> None:
    seen = history(trial(0, value=2.0, reports={0: 1.0, 1: 1.5, 3: 2.0}))
    torch.testing.assert_close(seen.X[:, 2], torch.tensor([0, 0.5, 1], dtype=torch.float64))


def test_many_reports_are_thinned_to_the_last_step_and_fractions_of_it() -> None:
    seen = history(trial(0, value=0.0, reports={step: float(step) for step in range(1, 82)}))
    assert seen.Y[:, 0].tolist() == [3.0, 9.0, 27.0, 0.0]


def test_failed_trials_are_observed_at_the_last_step() -> None:
    seen = history(trial(0, value=2.0, reports={1: -9.0, 3: 2.0}), trial(1, state=TrialState.FAIL, reports={1: 5.0}))
    assert seen.Y[:, 0].tolist() == [-9.0, 2.0, 2.0]
    assert seen.X[-1, 2] == 1


def test_running_trials_are_pending_and_their_reports_are_observed() -> None:
    running = trial(1, 0.7, state=TrialState.RUNNING, reports={1: 0.3})
    seen = history(trial(0, 0.2, 1.0), running, trial(2, state=TrialState.WAITING, params={}))
    assert seen.pending[:, 1].tolist() == [0.7]
    assert seen.Y[:, 0].tolist() == [1.0, 0.3]
    assert len(seen.outcomes) == 1


def test_a_running_trial_that_has_not_asked_yet_is_pending_at_its_proposal() -> None:
    attrs = {PROPOSAL: {"x": 0.25, "k": 1.0}}
    seen = history(trial(0, state=TrialState.RUNNING, params={}, attrs=attrs))
    assert seen.pending.tolist() == [[0.5, 0.25]]
    finished = history(trial(0, x=0.5, value=0.0, attrs=attrs))
    assert finished.finished.tolist() == [[1.0, 0.5]]  # k, for which it did not ask, is missing


def test_trials_without_any_parameter_are_ignored() -> None:
    seen = history(trial(0, state=TrialState.FAIL, params={}), trial(1, state=TrialState.RUNNING, params={}))
    assert len(seen.outcomes) == len(seen.pending) == len(seen.Y) == 0


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_empty_history_has_the_right_shapes(sign) -> None:
    seen = history(sign=sign)
    assert seen.X.shape == seen.finished.shape == seen.pending.shape == (0, 2)


def test_measured_constraints_decide_which_trials_are_feasible_and_count_for_the_region() -> None:
    seen = history(
        trial(0, value=3.0, excesses={"latency": 0.5}),
        trial(1, value=1.0, excesses={"latency": -0.5, "size": -1.0}),
        trial(2, value=2.0),
        trial(3, state=TrialState.FAIL, excesses={"size": math.inf}),
    )
    assert seen.excesses[:, 0].tolist()[:2] == [0.5, -0.5]
    assert seen.excesses[:, 0].isnan().tolist() == [False, False, True, True]
    assert seen.excesses[3, 1] == 1.0  # the largest finite one
    assert seen.feasible.tolist() == [False, True, True, False]
    assert [o.value for o in seen.outcomes] == [None, 1.0, 2.0, None]
    assert seen.Y[:, 0].tolist() == [3.0, 1.0, 2.0, 1.0]  # an infeasible trial is still an observation


def test_an_infinite_excess_stays_one_where_all_finite_ones_are_zero() -> None:
    seen = history(trial(0, value=1.0, excesses={"fits": 0.0}), trial(1, value=2.0, excesses={"fits": math.inf}))
    assert seen.excesses[:, 0].tolist() == [0.0, 1.0]
    assert seen.feasible.tolist() == [True, False]


def test_the_outcome_of_several_objectives_is_the_hypervolume_so_far() -> None:
    trials = [trial(0, values=[1.0, 2.0]), trial(1, values=[2.0, 1.0]), trial(2, values=[0.5, 0.5])]
    seen = History.of([*trials, trial(3, state=TrialState.FAIL)], ENCODING, [1.0, 1.0], reference=[0.0, 0.0])
    assert [o.value for o in seen.outcomes] == [2.0, 3.0, 3.0, None]
    assert seen.Y.tolist() == [[1.0, 2.0], [2.0, 1.0], [0.5, 0.5], [0.5, 0.5]]
    turned = History.of(trials, ENCODING, [1.0, -1.0], reference=[0.0, -3.0])
    assert [o.value for o in turned.outcomes] == [1.0, 4.0, 4.25]


def test_reports_of_several_objectives_are_observed_at_their_steps() -> None:
    climbed = trial(0, values=[0.9, 5.0], attrs={REPORTS: {1: [0.6, 5.0], 3: [0.9, 5.0]}})
    pruned = trial(1, values=[0.5, 7.0], state=TrialState.PRUNED, attrs={REPORTS: {"1": [0.5, 7.0]}})  # as JSON has it
    running = trial(2, state=TrialState.RUNNING, attrs={REPORTS: {1: [0.7, 6.0]}})
    seen = History.of([climbed, pruned, running], ENCODING, [1.0, -1.0])
    assert seen.has_steps
    assert seen.Y.tolist() == [[0.6, -5.0], [0.9, -5.0], [0.5, -7.0], [0.7, -6.0]]
    assert seen.X[:, -1].tolist() == [0.0, 1.0, 0.0, 0.0]
    assert [outcome.value is None for outcome in seen.outcomes] == [False, True]


def test_in_a_space_without_parameters_every_trial_counts() -> None:
    seen = History.of([trial(0, value=1.0, params={})], Encoding.of({}), [1.0])
    assert (seen.X.shape, seen.Y.tolist()) == ((1, 0), [[1.0]])
