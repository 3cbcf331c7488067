"""A search's rows as an in-memory Optuna study, on which samplers, pruners and plots work."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from autokd.config.fidelity_metrics import ACCURACY, FidelityMetric
from autokd.optimizers.reports import REPORTS
from autokd.searches.trial_record import TrialRecord

__all__ = ["to_study"]

_STATES = {
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


def to_study(
    trial_records: Iterable[TrialRecord],
    distributions: Mapping[str, BaseDistribution],
    metric: FidelityMetric = ACCURACY,
    costs: Sequence[str] = (),
) -> optuna.Study:
    """The study that Optuna would have after these trials; higher values are better, but lower costs.

    A trial reports the fidelity metric at rung `r` as Optuna's step `r + 1`; its final value is its accuracy. Its times
    are no clock's but count finished trials, a second each: by them a sampler orders finished trials and tells which
    of them were known when a trial was proposed, and a clock that steps back changes neither.

    Samplers need accuracies at all steps, since they model a trial's steps and its final value as one quantity; pruners
    only compare trials at one step, so that any metric serves them.

    With costs as further objectives, values and reports have one number for each objective, and the reports are where
    `autokd.optimizers.reports` finds them. The costs of a trial are the means over its students, the same at all steps.

    Args:
        trial_records: All trials of a search with their evaluations, by number from 0 without gaps.
        distributions: Every dimension of the search by name.
        metric: What trials report.
        costs: Names of the costs that are objectives beside the accuracy.
    """
    study = _empty_study(len(costs))
    for record in trial_records:
        study.add_trial(_frozen(record, distributions, metric, costs))
    return study


def _empty_study(n_costs: int) -> optuna.Study:
    """An empty in-memory study, created without a line in Optuna's log, which users read for their own studies."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        directions = [StudyDirection.MAXIMIZE, *[StudyDirection.MINIMIZE] * n_costs]
        return optuna.create_study(directions=directions, sampler=optuna.samplers.RandomSampler(seed=0))
    finally:
        optuna.logging.set_verbosity(verbosity)


def _frozen(
    record: TrialRecord, distributions: Mapping[str, BaseDistribution], metric: FidelityMetric, costs: Sequence[str]
) -> FrozenTrial:
    trial, reported = record.trial, metric.oriented(record.means(metric.name))
    steps = {rung + 1: value for rung, value in reported.items()}
    values = None if trial.value is None or trial.state == "failed" else [trial.value]
    known = [name for name in trial.parameters if name in distributions]  # what a later version still searches
    frozen = create_trial(
        state=_STATES[trial.state],
        values=values and [*values, *((trial.costs or ()) if costs else ())],
        params={name: trial.parameters[name] for name in known},
        distributions={name: distributions[name] for name in known},
        intermediate_values={} if costs else steps,
        system_attrs={REPORTS: {step: [value, *record.costs(costs)] for step, value in steps.items()}} if costs else {},
    )
    frozen.datetime_start = _moment(trial.opened_after)
    frozen.datetime_complete = None if trial.finish_order is None else _moment(trial.finish_order + 1)
    return frozen


def _moment(n_finished: int) -> datetime:
    """The logical time at which so many trials had finished."""
    return datetime(2000, 1, 1) + timedelta(seconds=n_finished)
