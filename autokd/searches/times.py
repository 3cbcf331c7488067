"""What a search spent its time on, told by its recorded events."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any

from autokd.database.rows import EventRow

__all__ = ["Times", "measure_times", "prepared_seconds"]

OWN_PARTS = {"teacher": "teacher_outputs", "pruned": "teacher_outputs", "assistant": "assistants"}  # by kind of event


@dataclass(frozen=True)
class Times:
    """Seconds by the clock that each part of a search took, over all its sessions.

    A session ends with its last recorded event, so the time between that and a kill is missing.

    Attributes:
        data: Reading data, and checking teacher and configuration; None for searches of earlier versions.
        assistants: Training assistants.
        teacher_outputs: Pruning the teacher, and computing the outputs of all teachers.
        search: Trials and references.
        training: Trainings at full length.
    """

    data: float | None
    assistants: float
    teacher_outputs: float
    search: float
    training: float


def measure_times(events: Iterable[EventRow], final: Collection[int] = (), data: float | None = None) -> Times:
    """Times of a search: each event ends a piece of work that began with the event before.

    Since the clock may be set meanwhile, events of `OWN_PARTS` say themselves what they took, in seconds; only in
    searches of earlier versions it is the time since the event before. What a session had begun of them when it was
    interrupted counts with the event that ends it later.

    Args:
        events: All events of the search, in order.
        final: Ids of the students that are trained at full length.
        data: Time before the search was recorded, in seconds.
    """
    seconds = {"assistants": 0.0, "teacher_outputs": 0.0, "search": 0.0, "training": 0.0}
    phase, before, worked = "search", None, 0.0  # in this session, seconds
    is_prepared, unfinished, newest = False, 0.0, "teacher_outputs"
    for event in events:
        if event.kind == "lease_acquired":  # a session begins; nobody worked before it
            if is_prepared:
                seconds[phase] += worked
            else:
                unfinished += worked
            phase, before, worked = "search", event.at, 0.0
            continue
        is_prepared = is_prepared or event.kind == "trial_opened"
        if _is_final(event.payload, final):
            phase = "training"
        if before is not None:
            took = _between(before, event.at)
            if part := OWN_PARTS.get(event.kind):
                seconds[part] += event.payload.get("seconds", took) + unfinished
                unfinished, newest = 0.0, part
            else:
                worked += took
            before = event.at
    seconds[phase] += worked
    seconds[newest] += unfinished
    return Times(data, **{part: round(each, 3) for part, each in seconds.items()})


def prepared_seconds(events: Iterable[EventRow]) -> float:
    """Seconds that assistants, the teacher and the outputs of all took before the first trial or reference.

    Outputs for full-length trainings are computed later and do not count.
    """
    times = measure_times(takewhile(lambda event: event.kind != "trial_opened", events))
    return times.assistants + times.teacher_outputs


def _is_final(payload: Any, final: Collection[int]) -> bool:
    """Whether an event is of a training at full length, of which a session then has no others."""
    return payload.get("purpose") == "final" or payload.get("student") in final


def _between(before: datetime, after: datetime) -> float:
    return max(0.0, (after - before).total_seconds())
