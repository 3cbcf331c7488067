"""Successive halving over rungs as an Optuna pruner."""

import math
from collections.abc import Collection

from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from autokd.optimizers.errors import OptimizerError

__all__ = ["HalvingPruner"]


class HalvingPruner(BasePruner):
    """Keeps a trial that is among the best `1 / reduction_factor` of all values reported at its step.

    Asynchronous successive halving (Li et al. 2020, https://arxiv.org/abs/1810.05934) in its stopping form: a trial is
    judged once, when it reports, against what has been reported so far, and never waits for others. Departures: the
    share is rounded up, so one trial is kept always; at a step with fewer than `reduction_factor` values nobody is
    pruned; the rungs are the steps at which trials report, and not laid down here; a NaN is pruned and counts as worst.

    It keeps no state: the answer depends on the study's trials only. A trial at its last rung is done and should not be
    judged: do not ask there, or leave that step out of `rungs`.

    Args:
        reduction_factor: Share that is kept, as its inverse, at least 2.
        rungs: Steps at which to judge, for objectives that report more often; None judges at each report.
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
        n_better = sum(sign * value > sign * own for value in values)  # a NaN is better than nothing
        return n_better >= math.ceil(len(values) / self._reduction_factor)
