"""Successive halving over rungs as an Optuna pruner."""

import math
from collections.abc import Collection

from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from autokd.optimizers.errors import OptimizerError

__all__ = ["HalvingPruner"]


class HalvingPruner(BasePruner):
    """Pruner that keeps a trial if it is among the best `1 / reduction_factor` of all values reported at its step.

    Asynchronous successive halving (Li et al. 2020, https://arxiv.org/abs/1810.05934) in its stopping form: a trial is
    compared once, when it reports, with the values reported so far, and never waits for others. [ours] The number of
    kept trials is rounded up, so at least one is kept. At a step with fewer than `reduction_factor` values no trial is
    pruned. The rungs are the steps at which trials report, and need not be listed. A trial that reports NaN is pruned,
    and NaN counts as the worst value.

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
        step = trial.last_step
        if step is None:
            return False
        own = trial.intermediate_values[step]
        if math.isnan(own):
            return True
        if self._rungs is not None and step not in self._rungs:
            return False
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        values = [own, *(t.intermediate_values[step] for t in others if step in t.intermediate_values)]
        if len(values) < self._reduction_factor:
            return False
        sign = 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
        n_better = sum(sign * value > sign * own for value in values)  # comparisons with NaN are False
        return n_better >= math.ceil(len(values) / self._reduction_factor)
