import math
from dataclasses import replace

import pytest

from autokd.database.lease import acquire
from autokd.searches.controller import Controller
from autokd.searches.dispatcher import Dispatcher
from autokd.searches.retraining import Retraining
from autokd.searches.trial_record import trial_records
from workers.inline import InlineExecutor


def test_values_are_means_over_students_of_rungs_that_all_reached(make_record):
    record = make_record(0, [[0.5, 0.7], [0.9]], students=2)
    assert record.values == {0: pytest.approx(0.6)}
    assert record.best_value == pytest.approx(0.6)


def test_the_best_value_is_that_of_the_highest_rung(make_record):
    assert make_record(0, [[0.9], [0.4]]).best_value == 0.4
    assert make_record(0).best_value == -math.inf


def test_means_are_of_any_metric_that_all_students_have(make_record):
    record = make_record(0, [[0.5, 0.7], [0.8, 0.9]])
    first, second, *last = record.evaluations
    rows = (replace(first, metrics={"loss": 0.2}), replace(second, metrics={"loss": 0.6}), *last)
    assert replace(record, evaluations=rows).means("loss") == {0: pytest.approx(0.4)}
    assert replace(record, evaluations=rows).values == {1: pytest.approx(0.85)}


def test_failures_and_running_evaluations_are_seen(make_record):
    record = make_record(0, [[0.5, 0.6]])
    first, second = record.evaluations
    broken = replace(
        record, evaluations=(replace(first, state="failed", reason="NaN"), replace(second, state="running"))
    )
    assert (record.failure, record.running) == (None, [])
    assert (broken.failure, broken.running) == ("NaN", [broken.evaluations[1]])
    assert broken.values == {}


def test_a_rung_is_open_for_students_that_have_not_begun_it(make_record):
    record = make_record(0, [[0.5, 0.6], [0.7]], students=2)
    assert (record.started(1), record.started(2)) == (True, False)
    assert record.to_open(1) == [record.students[1]]
    assert record.to_open(2) == list(record.students)


def test_records_are_by_number_and_leave_final_trainings_out(make_problem, make_store, pretend):
    problem = make_problem(trials=2, final={"epochs": 2, "students": 2})
    store = make_store(problem)
    pretend()
    lease = acquire(store, 1)
    Controller(store, lease, problem, Dispatcher(store, lease, InlineExecutor())).run()
    before = trial_records(store, 1)
    Retraining(store, lease, problem, Dispatcher(store, lease, InlineExecutor()), [store.trials(1)[1]]).run()
    assert trial_records(store, 1) == before
    assert list(before) == [0, 1]
    assert len(store.students(1)) == 4
