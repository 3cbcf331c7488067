"""Which trials of a study have changed since one last looked: a trial that ended does not."""

from collections.abc import Iterable, Sequence
from itertools import chain, compress, count, repeat
from operator import is_not

from optuna.trial import FrozenTrial

__all__ = ["EndedTrials"]


class EndedTrials:
    """The ended trials of one study that are known.

    A trial that changes must become another object, as it does in Optuna's storage in memory. Where every call makes
    new objects, all trials have always changed.
    """

    def __init__(self) -> None:
        self._known: list[FrozenTrial | None] = []  # by place in the study; None for one that may change

    def changed(self, trials: Sequence[FrozenTrial]) -> list[int] | None:
        """Places of the trials that are not known; None if a known one is gone, as it is in another study."""
        places = list(compress(count(), map(is_not, trials, chain(self._known, repeat(None)))))
        return None if len(trials) < len(self._known) or any(map(self._is_known, places)) else places

    def keep(self, trials: Sequence[FrozenTrial], places: Iterable[int]) -> None:
        """Know the trials at these places that have ended.

        Args:
            trials: All trials.
            places: Those that `changed`.
        """
        self._known += [None] * (len(trials) - len(self._known))
        for place in places:
            if trials[place].state.is_finished():
                self._known[place] = trials[place]

    def _is_known(self, place: int) -> bool:
        return place < len(self._known) and self._known[place] is not None
