"""What is known of a study's trials, read bit by bit, so that a proposal after 100,000 trials is still quick.

A finished trial does not change, so its codes, its key and what it does to the trust region are computed once. Nothing
depends on when that was: what an archive says is a function of the trials that it is shown.

Up to `_MANY` finished trials, the model is shown all. [ours] Of more it is shown those nearest to the best one, among
which its observations lie anyway, and the newest, among which the region's own are. Which points were tried and the
state of the region still follow from all of them. With several objectives all are always shown, since the outcome of
each depends on the others.
"""

from array import array
from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import reduce
from math import nan

import numpy as np
import torch
from optuna.trial import FrozenTrial

from autokd.optimizers.ended import EndedTrials
from autokd.optimizers.history import History, Record, finish, read
from autokd.optimizers.reports import reports
from autokd.optimizers.space.encoding import Encoding, Key, keys, nearest
from autokd.optimizers.trust_region import Outcome, Rules, TrustRegion, fold, update

__all__ = ["Archive", "Past"]

_MANY = 2000  # most finished trials of which the model is shown all
_N_NEAREST = 1024
_N_NEWEST = 512  # in a dozen dimensions a region ends after as many failures


@dataclass(frozen=True)
class Past:
    """All trials but the one to be proposed.

    Attributes:
        history: What the model is shown of them.
        region: State of the trust region after the finished ones.
        seen: Keys of finished and pending points.
    """

    history: History
    region: TrustRegion
    seen: Container[Key]

    @classmethod
    def of(cls, history: History, rules: Rules) -> "Past":
        """The past that a whole history tells."""
        seen = {*keys(history.finished), *keys(history.pending)}
        return cls(history, fold(history.outcomes, rules), seen)


@dataclass(frozen=True)
class _Setting:
    """How trials are read."""

    encoding: Encoding
    signs: tuple[float, ...]
    rules: Rules
    steps: tuple[int, ...]


@dataclass(frozen=True)
class _Either(Container[Key]):
    """The keys in any of two sets, of which the large one is not copied."""

    sets: tuple[set[Key], set[Key]]

    def __contains__(self, key: object) -> bool:
        return any(key in each for each in self.sets)


class Archive:
    """The trials of one study at a time; it begins anew when it is shown others, see `EndedTrials`."""

    def __init__(self) -> None:
        self._finished: _Finished | None = None

    def past(
        self,
        trials: Sequence[FrozenTrial],
        number: int,
        encoding: Encoding,
        signs: Sequence[float],
        rules: Rules,
        reference: Sequence[float] | None = None,
    ) -> Past:
        """What is known when a trial is proposed.

        Args:
            trials: All trials of a study.
            number: Number of the trial to be proposed, which does not count.
            encoding: Encoding of the search space.
            signs: For each objective, 1 to maximise and -1 to minimise.
            rules: Constants of the trust region.
            reference: As in `History.of`.
        """
        before = () if self._finished is None else self._finished.setting.steps
        finished, setting = self._finished, _Setting(encoding, tuple(signs), rules, before)
        running = None if finished is None else finished.absorb(trials, number, setting)
        if finished is None or running is None:
            steps = {step for trial in trials if trial.number != number for step in reports(trial)}
            finished = _Finished(_Setting(encoding, tuple(signs), rules, tuple(sorted(steps))))
            running = finished.absorb(trials, number, finished.setting)
            assert running is not None  # nothing contradicts what it knows, which is nothing
        self._finished = finished
        return finished.past(running, reference)


class _Finished:
    """The finished trials of a study, all of which are read in the same way."""

    def __init__(self, setting: _Setting) -> None:
        self.setting = setting
        self._ended = EndedTrials()
        self._records: list[Record] = []  # in the order in which they finished, as what follows
        self._codes = array("d")
        self._values = array("d")  # for the region; NaN for none
        self._keys: set[Key] = set()
        self._region = fold((), setting.rules)

    def absorb(self, trials: Sequence[FrozenTrial], number: int, setting: _Setting) -> list[Record] | None:
        """Take in what has finished since the last call, and return the records of what has not.

        None, with nothing taken in, if something else has changed, so that all has to be read again.

        Args:
            trials: All trials.
            number: Number of the trial that does not count.
            setting: How to read them.
        """
        places = self._ended.changed(trials)
        if setting != self.setting or places is None:
            return None
        changed = [trials[place] for place in places if trials[place].number != number]
        if not {step for trial in changed for step in reports(trial)} <= set(setting.steps):
            return None
        records = read(changed, setting.encoding, setting.signs, setting.steps)
        new = sorted((record for record in records if record.trial.state.is_finished()), key=finish)
        if new and self._records and finish(new[0]) < finish(self._records[-1]):
            return None
        self._ended.keep(trials, places)
        self._append(new)
        return [record for record in records if not record.trial.state.is_finished()]

    def past(self, running: Sequence[Record], reference: Sequence[float] | None) -> Past:
        """What is known, with the trials that have not finished.

        Args:
            running: Their records.
            reference: As in `History.of`.
        """
        encoding, signs = self.setting.encoding, self.setting.signs
        is_part = len(self._records) > _MANY and len(signs) == 1
        shown = [self._records[i] for i in self._shown()] if is_part else self._records
        history = History.of_records(shown, running, encoding, signs, self.setting.steps, reference, is_part)
        if not is_part:
            return Past.of(history, self.setting.rules)
        return Past(history, self._region, _Either((self._keys, set(keys(history.pending)))))

    def _append(self, records: Sequence[Record]) -> None:
        for record in records:
            self._records.append(record)
            self._codes.extend(record.codes)
            self._values.append(nan if record.region_value is None else record.region_value)
        codes = torch.tensor([record.codes for record in records], dtype=torch.float64)
        self._keys.update(keys(codes) if records else ())
        outcomes = map(_outcome, records) if len(self.setting.signs) == 1 else ()
        self._region = reduce(lambda region, o: update(region, o, self.setting.rules), outcomes, self._region)

    def _shown(self) -> list[int]:
        """Indices of the finished trials that the model is shown, in order."""
        encoding, n = self.setting.encoding, len(self._records)
        codes = torch.frombuffer(self._codes, dtype=torch.float64).reshape(n, encoding.dimension)
        values = np.frombuffer(self._values)
        best = n - 1 if np.isnan(values).all() else int(np.flatnonzero(values == np.nanmax(values))[-1])
        near = nearest(codes, codes[best], encoding.categories, _N_NEAREST)
        return sorted({*near.tolist(), *range(n - _N_NEWEST, n)})


def _outcome(record: Record) -> Outcome:
    trial = record.trial
    return Outcome(record.region_value, not record.failed, trial.datetime_start, trial.datetime_complete)
