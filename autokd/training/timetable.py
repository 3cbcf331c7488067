"""How a training takes its rungs: the legs that lead to each, and the schedule of every leg."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from autokd.training.schedules import Cooldown, Cosine, Schedule, Trunk

__all__ = ["Leg", "Timetable", "timetable"]


@dataclass(frozen=True)
class Leg:
    """A stretch of a training under one schedule.

    Attributes:
        start: Steps done where it begins.
        end: Its last step.
        schedule: Of its steps.
        branch: Number of the rung to which it alone leads; None for the trunk, on which later rungs go on.
    """

    start: int
    end: int
    schedule: Schedule
    branch: int | None = None


@dataclass(frozen=True)
class Timetable:
    """The legs to every rung, one after another.

    Attributes:
        routes: For each rung its legs. The first leg of every rung is a piece of the same trunk, from step 0 on.
    """

    routes: tuple[tuple[Leg, ...], ...]

    @property
    def total(self) -> int:
        """Steps of the whole training: of the last rung."""
        return self.routes[-1][-1].end

    @property
    def stops(self) -> tuple[int, ...]:
        """Steps at which the trunk may be left, so that a segment ends there however far the training goes."""
        return tuple(route[0].end for route in self.routes)


def timetable(kind: Literal["cosine", "stable"], ends: Sequence[int], warmup: float, cooldown: float) -> Timetable:
    """The timetable of a training whose rungs end at those steps.

    "cosine" is one schedule over the whole training, in the middle of which the lower rungs are measured. "stable"
    keeps the peak and measures each rung at the end of a cooldown of its own, which takes the last part of the steps
    to that rung; the next rung goes on from where that cooldown began. Its warm-up is a part of the first rung, so that
    it does not depend on how many rungs follow.

    Args:
        kind: Of schedule.
        ends: The rungs' last steps, increasing.
        warmup: Part that warms up, of the whole training under "cosine" and of the first rung under "stable".
        cooldown: Part of the steps to a rung that cools down under "stable".
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
