"""What an archive says of a study, compared with the history that is read from all of its trials."""

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta

import numpy as np
import pytest
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from autokd.optimizers import archive
from autokd.optimizers.archive import Archive, Past
from autokd.optimizers.history import Basis, History
from autokd.optimizers.space.encoding import Encoding, keys, nearest
from autokd.optimizers.trust_region import Rules

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1), "k": CategoricalDistribution(("a", "b", "c"))}
ENCODING = Encoding.of(SPACE)
RULES = Rules.of(2, 3)
STATES = (TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING)


def trials_of(n: int, seed: int = 0) -> list[FrozenTrial]:
    """Trials of all states in the order in which they finish; some report, the last few at two steps."""
    rng = np.random.default_rng(seed)
    trials = []
    for number in range(n):
        state = STATES[rng.integers(len(STATES))]
        params = {"x": round(float(rng.random()), 2), "k": "abc"[rng.integers(3)]}
        reports = {1: float(rng.normal())} if number < 0.8 * n else {1: float(rng.normal()), 3: float(rng.normal())}
        value = float(rng.normal()) if state == TrialState.COMPLETE else None
        trial = create_trial(state=state, value=value, params=params, distributions=SPACE, intermediate_values=reports)
        trial.number = number
        trial.datetime_start = datetime(2000, 1, 1) + timedelta(seconds=max(0, number - 2))
        if state.is_finished():
            trial.datetime_complete = datetime(2000, 1, 1) + timedelta(seconds=number)
        trials.append(trial)
    return trials


def past(trials: Sequence[FrozenTrial], known: Archive) -> Past:
    return known.past(trials, len(trials), ENCODING, [1.0], RULES)


def assert_same(first: History, second: History) -> None:
    for field in fields(History):
        one, other = getattr(first, field.name), getattr(second, field.name)
        if isinstance(one, Basis) and isinstance(other, Basis):
            assert_same(one.history, other.history)
            continue
        same = (
            torch.equal(one.nan_to_num(7.0), other.nan_to_num(7.0)) if isinstance(one, torch.Tensor) else one == other
        )
        assert same, field.name


def show_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sixty finished trials be very many."""
    for name, number in {"_MANY": 60, "_N_NEAREST": 30, "_N_NEWEST": 10, "_EVERY": 8}.items():
        monkeypatch.setattr(archive, name, number)


def test_what_is_read_bit_by_bit_is_what_is_read_at_once() -> None:
    trials, known = trials_of(300), Archive()
    for n in (0, 1, 2, 5, 40, 41, 120, 250, 300):
        found, whole = past(trials[:n], known), History.of(trials[:n], ENCODING, [1.0])
        expected = Past.of(whole, RULES)
        assert_same(found.history, whole)
        assert (found.region, found.seen) == (expected.region, expected.seen)


def test_of_very_many_the_region_and_the_tried_points_are_those_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    show_few(monkeypatch)
    trials, known = trials_of(240), Archive()
    for n in (50, 90, 91, 200, 240):
        found, expected = past(trials[:n], known), Past.of(History.of(trials[:n], ENCODING, [1.0]), RULES)
        again = past(trials[:n], Archive())
        assert found.region == expected.region == again.region
        assert all(key in found.seen for key in keys(expected.history.finished))
        assert_same(found.history, again.history)
    finished, shown = expected.history.finished, found.history.finished
    best = finished[expected.history.final[:, 0].nan_to_num(-math.inf).argmax()]
    assert 30 <= len(shown) <= 40 < len(finished)
    assert torch.equal(shown[-10:], finished[-10:])
    assert set(keys(finished[nearest(finished, best[None], ENCODING.categories, 30)])) <= set(keys(shown))
    assert found.history.is_part
    assert not expected.history.is_part


def test_the_basis_of_very_many_is_that_of_the_first_ones_until_enough_more_have_finished(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    show_few(monkeypatch)
    trials, known = [trial for trial in trials_of(240) if trial.state.is_finished()], Archive()
    assert past(trials[:60], known).history.basis is None
    for n in (80, 83, 87, 88, 131):
        basis = past(trials[:n], known).history.basis
        assert basis is not None
        assert basis is past(trials[:n], known).history.basis
        whole = past(trials[: n // 8 * 8], Archive()).history
        assert_same(basis.history, replace(whole, basis=None))


def test_what_a_basis_is_asked_for_is_computed_once_for_each_key() -> None:
    history, calls = History.of(trials_of(5), ENCODING, [1.0]), list[History]()

    def count(given: History) -> int:
        calls.append(given)
        return len(calls)

    basis = Basis(history)
    assert [basis.once(key, count) for key in "abab"] == [1, 2, 1, 2]
    assert all(given is history for given in calls)


@pytest.mark.parametrize("change", ["another study", "fewer trials", "an earlier end"])
def test_what_contradicts_what_was_read_is_read_from_the_start(change: str) -> None:
    trials, known = trials_of(80), Archive()
    past(trials, known)
    changed = {"another study": trials_of(80, seed=1), "fewer trials": trials[:50], "an earlier end": [*trials]}[change]
    if change == "an earlier end":
        late = create_trial(value=9.0, params={"x": 0.5, "k": "a"}, distributions=SPACE)
        late.number, late.datetime_complete = 80, datetime(1999, 1, 1)
        changed.append(late)
    assert_same(past(changed, known).history, History.of(changed, ENCODING, [1.0]))
