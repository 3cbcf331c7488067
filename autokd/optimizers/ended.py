"""Which trials of a study have ended since one last looked: a trial that ended does not change."""

from collections.abc import Sequence
from itertools import chain

from optuna.trial import FrozenTrial

__all__ = ["EndedTrials"]


class EndedTrials:
    """The ended trials of one study that are known; a look takes no longer the more of them there are.

    A trial that changes must become another object, as it does in Optuna's storage in memory. Another study, or one
    whose every call makes new objects, is told by the trial that ended last in it.
    """

    def __init__(self) -> None:
        self._n_trials = 0
        self._open: list[int] = []  # places of those that had not ended, in order
        self._newest: tuple[int, FrozenTrial] | None = None  # a known one, with its place

    def take(self, trials: Sequence[FrozenTrial]) -> tuple[list[FrozenTrial], list[FrozenTrial]] | None:
        """Know the trials that have ended since the last call; return these, and those that have not, in order.

        Args:
            trials: All trials.

        Returns:
            None, with nothing known anew, if a known one is gone.
        """
        if len(trials) < self._n_trials or (self._newest and trials[self._newest[0]] is not self._newest[1]):
            return None
        ended, running, still_open = list[FrozenTrial](), list[FrozenTrial](), list[int]()
        for place in chain(self._open, range(self._n_trials, len(trials))):
            trial = trials[place]
            if trial.state.is_finished():
                ended.append(trial)
                self._newest = place, trial
            else:
                running.append(trial)
                still_open.append(place)
        self._n_trials, self._open = len(trials), still_open
        return ended, running
