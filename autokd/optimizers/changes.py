"""Which trials of a study have changed since one last looked; one that ended does not change any more."""

from collections.abc import Sequence

from optuna.trial import FrozenTrial

__all__ = ["TrialChanges"]


class TrialChanges:
    """The trials of one study that are known; a look takes no longer the more of them have ended.

    A trial that changes must become another object, as it does in Optuna's storage in memory, where both share what was
    reported. Another study, or one whose every call makes new objects, is told by the trial that ended last in it.
    """

    def __init__(self) -> None:
        self._n_trials = 0
        self._open: dict[int, FrozenTrial] = {}  # those that had not ended, by their places, in order
        self._newest: tuple[int, FrozenTrial] | None = None  # one that has ended, with its place

    def take(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial] | None:
        """Know the trials as they are now; return those that changed since the last call, then those that are new.

        Args:
            trials: All trials.

        Returns:
            None, with nothing known anew, if a known trial is gone.
        """
        n_known = self._n_trials
        if len(trials) < n_known or (self._newest and trials[self._newest[0]] is not self._newest[1]):
            return None
        changed = [place for place, known in self._open.items() if trials[place] is not known]
        places = [*changed, *range(n_known, len(trials))]
        for place in places:
            self._know(place, trials[place])
        self._n_trials = len(trials)
        return [trials[place] for place in places]

    @property
    def running(self) -> list[FrozenTrial]:
        """The known trials that have not ended, in order."""
        return list(self._open.values())

    def _know(self, place: int, trial: FrozenTrial) -> None:
        if trial.state.is_finished():
            self._open.pop(place, None)
            self._newest = place, trial
        else:
            self._open[place] = trial
