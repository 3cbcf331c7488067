from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from inline_searches import run

from autokd.database.lease import acquire, release
from autokd.database.rows import EventRow
from autokd.searches.tables import times_line
from autokd.searches.times import Times, measure_times, prepared_seconds

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
FINAL_STUDENT = 7
Moment = tuple[float, str, dict[str, Any]]


def history(*events: Moment) -> Sequence[EventRow]:
    """Events at these seconds."""
    return [
        EventRow(number, 1, BEGIN + timedelta(seconds=at), kind, payload)
        for number, (at, kind, payload) in enumerate(events)
    ]


SEARCH: tuple[Moment, ...] = (
    (0, "search_created", {}),
    (1, "lease_acquired", {}),
    (2, "status_changed", {}),
    (32, "teacher", {"missing": 1}),
    (62, "teacher", {"missing": 0}),
    (63, "trial_opened", {}),
    (63, "evaluation_opened", {"student": 1}),
    (163, "evaluation_finished", {}),
    (165, "lease_released", {}),
)
TRAINING: tuple[Moment, ...] = (
    (1000, "lease_acquired", {}),
    (1000, "status_changed", {}),
    (1020, "teacher", {}),
    (1021, "student_added", {"purpose": "final"}),
    (1021, "evaluation_opened", {"student": FINAL_STUDENT}),
    (1321, "evaluation_finished", {}),
    (1330, "status_changed", {}),
)


def test_each_event_ends_a_piece_of_work_of_its_part() -> None:
    times = measure_times(history(*SEARCH, *TRAINING), {FINAL_STUDENT}, data=10.0)
    assert times == Times(
        data=10.0, assistants=0, teacher_outputs=60 + 20, search=1 + 1 + 100 + 2, training=1 + 300 + 9
    )


def test_pruning_a_teacher_counts_with_its_outputs() -> None:
    pruned = [(at, "pruned" if at == 32 else kind, payload) for at, kind, payload in SEARCH]
    assert measure_times(history(*pruned)) == measure_times(history(*SEARCH))


def test_training_an_assistant_is_a_part_of_its_own_that_is_over_before_the_search() -> None:
    trained = history(*((at, "assistant" if at == 32 else kind, payload) for at, kind, payload in SEARCH))
    times = measure_times(trained)
    assert (times.assistants, times.teacher_outputs) == (30, 30)
    assert prepared_seconds(trained) == prepared_seconds(history(*SEARCH)) == 60


def test_a_clock_that_is_set_while_the_teacher_is_prepared_changes_no_times() -> None:
    at_once = [
        (at, kind, payload | {"seconds": 30.0} if kind == "teacher" else payload) for at, kind, payload in SEARCH
    ]
    later = [(at + 36_000 * (number >= 4), kind, payload) for number, (at, kind, payload) in enumerate(at_once)]
    assert prepared_seconds(history(*later)) == prepared_seconds(history(*at_once)) == 60


def test_outputs_for_full_length_trainings_take_no_time_of_the_search() -> None:
    assert measure_times(history(*SEARCH, *TRAINING)).teacher_outputs == 80
    assert prepared_seconds(history(*SEARCH, *TRAINING)) == 60


def test_nobody_works_between_two_sessions() -> None:
    killed = SEARCH[:-2]
    resumed = [(at + 5000, kind, payload) for at, kind, payload in SEARCH[1:2] + SEARCH[5:]]
    found = measure_times(history(*killed, *resumed), ())
    assert (found.data, found.teacher_outputs) == (None, 60)
    assert found.search == pytest.approx(2 + 162 + 2)


def test_a_resumed_training_is_known_by_its_students() -> None:
    found = measure_times(history(*TRAINING[:2], *TRAINING[4:]), {FINAL_STUDENT})
    assert (found.search, found.training) == (0, 21 + 300 + 9)


def test_what_a_training_at_full_length_loads_before_it_begins_is_no_time_of_the_search() -> None:
    loading = [(at - 5 * (kind == "lease_acquired"), kind, payload) for at, kind, payload in TRAINING]
    searched, found = (measure_times(history(*SEARCH, *later), {FINAL_STUDENT}) for later in ((), loading))
    assert (found.search, found.training) == (searched.search, 5 + 1 + 300 + 9)


def test_times_are_one_line_without_parts_that_took_none() -> None:
    assert (
        times_line(Times(10.0, 60.0, 180.0, 300.0, 0.0))
        == "data 10 s, assistants 60 s, teacher outputs 3 min, search 5 min"
    )
    assert times_line(Times(None, 0.0, 0.0, 0.0, 0.0)) == ""


def test_the_outline_of_the_events_tells_the_times_of_all(make_problem, make_store, pretend) -> None:
    store = make_store(make_problem())
    pretend()
    for trials in (2, 3):  # two sessions that search
        run(make_problem(trials=trials), store)
    lease = acquire(store, 1)  # one that trains
    store.add_student(lease, 1, 0, "final", "d", {}, 1, 1, 1, 1)
    release(store, lease)
    final = {student.id for student in store.students(1, "final")}
    events, outline = store.events(1), store.outline(1)
    assert len(outline) < len(events)
    found, expected = (asdict(measure_times(some, final)) for some in (outline, events))
    assert found == {
        part: seconds if seconds is None else pytest.approx(seconds, abs=2e-3) for part, seconds in expected.items()
    }
    assert prepared_seconds(outline) == prepared_seconds(events)


def test_what_an_interrupted_session_had_begun_before_the_search_is_no_search() -> None:
    begun: tuple[Moment, ...] = (
        (0, "search_created", {}),
        (1, "lease_acquired", {}),
        (2, "status_changed", {}),
        (32, "teacher", {"missing": 0}),
        (82, "status_changed", {}),  # 50 s of an assistant's training, which is interrupted
        (82, "lease_released", {}),
        (500, "lease_acquired", {}),
        (501, "status_changed", {}),
        (531, "assistant", {"name": "middle", "seconds": 30.0}),
    )
    whole = history(*begun, (532, "trial_opened", {}), (632, "evaluation_finished", {}))
    assert measure_times(whole) == Times(
        data=None, assistants=1 + 50 + 30, teacher_outputs=30, search=1 + 1 + 100, training=0
    )
    assert prepared_seconds(whole) == prepared_seconds(history(*begun)) == 111
    assert measure_times(history(*begun[:7])).search == 0
