"""Which of its points a search returns: the best observed one, the one of which our model thinks most, or hindsight."""

import math
from bisect import bisect_right
from collections.abc import Callable

import numpy as np
import optuna
from optuna.trial import create_trial
from results import Result, Run
from runner import Trace
from tasks import Task

from autokd.optimizers.models.posterior import posterior

__all__ = ["TOLD_OF_GRAPHS", "ByModel", "Choose", "Load", "by_hindsight", "by_observation", "first_worth", "worth_at"]

Choose = Callable[[Result, int], int]
"""Of the first so many full trainings of a run, the index of the one whose point is returned."""

Load = Callable[[str], Task]
"""Gives a task by name."""

TOLD_OF_GRAPHS = "ours+graphs"
"""The peer whose model knows a task's features."""


def by_observation(result: Result, n: int) -> int:
    """The best value observed, one noisy value a training; the first of equals."""
    return int(np.argmax(result.trace.values[:n]))


def by_hindsight(result: Result, n: int) -> int:
    """The point that is worth most, which nobody can know."""
    return int(np.argmax(result.trace.worths[:n]))


class ByModel:
    """The evaluated point of largest posterior mean, by our model of the points that keep the limits.

    For the peer that is told of graphs the model is, too.

    What it has chosen it remembers, since a fit takes about a tenth of a second.

    Args:
        load: Of the runs' tasks.
    """

    def __init__(self, load: Load) -> None:
        self._load = load
        self._chosen: dict[tuple[Run, int], int] = {}

    def __call__(self, result: Result, n: int) -> int:
        """The index of the choice."""
        key = (result.run, n)
        if key not in self._chosen:
            self._chosen[key] = self._choose(result, n)
        return self._chosen[key]

    def _choose(self, result: Result, n: int) -> int:
        trace, task = result.trace, self._load(result.run.task)
        kept = [index for index, value in enumerate(trace.values[:n]) if math.isfinite(value)]
        if len(kept) < 2:
            return kept[0] if kept else 0
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize")
        space = dict(task.space)
        for index in kept:
            params, value = task.params(trace.rows[index]), trace.values[index]
            study.add_trial(create_trial(params=params, distributions=space, value=value))
        features = task.features if result.run.peer == TOLD_OF_GRAPHS else None
        estimates = posterior(study, space, range(len(kept)), n_samples=1, seed=0, features=features)
        return kept[int(np.argmax(estimates.mean))]


def worth_at(trace: Trace, seconds: float) -> float:
    """What is returned at a simulated time is worth, where there are shorter trainings.

    It is the best observed point of those that have been trained fully, for everybody. While there is none, it is the
    best one of the highest rung reached, and while nothing has finished at all, the point that finishes first.
    """
    n_full = bisect_right(trace.finished, seconds)
    if n_full:
        return trace.worths[int(np.argmax(trace.values[:n_full]))]
    shorter = [training for training in trace.shorter if training.finished <= seconds]
    if shorter:
        return max(shorter, key=lambda training: (training.rung, training.value)).worth
    return first_worth(trace)


def first_worth(trace: Trace) -> float:
    """What the point is worth whose training, full or not, finished first."""
    firsts = [(trace.finished[0], trace.worths[0])] if trace.finished else []
    firsts += [(training.finished, training.worth) for training in trace.shorter[:1]]
    return min(firsts)[1]
