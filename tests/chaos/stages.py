"""The stages of a search, told by its events."""

from collections.abc import Sequence
from typing import Literal, get_args

from autokd.database.rows import EventRow

__all__ = ["STAGES", "Stage", "stage_of"]

Stage = Literal["start", "pruning", "panel", "outputs", "trials", "reference", "training", "export"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""In the order in which a search comes through them: data are read and the teacher is asked; the teacher is pruned;
assistants are trained; teachers' outputs are stored; trials; a reference; training at full length; export."""


def stage_of(events: Sequence[EventRow], prunings: int = 0, assistants: int = 0) -> Stage:
    """The stage that a search with these events is in.

    Args:
        events: All its events.
        prunings: Number of rounds in which its teacher is pruned.
        assistants: Number of assistants that it trains.
    """
    kinds = [event.kind for event in events]
    if "search_created" not in kinds:
        return "start"
    if kinds.count("pruned") < prunings:
        return "pruning"
    if kinds.count("assistant") < assistants:
        return "panel"
    opened = [event for event in events if event.kind == "trial_opened"]
    if not opened:
        return "outputs"
    statuses = [event.payload["status"] for event in events if event.kind == "status_changed"]
    if "finished" in statuses:
        is_trained = statuses[-1] == "finished" and _has_final_student(events) and not _n_open(events)
        return "export" if is_trained else "training"
    return "reference" if "reference" in opened[-1].payload else "trials"


def _n_open(events: Sequence[EventRow]) -> int:
    """Number of evaluations that were opened and have not ended."""
    opened = {event.payload["evaluation"] for event in events if event.kind == "evaluation_opened"}
    ended = {event.payload["evaluation"] for event in events if event.kind == "evaluation_finished"}
    return len(opened - ended)


def _has_final_student(events: Sequence[EventRow]) -> bool:
    return any(event.kind == "student_added" and event.payload["purpose"] == "final" for event in events)
