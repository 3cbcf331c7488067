"""Successive halving over rungs as an Optuna pruner."""

import math
from array import array
from collections.abc import Collection, Sequence

import numpy as np
from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from autokd.optimizers.arrays import Array
from autokd.optimizers.ended import EndedTrials
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

    The result depends on the study's trials only: what the pruner keeps is what it read of trials that ended, see
    `EndedTrials`. A trial at its last rung has finished and
    should not be pruned: do not call `prune` there, or omit that step from `rungs`.

    Args:
        reduction_factor: Inverse of the share of trials to keep, at least 2.
        rungs: Steps at which trials may be pruned, for objectives that report more often; None for all steps.
    """

    def __init__(self, reduction_factor: int = 3, rungs: Collection[int] | None = None) -> None:
        if reduction_factor < 2:
            raise OptimizerError(f"`reduction_factor >= 2` must hold, but got {reduction_factor=}.")
        self._reduction_factor = reduction_factor
        self._rungs = None if rungs is None else frozenset(rungs)
        self._reported = _Reported()

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
            others = self._reported.at(step, trials, trial.number)
        else:  # in order, since of equal trials the first counts as the better one
            of_others = (reports(other).get(step) for other in trials if other.number != trial.number)
            others = np.array([values for values in of_others if values]).reshape(-1, len(signs))
        values = np.concatenate([[own[step]], others]) * signs
        return len(values) >= self._reduction_factor and _n_better(values) >= math.ceil(
            len(values) / self._reduction_factor
        )


class _Reported:
    """What the trials of a study of one objective reported at each step; of those that ended it is read once."""

    def __init__(self) -> None:
        self._ended = EndedTrials()
        self._values: dict[int, array[float]] = {}  # of ended trials, by step

    def at(self, step: int, trials: Sequence[FrozenTrial], number: int) -> Array:
        """Values that the trials reported at a step, `n x 1`.

        Args:
            step: The step.
            trials: All trials of the study.
            number: Number of the running trial that is left out.
        """
        places = self._ended.changed(trials)
        if places is None:
            self._ended, self._values = EndedTrials(), {}
            places = list(range(len(trials)))
        self._ended.keep(trials, places)
        running = array("d")
        for trial in (trials[place] for place in places):
            if trial.state.is_finished():
                for of_step, value in trial.intermediate_values.items():
                    self._values.setdefault(of_step, array("d")).append(value)
            elif trial.number != number and step in trial.intermediate_values:
                running.append(trial.intermediate_values[step])
        values: Array = np.array(self._values.get(step, array("d")) + running)
        return values[:, None]


def _n_better(values: Array) -> int:
    """Number of rows that are better than the first one, which wins ties; larger values are better."""
    if values.shape[1] == 1:
        return int((values > values[0]).sum())  # comparisons with NaN are False
    return int(order_by_fronts(values).tolist().index(0))
