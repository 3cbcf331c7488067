"""Descriptions of the events of a search, one line each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autokd.database.rows import EventRow
from autokd.searches.tables import percent

__all__ = ["event_line"]

Payload = Mapping[str, Any]


def event_line(event: EventRow, costs: Sequence[str]) -> str:
    """Description such as `2026-11-28 14:03:07  trial 7 complete: 93.10 %`; times are UTC.

    Args:
        event: The event.
        costs: Names of the objectives of its search beside the accuracy.
    """
    try:
        words = _WORDS[event.kind]({**event.payload, "costs": costs})
    except (LookupError, TypeError, ValueError):  # a kind of a later version, or a payload that was edited
        words = event.kind.replace("_", " ")
    return f"{event.at:%Y-%m-%d %H:%M:%S}  {words}"


def _trial_finished(payload: Payload) -> str:
    value = payload["value"]
    accuracy, *costs = value if isinstance(value, list) else [value]  # a list where there are several objectives
    result = payload["reason"] or "no value" if accuracy is None else percent(accuracy)
    result += "".join(f", {cost:,.0f} {name}" for cost, name in zip(costs, payload["costs"], strict=False))
    return f"{_trial(payload)} {payload['state']}: {result}"


def _trial(payload: Payload) -> str:
    return f"reference {payload['reference']}" if "reference" in payload else f"trial {payload['trial']}"


def _student(payload: Payload) -> str:
    """Whose evaluation it is; earlier versions recorded its id alone."""
    if "replicate" not in payload:
        return f"evaluation {payload['evaluation']}"
    return f"student {payload['replicate']} of {_trial(payload)}"


def _length(payload: Payload) -> str:
    """How long an evaluation trains; earlier versions did not record whether that is full length."""
    return "full length" if payload.get("purpose") == "final" else f"rung {payload['rung']}"


def _evaluation_opened(payload: Payload) -> str:
    return f"{_student(payload)} begins {_length(payload)}" + (" again" if payload["again"] else "")


def _evaluation_finished(payload: Payload) -> str:
    return f"{_student(payload)} finished {_length(payload)}: {percent(payload['metrics'].get('accuracy'))}"


def _evaluation_failed(payload: Payload) -> str:
    return f"{_student(payload)} failed at {_length(payload)}: {payload['reason']}"


_WORDS: dict[str, Callable[[Payload], str]] = {
    "search_created": lambda payload: "search created",
    "lease_acquired": lambda payload: f"process {payload['pid']} on {payload['host']} took the search",
    "lease_released": lambda payload: "the search was released",
    "status_changed": lambda payload: f"status {payload['status']}",
    "config_changed": lambda payload: "configuration changed",
    "trial_opened": lambda payload: f"{_trial(payload)} opened",
    "trial_finished": _trial_finished,
    "trial_reopened": lambda payload: f"{_trial(payload)} opened again; it had failed: {payload['reason']}",
    "student_added": lambda payload: f"{_student(payload)} drawn",
    "evaluation_opened": _evaluation_opened,
    "evaluation_finished": _evaluation_finished,
    "evaluation_failed": _evaluation_failed,
    "stop_requested": lambda payload: f"asked to stop {payload['mode']}",
    "teacher": lambda payload: f"teacher outputs: {payload['missing']} of {payload['views']} views and splits missing",
    "pruned": lambda payload: (
        f"teacher pruned, round {payload['rounds']} of {payload['of']}: {percent(payload['accuracy'])}"
    ),
    "assistant": lambda payload: (
        f"assistant {payload['name']} learnt from {' + '.join(payload['learnt_from'])}: {percent(payload['accuracy'])}"
    ),
    "fall-back": lambda payload: str(payload["line"]),
}
