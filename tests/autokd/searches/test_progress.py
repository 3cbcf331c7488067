from dataclasses import asdict, replace
from typing import Any

import pytest
from measured_progress import measure_progress

from autokd.database.rows import SearchRow
from autokd.searches.progress import best_trial_record, ranked
from autokd.searches.under_way import RunningEvaluation


@pytest.fixture
def search(make_problem, make_store) -> SearchRow:
    """Ten trials by two workers."""
    problem = make_problem(trials=10, workers={"engine": "local", "count": 2})
    return make_store(problem).search("first")


def finished(make_record, number: int, accuracies: list[list[float]], state: str = "complete", **options: Any):
    return make_record(number, accuracies, state, finish_order=number, **options)


def test_trials_are_counted_by_their_state(search: SearchRow, make_record):
    states = ["complete", "complete", "pruned", "failed", "running"]
    trial_records = [finished(make_record, number, [[0.5]], state) for number, state in enumerate(states)]
    progress = measure_progress(search, trial_records)
    assert (progress.complete, progress.pruned, progress.failed, progress.running) == (2, 1, 1, 1)
    assert (progress.finished, progress.trials, progress.name) == (4, 10, "first")
    assert progress.teacher_accuracy == 0.99


def test_a_running_search_tells_where_each_evaluation_is(search: SearchRow, make_record):
    record, waits = make_record(3, [[0.5]]), {"state": "running", "worker": None, "reason": "no worker"}
    record = replace(record, evaluations=(replace(record.evaluations[0], **waits),))
    expected = RunningEvaluation(3, None, 0, epochs=1.0, worker=None, reason="no worker", key=record.evaluations[0].key)
    assert measure_progress(replace(search, status="running"), [record]).evaluations == (expected,)
    assert measure_progress(replace(search, status="interrupted"), [record]).evaluations == ()


def test_trials_that_ended_hardly_better_than_guessing_are_counted(search: SearchRow, make_record):
    def guessing(number: int, balanced: float, state: str = "complete"):
        record = finished(make_record, number, [[0.5], [0.5]], state)
        rows = [
            replace(row, metrics={"balanced_accuracy": balanced, "absent_classes": 5}) for row in record.evaluations
        ]
        return replace(record, evaluations=tuple(rows))

    assert search.facts["classes"] == 10
    records = [guessing(0, 0.23), guessing(1, 0.25), guessing(2, 0.2, "pruned"), guessing(3, 0.2, "failed")]
    assert measure_progress(search, [*records, finished(make_record, 4, [[0.1]])]).at_chance == 2  # of 5 classes there


def test_the_best_climbed_highest_then_has_the_highest_value_then_is_the_first(make_record):
    trial_records = [
        finished(make_record, 0, [[0.99]], "pruned"),
        finished(make_record, 1, [[0.1], [0.5]]),
        finished(make_record, 2, [[0.2], [0.7]]),
        finished(make_record, 3, [[0.3], [0.7]]),
        finished(make_record, 4, [[0.9], [0.9]], "failed"),
        make_record(5),
    ]
    assert [record.trial.number for record in ranked(trial_records)] == [2, 3, 1, 0]
    assert best_trial_record(trial_records) == trial_records[2]
    assert best_trial_record(trial_records[4:]) is None


def test_the_best_trials_smallest_student_is_shown(search: SearchRow, make_record):
    progress = measure_progress(search, [finished(make_record, 3, [[0.5, 0.7]])])
    assert (progress.best_trial, progress.best_accuracy) == (3, pytest.approx(0.6))
    assert (progress.best_params, progress.best_macs) == (999, 5001)


def test_before_anything_happened_nothing_is_known(search: SearchRow):
    progress = measure_progress(search, [])
    assert (progress.best_trial, progress.best_accuracy, progress.best_params, progress.seconds_left) == (None,) * 4


def test_the_time_left_is_that_of_the_remaining_trials_at_the_mean_pace(search: SearchRow, make_record):
    trial_records = [
        finished(make_record, 0, [[0.5], [0.6]]),
        finished(make_record, 1, [[0.5]], "pruned"),
        make_record(2),
    ]
    # an evaluation takes 2 s: (4 + 2) / 2 s a trial, eight trials to go, two at once
    assert measure_progress(search, trial_records).seconds_left == pytest.approx(3 * 8 / 2)


def test_a_time_limit_shortens_the_time_left(search: SearchRow, make_record):
    trial_records = [finished(make_record, 0, [[0.5], [0.6]])]
    limited = replace(search, config={**search.config, "seconds": 5.0})
    assert measure_progress(limited, trial_records).seconds_left == pytest.approx(5 - 4 / 2)
    over = replace(search, config={**search.config, "seconds": 1.0})
    assert measure_progress(over, trial_records).seconds_left == 0


def test_references_and_the_teachers_outputs_take_of_the_time_limit(search: SearchRow, make_record):
    trial, reference = finished(make_record, 0, [[0.5], [0.6]]), make_record(-1, [[0.5]], "complete")
    reference = replace(reference, trial=replace(reference.trial, reference="resnet"))
    limited = replace(search, config={**search.config, "seconds": 10.0})
    progress = measure_progress(limited, [trial], [reference], prepared=3.0)
    assert progress.seconds_left == pytest.approx(10 - 3 - (4 + 2) / 2)
    assert progress.share_done == pytest.approx((3 + (4 + 2) / 2) / 10)


def test_what_is_done_is_a_share_of_the_trials_or_of_the_time_whichever_is_more(search: SearchRow, make_record):
    trial_records = [finished(make_record, 0, [[0.5], [0.6]])]  # of ten, in 4 s of one of two workers

    def share(**changes: Any) -> float:
        status = changes.pop("status", "running")
        return measure_progress(
            replace(search, status=status, config=search.config | changes), trial_records
        ).share_done

    assert share() == pytest.approx(1 / 10)
    assert share(seconds=5.0) == pytest.approx(4 / 2 / 5)
    assert share(seconds=1.0) == 1
    assert share(status="finished") == 1


def test_reasons_of_failures_are_counted(search: SearchRow, make_record):
    reasons = ["NaN", "memory", "NaN", None]
    trial_records = [finished(make_record, k, [], "failed", reason=reason) for k, reason in enumerate(reasons)]
    assert measure_progress(search, trial_records).reasons == {"NaN": 2, "memory": 1, "unknown": 1}


def test_progress_is_plain_values(search: SearchRow, make_record):
    values = asdict(measure_progress(search, [finished(make_record, 0, [[0.5]])]))
    assert all(isinstance(value, str | int | float | dict | tuple | None) for value in values.values())
