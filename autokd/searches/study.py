"""A search's rows as an in-memory Optuna study, on which samplers, pruners and plots work."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from autokd.config.fidelity_metrics import ACCURACY, FidelityMetric
from autokd.optimizers.reports import REPORTS
from autokd.searches.earlier import EarlierSearch
from autokd.searches.trial_record import TrialRecord

__all__ = ["GrowingStudy", "earlier_study", "quiet_optuna", "to_study"]

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
        trial_records: Trials of a search with their evaluations, by number. In the study they are numbered from 0.
        distributions: Every dimension of the search by name.
        metric: What trials report.
        costs: Names of the costs that are objectives beside the accuracy.
    """
    grown = GrowingStudy(distributions, metric, costs)
    for number, record in enumerate(trial_records):
        grown.put(record, number)
    return grown.study


class GrowingStudy:
    """The study of `to_study`, to which trials are added, and in which they change, one at a time.

    It is at any time what `to_study` makes of the same trials: a question to its sampler leaves nothing behind.

    Args:
        distributions: Every dimension of the search by name.
        metric: What trials report.
        costs: Names of the costs that are objectives beside the accuracy.
    """

    def __init__(
        self,
        distributions: Mapping[str, BaseDistribution],
        metric: FidelityMetric = ACCURACY,
        costs: Sequence[str] = (),
    ) -> None:
        self._distributions, self._metric, self._costs = distributions, metric, costs
        self._storage = _Storage()
        self.study = _empty_study(self._storage, len(costs))

    def put(self, record: TrialRecord, number: int) -> None:
        """Add a trial, or put it in the place of what it was before.

        Args:
            record: The trial.
            number: Its number in the study: at most one more than the last one's.
        """
        self._storage.put(_frozen(record, number, self._distributions, self._metric, self._costs))

    @contextmanager
    def asked(self) -> Iterator[Trial]:
        """A block with a new trial, whose values the study's sampler chooses; after it the trial is gone again."""
        try:
            yield self.study.ask()
        finally:
            self._storage.forget_last()

    def prunes(self, pruner: BasePruner, number: int) -> bool:
        """Whether a pruner stops the running trial of this number."""
        trial = self._storage.get_trial(number)
        try:
            return bool(pruner.prune(self.study, trial))
        finally:
            self._storage.put(trial)  # without what the pruner noted in it


def earlier_study(earlier: EarlierSearch, distributions: Mapping[str, BaseDistribution], n_costs: int) -> optuna.Study:
    """What a search learns from, as a study of trials that reported as in `to_study` and ended there.

    Args:
        earlier: The earlier search, within these dimensions.
        distributions: Every dimension of this search by name.
        n_costs: Number of objectives beside the accuracy.
    """
    study = _empty_study(InMemoryStorage(), n_costs)
    for place, trial in enumerate(earlier.trials):
        reports = {rung + 1: list(values) for rung, values in trial.reports}
        frozen = create_trial(
            state=TrialState.PRUNED if reports else TrialState.FAIL,
            params=trial.parameters,
            distributions={name: distributions[name] for name in trial.parameters},
            intermediate_values={} if n_costs else {step: values[0] for step, values in reports.items()},
            system_attrs={REPORTS: reports} if n_costs else {},
        )
        frozen.datetime_start, frozen.datetime_complete = _moment(place), _moment(place + 1)
        study.add_trial(frozen)
    return study


class _Storage(InMemoryStorage):
    """Optuna's storage of one study, whose trials come from elsewhere and have their number as id."""

    def put(self, trial: FrozenTrial) -> None:
        """Add a trial, or put it in the place of the one of the same number."""
        study, number = self._studies[0], trial.number
        if number == len(study.trials):
            self._max_trial_id = number
            self._trial_id_to_study_id_and_number[number] = 0, number
            study.trials.append(trial)
        else:
            study.trials[number] = trial
        if trial.state == TrialState.COMPLETE and len(study.directions) == 1:
            best = None if study.best_trial_id is None else study.trials[study.best_trial_id]
            if best is None or (trial.value, -number) > (best.value, -best.number):
                study.best_trial_id = number

    def forget_last(self) -> None:
        """Remove the last trial, and what was noted about the study as a whole."""
        study = self._studies[0]
        study.trials.pop()
        del self._trial_id_to_study_id_and_number[self._max_trial_id]
        self._max_trial_id -= 1
        study.user_attrs, study.system_attrs, study.param_distribution = {}, {}, {}


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """A block without a line in Optuna's log, which users read for their own studies."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _empty_study(storage: InMemoryStorage, n_costs: int) -> optuna.Study:
    directions = [StudyDirection.MAXIMIZE, *[StudyDirection.MINIMIZE] * n_costs]
    with quiet_optuna():
        sampler = optuna.samplers.RandomSampler(seed=0)
        return optuna.create_study(storage=storage, directions=directions, sampler=sampler)


def _frozen(
    record: TrialRecord,
    number: int,
    distributions: Mapping[str, BaseDistribution],
    metric: FidelityMetric,
    costs: Sequence[str],
) -> FrozenTrial:
    trial, reported = record.trial, metric.oriented(record.means(metric.name))
    steps = {rung + 1: value for rung, value in reported.items()}
    values = None if trial.value is None or trial.state == "failed" else [trial.value]
    known = [name for name in trial.parameters if name in distributions]  # what a later version still searches
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=_STATES[trial.state],
        value=None,
        values=values and [*values, *((trial.costs or ()) if costs else ())],
        datetime_start=_moment(trial.opened_after),
        datetime_complete=None if trial.finish_order is None else _moment(trial.finish_order + 1),
        params={name: trial.parameters[name] for name in known},
        distributions={name: distributions[name] for name in known},
        intermediate_values={} if costs else steps,
        user_attrs={},
        system_attrs={REPORTS: {step: [value, *record.costs(costs)] for step, value in steps.items()}} if costs else {},
    )


def _moment(n_finished: int) -> datetime:
    """The logical time at which so many trials had finished."""
    return datetime(2000, 1, 1) + timedelta(seconds=n_finished)
