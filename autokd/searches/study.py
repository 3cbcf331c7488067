"""A search's rows as an in-memory Optuna study: what samplers, pruners and plots work on."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from autokd.config.fidelity_metrics import ACCURACY, FidelityMetric
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
    signal: FidelityMetric = ACCURACY,
) -> optuna.Study:
    """The study that Optuna would have after these trials; higher values are better.

    A trial reports its signal at rung `r` as Optuna's step `r + 1`; its final value is its accuracy. Its times are
    those recorded: by them a trust region tells which trials were proposed for it.

    Samplers need accuracies at all steps, since they model a trial's steps and its final value as one quantity; pruners
    only compare trials at one step, so that any signal serves them.

    Args:
        trial_records: All trials of a search with their evaluations, by number from 0 without gaps.
        distributions: Every dimension of the search by name.
        signal: What trials report.
    """
    study = _empty_study()
    for record in trial_records:
        study.add_trial(_frozen(record, distributions, signal))
    return study


def _empty_study() -> optuna.Study:
    """A study of our own, of which Optuna's log, which users watch for theirs, says nothing."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    finally:
        optuna.logging.set_verbosity(verbosity)


def _frozen(record: TrialRecord, distributions: Mapping[str, BaseDistribution], signal: FidelityMetric) -> FrozenTrial:
    trial, reported = record.trial, signal.oriented(record.means(signal.metric))
    frozen = create_trial(
        state=_STATES[trial.state],
        value=trial.value if trial.state in ("complete", "pruned") else None,
        params=dict(trial.parameters),
        distributions={name: distributions[name] for name in trial.parameters},
        intermediate_values={rung + 1: value for rung, value in reported.items()},
    )
    frozen.datetime_start = _naive(trial.created_at)
    frozen.datetime_complete = None if trial.finished_at is None else _naive(trial.finished_at)
    return frozen


def _naive(moment: datetime) -> datetime:
    """The moment as Optuna writes moments, without a zone; in UTC, which no change of the clocks puts out of order."""
    return moment.astimezone(UTC).replace(tzinfo=None)
