"""Timetable of a training with rungs: the legs that lead to each rung, and the schedule of each leg."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Literal

from autokd.training.schedules import Cooldown, Cosine, Schedule, Trunk

__all__ = ["Leg", "Timetable", "new_epochs", "segment_ends", "step_at", "timetable"]

_ENOUGH = 0.5  # of the last epoch, or of a shorter cooldown, over which a training is averaged


@dataclass(frozen=True)
class Leg:
    """A part of a training with one schedule.

    Attributes:
        start: Number of steps before the leg.
        end: Last step of the leg.
        schedule: Schedule of its steps.
        branch: Number of the rung if the leg leads to that rung only; None for the trunk, which later rungs continue.
    """

    start: int
    end: int
    schedule: Schedule
    branch: int | None = None


@dataclass(frozen=True)
class Timetable:
    """Legs to each rung.

    Attributes:
        routes: The legs to each rung, in order. The first leg to every rung is part of the same trunk, from step 0 on.
    """

    routes: tuple[tuple[Leg, ...], ...]

    @property
    def total(self) -> int:
        """Number of steps of the whole training, up to the last rung."""
        return self.routes[-1][-1].end

    def steps_to(self, rung: int) -> int:
        """Number of steps that a training takes to a rung after it has reached the one before."""
        start = self.routes[rung - 1][0].end if rung else 0  # where the rungs' routes part
        return self.routes[rung][-1].end - start

    def recent(self, rung: int, steps_per_epoch: int) -> list[int]:
        """Steps of each of the last segments to a rung, over which the training is averaged there.

        They are at least half of the last epoch, or of the last leg if that is shorter, and as few as possible.
        """
        route = self.routes[rung]
        ends = [segment_ends(leg.start, leg.end, steps_per_epoch, self.stops(leg)) for leg in route]
        segments = [after - before for before, after in pairwise([0, *chain.from_iterable(ends)])]
        enough, recent = _ENOUGH * min(steps_per_epoch, route[-1].end - route[-1].start), list[int]()
        while segments and (not recent or sum(recent) < enough):
            recent.insert(0, segments.pop())
        return recent

    def stops(self, leg: Leg) -> tuple[int, ...]:
        """Steps of a leg at which a route may leave it. A segment must end there, however far the training goes."""
        return () if leg.branch is not None else tuple(route[0].end for route in self.routes)


def segment_ends(start: int, end: int, steps_per_epoch: int, stops: Iterable[int] = ()) -> list[int]:
    """Steps at which the segments of a training from one step to another end: with each epoch, at stops, at the end.

    Args:
        start: Number of steps before the first segment.
        end: Last step of the last one.
        steps_per_epoch: Number of steps of an epoch.
        stops: Further steps at which a segment ends; those outside do not matter.
    """
    return sorted({step for step in (*range(0, end, steps_per_epoch), *stops, end) if start < step <= end})


def step_at(epochs: float, steps_per_epoch: int) -> int:
    """Number of steps in so many epochs, at least 1."""
    return max(1, round(epochs * steps_per_epoch))


def timetable(kind: Literal["cosine", "stable"], ends: Sequence[int], warmup: float, cooldown: float) -> Timetable:
    """Timetable of a training whose rungs end at the given steps.

    "cosine" is one schedule over the whole training, during which the lower rungs are evaluated. "stable" keeps the
    peak and evaluates each rung at the end of its own cooldown, the last part of the steps to that rung; the next rung
    continues from the beginning of that cooldown. The warm-up of "stable" is a share of the first rung, so that it does
    not depend on the number of rungs.

    Args:
        kind: Kind of schedule.
        ends: Last step of each rung, increasing.
        warmup: Share of the steps for the warm-up: of the whole training with "cosine", of the first rung with
            "stable".
        cooldown: Share of the steps to a rung for its cooldown, with "stable".
    """
    if kind == "cosine":
        schedule = Cosine(ends[-1], warmup)
        return Timetable(tuple((Leg(0, end, schedule),) for end in ends))
    trunk = Trunk(round(warmup * ends[0]))
    starts = [end - round(cooldown * end) for end in ends]
    return Timetable(
        tuple(
            (Leg(0, start, trunk), Leg(start, end, Cooldown(trunk, start, end), rung))
            for rung, (start, end) in enumerate(zip(starts, ends, strict=True))
        )
    )


def new_epochs(kind: Literal["cosine", "stable"], rungs: Sequence[float], cooldown: float) -> tuple[float, ...]:
    """Epochs that are trained to each rung, beyond those to the rung before.

    With "stable" the cooldown of the rung before is trained again, at the peak.

    Args:
        kind: Kind of schedule.
        rungs: Epochs at each rung, increasing.
        cooldown: Share of the epochs to a rung for its cooldown, with "stable".
    """
    kept = 1 - cooldown if kind == "stable" else 1.0
    return (rungs[0], *(rung - kept * before for before, rung in pairwise(rungs)))
