"""What is known of a study's trials, read bit by bit, so that a proposal after 100,000 trials is still quick.

A finished trial does not change, so its codes, its key and what it does to the trust region are computed once. Nothing
depends on when that was: what an archive says is a function of the trials that it is shown.

Up to `_MANY` finished trials, the model is shown all. [ours] Of more it is shown those nearest to the best one, among
which its observations lie anyway, and the newest, among which the region's own are. Which points were tried and the
state of the region still follow from all of them. The length scales of the model are then fitted after every `_EVERY`
finished trials, to those that had finished by then; in between it learns from what is new with these. With several
objectives all are always shown, since the outcome of each depends on the others.
"""

from array import array
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import nan

import numpy as np
import torch
from optuna.trial import FrozenTrial

from autokd.optimizers.changes import TrialChanges
from autokd.optimizers.history import Basis, History, Record, finish, read
from autokd.optimizers.reports import reports
from autokd.optimizers.space.encoding import Encoding, Key, keys, nearest
from autokd.optimizers.trust_region import Rules, TrustRegion, fold, update

__all__ = ["Archive", "Past"]

_MANY = 2000  # most finished trials of which the model is shown all
_N_NEAREST = 1024
_N_NEWEST = 512  # in a dozen dimensions a region ends after as many failures
_EVERY = 64  # finished trials between two fits of the length scales


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

    large: set[Key]
    small: set[Key]

    def __contains__(self, key: object) -> bool:
        return key in self.large or key in self.small


class Archive:
    """The trials of one study at a time; it begins anew when it is shown others, see `TrialChanges`."""

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
        self._changes = TrialChanges()
        self._running: dict[int, tuple[FrozenTrial, list[Record]]] = {}  # by number: no record, or one
        self._records: list[Record] = []  # in the order in which they finished, as what follows
        self._codes = array("d")
        self._values = array("d")  # for the region; NaN for none
        self._keys: set[Key] = set()
        self._region = fold((), setting.rules)
        self._basis: tuple[int, Basis] | None = None  # and of how many finished trials it is

    def absorb(self, trials: Sequence[FrozenTrial], number: int, setting: _Setting) -> list[Record] | None:
        """Take in what has finished since the last call, and return the records of what has not.

        None, with nothing taken in, if something else has changed, so that all has to be read again.

        Args:
            trials: All trials.
            number: Number of the trial that does not count.
            setting: How to read them.
        """
        changes = None if setting != self.setting else self._changes.take(trials)
        if changes is None:
            return None
        ended = [trial for trial in changes if trial.state.is_finished()]
        running = [trial for trial in self._changes.running if trial.number != number]
        changed = [trial for trial in running if not self._is_read(trial)]
        if not {step for trial in (*ended, *changed) for step in reports(trial)} <= set(setting.steps):
            return None
        new = sorted(self._read(ended), key=finish)
        if new and self._records and finish(new[0]) < finish(self._records[-1]):
            return None
        self._append(new)
        self._running |= {trial.number: (trial, self._read([trial])) for trial in changed}
        self._running = {trial.number: self._running[trial.number] for trial in running}
        return [record for _, records in self._running.values() for record in records]

    def past(self, running: Sequence[Record], reference: Sequence[float] | None) -> Past:
        """What is known, with the trials that have not finished.

        Args:
            running: Their records.
            reference: As in `History.of`.
        """
        setting, n = self.setting, len(self._records)
        if n <= _MANY or len(setting.signs) > 1:
            whole = History.of_records(
                self._records, running, setting.encoding, setting.signs, setting.steps, reference
            )
            return Past.of(whole, setting.rules)
        history = replace(self._part(n, running), basis=self._newest_basis(n // _EVERY * _EVERY))
        return Past(history, self._region, _Either(self._keys, set(keys(history.pending))))

    def _part(self, n: int, running: Sequence[Record] = ()) -> History:
        """What the model is shown of the first `n` finished trials, and of some that have not finished."""
        setting, shown = self.setting, [self._records[i] for i in self._shown(n)]
        return History.of_records(shown, running, setting.encoding, setting.signs, setting.steps, is_part=True)

    def _newest_basis(self, n: int) -> Basis:
        """The basis of the first `n` finished trials."""
        if self._basis is None or self._basis[0] != n:
            self._basis = n, Basis(self._part(n))
        return self._basis[1]

    def _read(self, trials: Iterable[FrozenTrial]) -> list[Record]:
        return read(trials, self.setting.encoding, self.setting.signs, self.setting.steps)

    def _is_read(self, running: FrozenTrial) -> bool:
        """Whether a trial that has not finished is the object that it was when it was read."""
        before = self._running.get(running.number)
        return before is not None and before[0] is running

    def _append(self, records: Sequence[Record]) -> None:
        for record in records:
            self._records.append(record)
            self._codes.extend(record.codes)
            self._values.append(nan if record.outcome.value is None else record.outcome.value)
        codes = torch.tensor([record.codes for record in records], dtype=torch.float64)
        self._keys.update(keys(codes) if records else ())
        outcomes = [record.outcome for record in records] if len(self.setting.signs) == 1 else []
        self._region = reduce(lambda region, o: update(region, o, self.setting.rules), outcomes, self._region)

    def _shown(self, n: int) -> list[int]:
        """Indices of those of the first `n` finished trials that the model is shown, in order."""
        encoding = self.setting.encoding
        codes = torch.frombuffer(self._codes, dtype=torch.float64).reshape(-1, encoding.dimension)[:n]
        values = np.frombuffer(self._values)[:n]
        best = n - 1 if np.isnan(values).all() else int(np.flatnonzero(values == np.nanmax(values))[-1])
        near = nearest(codes, codes[[best]], encoding.categories, _N_NEAREST)
        return sorted({*near.tolist(), *range(n - _N_NEWEST, n)})
