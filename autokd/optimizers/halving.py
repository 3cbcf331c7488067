"""Successive halving over rungs as an Optuna pruner."""

import math
from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Sequence

import numpy as np
from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from autokd.optimizers.changes import TrialChanges
from autokd.optimizers.errors import OptimizerError
from autokd.optimizers.hypervolume import order_by_fronts
from autokd.optimizers.reports import reports

__all__ = ["HalvingPruner"]


class HalvingPruner(BasePruner):
    """Pruner that keeps a trial if it is among the best `1 / reduction_factor` of all values reported at its step.

    Asynchronous successive halving (Li et al. 2020, https://arxiv.org/abs/1810.05934) in its stopping form: a trial is
    compared once, when it reports, with the values reported so far, and never waits for others. [ours] The number of
    kept trials is rounded up, so at least one is kept. At a step with fewer than `reduction_factor` values no trial is
    pruned. The rungs are the steps at which trials report, and need not be listed. A trial that reports NaN is pruned,
    and NaN counts as the worst value.

    With several objectives, the best are those on the first fronts, and of the front that is kept in part those that
    spread over it most evenly, as in multi-objective ASHA (Schmucker et al. 2021, https://arxiv.org/abs/2106.12639);
    see `order_by_fronts`. The one that is best in the first objective alone is always kept. Trials report as `reports`
    says.

    The result depends on the study's trials only: what the pruner keeps is what it read of them, see `TrialChanges`. A
    trial at its last rung has finished and should not be pruned: do not call `prune` there, or omit that step from
    `rungs`.

    Args:
        reduction_factor: Inverse of the share of trials to keep, at least 2.
        rungs: Steps at which trials may be pruned, for objectives that report more often; None for all steps.
    """

    def __init__(self, reduction_factor: int = 3, rungs: Collection[int] | None = None) -> None:
        if reduction_factor < 2:
            raise OptimizerError(f"`reduction_factor >= 2` must hold, but got {reduction_factor=}.")
        self._reduction_factor = reduction_factor
        self._rungs = None if rungs is None else frozenset(rungs)
        self._reported = {sign: _Reported(sign) for sign in (1.0, -1.0)}

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial should stop at its last reported step."""
        own = reports(trial)
        if not own:
            return False
        step = max(own)
        if any(map(math.isnan, own[step])):
            return True
        if self._rungs is not None and step not in self._rungs:
            return False
        signs = [1.0 if direction == StudyDirection.MAXIMIZE else -1.0 for direction in study.directions]
        trials = study.get_trials(deepcopy=False)
        if len(signs) == 1:
            n, n_better = self._reported[signs[0]].rank(step, own[step][0], trials)
        else:  # in order, since of equal trials the first counts as the better one
            of_others = (reports(other).get(step) for other in trials if other.number != trial.number)
            values = np.array([own[step], *filter(None, of_others)]) * signs
            n, n_better = len(values), int(order_by_fronts(values).tolist().index(0))
        return n >= self._reduction_factor and n_better >= math.ceil(n / self._reduction_factor)


class _Reported:
    """What the trials of a study of one objective reported at each step; a trial is read when it has changed.

    Args:
        sign: 1 to maximise and -1 to minimise.
    """

    def __init__(self, sign: float) -> None:
        self._sign = sign
        self._forget_all()

    def _forget_all(self) -> None:
        self._changes = TrialChanges()
        self._merits: dict[int, array[float]] = {}  # by step; in order, larger ones are better
        self._running: dict[int, dict[int, float]] = {}  # what each trial that has not ended had reported, by number

    def rank(self, step: int, own: float, trials: Sequence[FrozenTrial]) -> tuple[int, int]:
        """Number of values that the trials reported at a step, and of those that are better than one of them.

        Args:
            step: The step.
            own: A value that was reported there; it wins ties.
            trials: All trials of the study.
        """
        changes = self._changes.take(trials)
        if changes is None:
            self._forget_all()
            changes = self._changes.take(trials)
            assert changes is not None  # nothing is known that could be gone
        for trial in changes:
            self._forget(trial)
            self._read(trial)
        merits = self._merits[step]
        return len(merits), len(merits) - bisect_right(merits, self._merit(own))

    def _forget(self, trial: FrozenTrial) -> None:
        for step, value in self._running.pop(trial.number, {}).items():
            merits = self._merits[step]
            merits.pop(bisect_left(merits, self._merit(value)))

    def _read(self, trial: FrozenTrial) -> None:
        reported = dict(trial.intermediate_values)
        for step, value in reported.items():
            insort(self._merits.setdefault(step, array("d")), self._merit(value))
        if not trial.state.is_finished():
            self._running[trial.number] = reported

    def _merit(self, value: float) -> float:
        """The value such that larger is better and NaN is worst."""
        return -math.inf if math.isnan(value) else self._sign * value
