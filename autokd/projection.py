"""A search's rows as an in-memory Optuna study: what samplers, pruners and plots work on."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from autokd.ladder import Ladder

__all__ = ["project"]

_STATES = {
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


def project(ladders: Iterable[Ladder], distributions: Mapping[str, BaseDistribution]) -> optuna.Study:
    """The study that Optuna would have after these trials; higher values are better.

    A trial reports its value at rung `r` as Optuna's step `r + 1`. Its times are those recorded: by them a trust region
    tells which trials were proposed for it.

    Args:
        ladders: All trials of a search with their evaluations, by number from 0 without gaps.
        distributions: Every dimension of the search by name.
    """
    study = _empty_study()
    for ladder in ladders:
        study.add_trial(_frozen(ladder, distributions))
    return study


def _empty_study() -> optuna.Study:
    """A study of our own, of which Optuna's log, which users watch for theirs, says nothing."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    finally:
        optuna.logging.set_verbosity(verbosity)


def _frozen(ladder: Ladder, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    trial = ladder.trial
    frozen = create_trial(
        state=_STATES[trial.state],
        value=trial.value if trial.state in ("complete", "pruned") else None,
        params=dict(trial.parameters),
        distributions={name: distributions[name] for name in trial.parameters},
        intermediate_values={rung + 1: value for rung, value in ladder.values.items()},
    )
    frozen.datetime_start = _naive(trial.created_at)
    frozen.datetime_complete = None if trial.finished_at is None else _naive(trial.finished_at)
    return frozen


def _naive(moment: datetime) -> datetime:
    """The moment as Optuna writes moments, without a zone; in UTC, which no change of the clocks puts out of order."""
    return moment.astimezone(UTC).replace(tzinfo=None)
