"""Successive halving over rungs as an Optuna pruner."""

import math
from collections.abc import Collection

import numpy as np
from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from autokd.optimizers.arrays import Array
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

    The pruner keeps no state: the result depends on the study's trials only. A trial at its last rung has finished and
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
        others = [reports(t) for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        values = [own[step], *(reported[step] for reported in others if step in reported)]
        if len(values) < self._reduction_factor:
            return False
        signs = [1.0 if direction == StudyDirection.MAXIMIZE else -1.0 for direction in study.directions]
        return _n_better(np.array(values) * signs) >= math.ceil(len(values) / self._reduction_factor)


def _n_better(values: Array) -> int:
    """Number of rows that are better than the first one, which wins ties; larger values are better."""
    if values.shape[1] == 1:
        return int((values > values[0]).sum())  # comparisons with NaN are False
    return int(order_by_fronts(values).tolist().index(0))
