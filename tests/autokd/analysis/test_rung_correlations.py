import math
from dataclasses import replace

import numpy as np
import pytest

from autokd.analysis.rung_correlations import pairs, rung_correlations
from autokd.config.fidelity_metrics import ACCURACY, FIDELITY_METRICS
from autokd.searches.trial_record import TrialRecord


def with_metric(record: TrialRecord, name: str, value: float) -> TrialRecord:
    """The trial, of whose evaluations each measured this, too."""
    rows = (replace(row, metrics={**(row.metrics or {}), name: value}) for row in record.evaluations)
    return replace(record, evaluations=tuple(rows))


def ranks(values: list[float]) -> np.ndarray:
    return np.argsort(np.argsort(values)).astype(float)


def test_the_correlation_is_spearmans_with_fiellers_interval(make_record):
    first, last = [0.1, 0.5, 0.3, 0.2, 0.9, 0.7], [0.2, 0.4, 0.6, 0.1, 0.8, 0.9]
    trials = [make_record(k, [[a], [b]], "complete") for k, (a, b) in enumerate(zip(first, last, strict=True))]
    (found,) = rung_correlations(trials, (1.0, 3.0), ACCURACY)
    distances = ((ranks(first) - ranks(last)) ** 2).sum()
    rho = 1 - 6 * distances / (6 * 35)
    assert (found.rung, found.epochs, found.n) == (0, 1.0, 6)
    assert found.rho == pytest.approx(rho)
    half = 1.6449 * math.sqrt(1.06 / 3)
    assert (found.low, found.high) == pytest.approx(tuple(np.tanh(np.arctanh(rho) + np.array([-half, half]))), abs=1e-4)


def test_a_loss_that_falls_as_accuracy_grows_foresees_it(make_record):
    last = [0.5, 0.6, 0.7, 0.8, 0.65]
    trials = [with_metric(make_record(k, [[0.5], [b]], "complete"), "loss", 1 - b) for k, b in enumerate(last)]
    (found,) = rung_correlations(trials, (1.0, 3.0), FIDELITY_METRICS["loss"])
    assert found.rho == pytest.approx(1)
    assert (found.low, found.high) == (None, None)


def test_every_rung_but_the_last_is_compared_with_it(make_record):
    trials = [make_record(k, [[k / 9], [-k / 9], [k / 9]], "complete") for k in range(5)]
    found = rung_correlations(trials, (1.0, 2.0, 4.0), ACCURACY)
    assert [(one.epochs, one.rho) for one in found] == [(1.0, pytest.approx(1)), (2.0, pytest.approx(-1))]
    assert rung_correlations(trials, (1.0,), ACCURACY) == []


def test_pruned_failed_and_unmeasured_trials_are_no_pairs(make_record):
    trials = [
        make_record(0, [[0.1], [0.2]], "complete"),
        make_record(1, [[0.3]], "pruned"),
        make_record(2, [[0.4], [0.5]], "failed"),
    ]
    assert pairs(trials, 0, 1, ACCURACY) == [(0.1, 0.2)]
    assert pairs(trials, 0, 1, FIDELITY_METRICS["loss"]) == []


@pytest.mark.parametrize("accuracies", [[0.1, 0.2, 0.3], [0.5] * 8])
def test_of_few_or_equal_trials_nothing_is_said(make_record, accuracies: list[float]):
    trials = [make_record(k, [[a], [a]], "complete") for k, a in enumerate(accuracies)]
    (found,) = rung_correlations(trials, (1.0, 3.0), ACCURACY)
    assert (found.n, found.rho, found.low) == (len(accuracies), None, None)


def test_a_trial_is_compared_by_the_mean_of_its_students(make_record):
    (pair,) = pairs([make_record(0, [[0.2, 0.4], [0.6, 0.8]], "complete")], 0, 1, ACCURACY)
    assert pair == pytest.approx((0.3, 0.7))
