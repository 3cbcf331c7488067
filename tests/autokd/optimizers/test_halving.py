import math

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autokd.optimizers import HalvingPruner, OptimizerError
from autokd.optimizers.reports import REPORTS

RUNNING = optuna.trial.TrialState.RUNNING


def judged(reports, own, direction="minimize", factor=3, **options):
    """Whether a trial that reports `own` (values by step) is pruned after others that reported `reports`."""
    study = optuna.create_study(direction=direction)
    for values in reports:
        trial = study.ask()
        for step, value in values.items():
            trial.report(value, step)
    trial = study.ask()
    for step, value in own.items():
        trial.report(value, step)
    pruner = HalvingPruner(factor, **options)
    return pruner.prune(study, study.trials[-1])


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(0, 9), st.integers(2, 4))
def test_keeps_the_top_share_of_a_sorted_list(others, own, factor) -> None:
    values = sorted([*others, own])
    kept = values[: math.ceil(len(values) / factor)]
    expected = len(values) >= factor and own not in kept
    assert judged([{1: float(v)} for v in others], {1: float(own)}, factor=factor) == expected


@given(st.lists(st.integers(-9, 9), max_size=9), st.integers(-9, 9))
def test_directions_mirror_each_other(others, own) -> None:
    smaller = judged([{1: float(v)} for v in others], {1: float(own)})
    larger = judged([{1: -float(v)} for v in others], {1: -float(own)}, direction="maximize")
    assert smaller == larger


def test_values_of_other_steps_do_not_count() -> None:
    assert not judged([{1: 0.0}, {1: 0.0}, {1: 0.0}], {1: 0.0, 3: 9.0})
    assert judged([{1: 9.0, 3: 0.0}, {1: 9.0, 3: 0.0}], {1: 0.0, 3: 9.0})


def test_nan_is_pruned_and_counts_as_worst() -> None:
    assert judged([], {1: math.nan})
    assert not judged([{1: math.nan}, {1: math.nan}], {1: 5.0})
    assert judged([{1: math.nan}, {1: 0.0}], {1: 5.0})


@settings(max_examples=60)
@given(
    st.sampled_from(["maximize", "minimize"]),
    st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, 2.0, 3.0, math.nan]), st.booleans(), st.integers(0, 3)),
        min_size=6,
        max_size=16,
    ),
)
def test_a_pruner_that_has_seen_trials_change_and_end_judges_as_a_new_one(direction, reported) -> None:
    study, pruner = optuna.create_study(direction=direction), HalvingPruner()
    running = [(study.ask(), 1) for _ in range(3)]
    for value, ends, place in reported:
        if place >= len(running):
            running.append((study.ask(), 1))
        trial, step = running.pop(min(place, len(running) - 1))
        trial.report(value, step)
        frozen = study.trials[trial.number]
        assert pruner.prune(study, frozen) == HalvingPruner().prune(study, frozen)
        if ends:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            running.append((trial, step + 1))


def test_a_trial_without_reports_is_not_pruned() -> None:
    assert not judged([{1: 0.0}] * 5, {})


def test_steps_between_the_rungs_are_not_judged() -> None:
    others = [{1: 0.0, 2: 0.0}] * 5
    assert judged(others, {1: 9.0}, rungs=(1, 4))
    assert not judged(others, {1: 0.0, 2: 9.0}, rungs=(1, 4))


def test_a_factor_that_keeps_all_is_rejected() -> None:
    with pytest.raises(OptimizerError, match="reduction_factor=1"):
        HalvingPruner(1)


def judged_by_front(others, own):
    """Whether a trial of an accuracy and a cost at step 1 is pruned after others."""
    study = optuna.create_study(directions=["maximize", "minimize"])
    for values in [*others, own]:
        study.add_trial(optuna.create_trial(state=RUNNING, system_attrs={REPORTS: {1: list(values)}}))
    return HalvingPruner().prune(study, study.trials[-1])


# the front is a, b, c, d from the most accurate to the cheapest; e and f are dominated
TRADED = {"a": (0.9, 9.0), "b": (0.8, 8.0), "c": (0.6, 4.0), "d": (0.3, 1.0), "e": (0.5, 5.0), "f": (0.2, 2.0)}


@pytest.mark.parametrize(("last", "is_pruned"), [("a", False), ("d", False), ("c", True), ("b", True), ("e", True)])
def test_a_third_is_kept_of_several_objectives_the_ends_of_the_front_first(last, is_pruned) -> None:
    others = [values for name, values in TRADED.items() if name != last]
    assert judged_by_front(others, TRADED[last]) == is_pruned


def test_the_middle_of_a_front_is_kept_once_there_are_enough_trials_behind_it() -> None:
    bad = [(0.1, 9.5 + number) for number in range(3)]
    others = [*bad, *(values for name, values in TRADED.items() if name != "c")]
    assert not judged_by_front(others, TRADED["c"])
    assert judged_by_front([*bad, *TRADED.values()], TRADED["e"])


def test_no_trial_is_judged_by_front_before_there_are_three_and_equal_ones_are_kept() -> None:
    assert not judged_by_front([(0.9, 1.0)], (0.1, 9.0))
    assert not judged_by_front([(0.9, 1.0), (0.9, 1.0)], (0.9, 1.0))
    assert judged_by_front([(math.nan, 1.0), (0.9, 1.0)], (math.nan, 0.5))
