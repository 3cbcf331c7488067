import math
from dataclasses import replace

import pytest

from autokd.controller import Controller
from autokd.database.lease import acquire
from autokd.dispatch import Dispatcher
from autokd.final import FinalTraining
from autokd.ladder import ladders
from workers.inline import InlineExecutor


def test_values_are_means_over_students_of_rungs_that_all_reached(make_ladder):
    ladder = make_ladder(0, [[0.5, 0.7], [0.9]], students=2)
    assert ladder.values == {0: pytest.approx(0.6)}
    assert ladder.best_value == pytest.approx(0.6)


def test_the_best_value_is_that_of_the_highest_rung(make_ladder):
    assert make_ladder(0, [[0.9], [0.4]]).best_value == 0.4
    assert make_ladder(0).best_value == -math.inf


def test_means_are_of_any_metric_that_all_students_have(make_ladder):
    ladder = make_ladder(0, [[0.5, 0.7], [0.8, 0.9]])
    first, second, *last = ladder.evaluations
    rows = (replace(first, metrics={"loss": 0.2}), replace(second, metrics={"loss": 0.6}), *last)
    assert replace(ladder, evaluations=rows).means("loss") == {0: pytest.approx(0.4)}
    assert replace(ladder, evaluations=rows).values == {1: pytest.approx(0.85)}


def test_failures_and_running_evaluations_are_seen(make_ladder):
    ladder = make_ladder(0, [[0.5, 0.6]])
    first, second = ladder.evaluations
    broken = replace(
        ladder, evaluations=(replace(first, state="failed", reason="NaN"), replace(second, state="running"))
    )
    assert (ladder.failure, ladder.running) == (None, [])
    assert (broken.failure, broken.running) == ("NaN", [broken.evaluations[1]])
    assert broken.values == {}


def test_a_rung_is_open_for_students_that_have_not_begun_it(make_ladder):
    ladder = make_ladder(0, [[0.5, 0.6], [0.7]], students=2)
    assert (ladder.started(1), ladder.started(2)) == (True, False)
    assert ladder.to_open(1) == [ladder.students[1]]
    assert ladder.to_open(2) == list(ladder.students)


def test_ladders_are_by_number_and_leave_final_trainings_out(make_problem, make_store, pretend):
    problem = make_problem(trials=2, final={"epochs": 2, "students": 2})
    store = make_store(problem)
    pretend()
    lease = acquire(store, 1)
    dispatcher = Dispatcher(store, lease, InlineExecutor())
    Controller(store, lease, problem, dispatcher).run()
    before = ladders(store, 1)
    FinalTraining(store, lease, problem, dispatcher, store.trials(1)[1]).run()
    assert ladders(store, 1) == before
    assert list(before) == [0, 1]
    assert len(store.students(1)) == 4
