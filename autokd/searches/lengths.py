"""Lengths of trainings that follow from the time that they may take, and from a measured speed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["FullLength", "affordable_epochs", "scaled_rungs"]

RESERVE = 0.2
"""Share of the time of full-length trainings that is not planned with: for validation, and for a machine that slows.

Where others share its hardware, their epochs took up to a quarter longer than the search's, by which they are planned.
"""

SEARCH_RESERVE = 0.2
"""The same for the trials. Their speed was measured on its own, before two workers shared the machine's memory."""

CLIMBING = 0.5
"""Share of the trials that are expected to climb to the next rung where some are pruned. Halving keeps a third, but the
first trials are not pruned."""

SHORTEST = 0.25
"""Smallest factor on the rungs: shorter trials would tell little of the final accuracy."""


@dataclass(frozen=True)
class FullLength:
    """Length of a search's full-length trainings, decided once before the first of them.

    Attributes:
        seconds: Time in which all of them together are to end, `final.seconds`.
        prepared_seconds: Part of it that the teacher's missing outputs took.
        seconds_per_epoch: Time of an epoch in one worker: of the slowest family that is trained, as its own evaluations
            in the search took while they trained.
        images_per_second: The same as a speed; None if the number of training samples is not recorded.
        trainings: Number of trainings.
        workers: Number of trainings that run at the same time.
        trial: Number of the trial whose family wins.
        affordable: Epochs for which the time suffices; `final.epochs` may ask for fewer.
    """

    seconds: float
    prepared_seconds: float
    seconds_per_epoch: float
    images_per_second: float | None
    trainings: int
    workers: int
    trial: int
    affordable: float

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FullLength":
        """The length among recorded values."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})

    def epochs(self, most: float) -> float:
        """Length of each training in epochs: what the time suffices for, at least 1 and at most `most`."""
        return min(most, max(1.0, self.affordable))

    def describe(self, most: float) -> str:
        """Length and reason, such as `6.4 epochs in 540 s at 660 images/s`."""
        speed = f"{self.seconds_per_epoch:.3g} s an epoch"
        if self.images_per_second is not None:
            speed = f"{self.images_per_second:.0f} images/s"
        epochs, time = self.epochs(most), f"{self.seconds:g} s at {speed}"
        length = f"{epochs:g} epoch{'' if epochs == 1 else 's'}"
        if epochs == self.affordable:
            return f"{length} in {time}"
        return f"{length}, the {'least' if epochs > self.affordable else 'most'}; {time} allow {self.affordable:g}"


def affordable_epochs(seconds: float, seconds_per_epoch: float, trainings: int, workers: int) -> float:
    """Epochs for which the time suffices, in tenths: `(1 - RESERVE) seconds / (rounds x seconds_per_epoch)`.

    Trainings of equal length take `rounds = ceil(trainings / workers)` times as long as one of them.

    Args:
        seconds: Time for all trainings; nothing suffices for less than 0.
        seconds_per_epoch: Time of an epoch in one worker, greater than 0.
        trainings: Number of trainings, all of the same number of epochs.
        workers: Number of trainings that run at the same time.
    """
    rounds = math.ceil(trainings / workers)
    return math.floor(10 * (1 - RESERVE) * max(seconds, 0.0) / (rounds * seconds_per_epoch)) / 10


def scaled_rungs(
    rungs: Sequence[float],
    new_epochs: Sequence[float],
    seconds: float,
    seconds_per_epoch: float,
    trials: int,
    others: int,
    prunes: bool,
) -> tuple[float, ...]:
    """The rungs, all shortened by one factor if that many trials would not fit into the time.

    A trial trains `new_epochs[k]` to rung `k`; where trials are pruned, `CLIMBING` of them are expected to do so from
    each rung to the next. The factor is `(1 - SEARCH_RESERVE) seconds / time`, at least `SHORTEST` and at most 1.

    Args:
        rungs: Epochs at each rung, as configured.
        new_epochs: Epochs that are trained to each rung, beyond those to the rung before.
        seconds: Time of all workers together; nothing fits into less than 0.
        seconds_per_epoch: Time of an epoch in one worker.
        trials: Number of trainings that are to fit and may be pruned: trials, times the students of each.
        others: Number of trainings that are never pruned, such as references.
        prunes: Whether trials are pruned.
    """
    share = CLIMBING if prunes else 1.0
    epochs = sum((trials * share**rung + others) * new for rung, new in enumerate(new_epochs))
    factor = (1 - SEARCH_RESERVE) * max(seconds, 0.0) / (epochs * seconds_per_epoch)
    factor = min(1.0, max(SHORTEST, factor))
    return tuple(rungs) if factor == 1 else tuple(float(f"{factor * rung:.3g}") for rung in rungs)
