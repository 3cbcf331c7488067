from datetime import UTC, datetime
from typing import Any

import pytest

from autokd.database.rows import EventRow
from autokd.searches.event_lines import event_line

OF_TRIAL = {"evaluation": 9, "rung": 1, "replicate": 0, "purpose": "search", "trial": 3}
AT_FULL_LENGTH = {**OF_TRIAL, "rung": 0, "purpose": "final"}
OF_REFERENCE = {**OF_TRIAL, "trial": -1, "reference": "resnet"}


@pytest.mark.parametrize(
    ("kind", "payload", "line"),
    [
        ("evaluation_opened", OF_TRIAL | {"again": False}, "student 0 of trial 3 begins rung 1"),
        ("evaluation_opened", OF_REFERENCE | {"again": True}, "student 0 of reference resnet begins rung 1 again"),
        (
            "evaluation_finished",
            OF_TRIAL | {"metrics": {"accuracy": 0.9}},
            "student 0 of trial 3 finished rung 1: 90.00 %",
        ),
        ("evaluation_failed", OF_TRIAL | {"reason": "lost"}, "student 0 of trial 3 failed at rung 1: lost"),
        ("evaluation_finished", {"evaluation": 9, "rung": 1, "metrics": {}}, "evaluation 9 finished rung 1: -"),
        ("evaluation_opened", AT_FULL_LENGTH | {"again": False}, "student 0 of trial 3 begins full length"),
        (
            "evaluation_finished",
            AT_FULL_LENGTH | {"metrics": {"accuracy": 0.9}},
            "student 0 of trial 3 finished full length: 90.00 %",
        ),
        ("evaluation_failed", AT_FULL_LENGTH | {"reason": "lost"}, "student 0 of trial 3 failed at full length: lost"),
        ("trial_finished", {"trial": 3, "state": "failed", "value": None, "reason": "no"}, "trial 3 failed: no"),
        (
            "trial_finished",
            {"trial": 3, "state": "complete", "value": [0.9, 148840.0, 3550.0], "reason": None},
            "trial 3 complete: 90.00 %, 148,840 macs, 3,550 params",
        ),
        ("trial_reopened", {"trial": 3, "reason": "no"}, "trial 3 opened again; it had failed: no"),
        ("stop_requested", {"mode": "now"}, "asked to stop now"),
        ("something_new", {}, "something new"),
    ],
)
def test_an_event_is_told_by_what_a_user_knows(kind: str, payload: dict[str, Any], line: str) -> None:
    event = EventRow(1, 1, datetime(2026, 11, 28, 14, 3, 7, tzinfo=UTC), kind, payload)
    assert event_line(event, ["macs", "params"]) == f"2026-11-28 14:03:07  {line}"
