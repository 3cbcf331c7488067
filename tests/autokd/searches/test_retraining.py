from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from autokd.database.lease import Lease, acquire
from autokd.database.store import Store
from autokd.errors import AutoKDError, DivergedError
from autokd.evaluation.task import EvaluationTask
from autokd.searches.controller import Controller
from autokd.searches.dispatcher import Dispatcher
from autokd.searches.problem import Problem
from autokd.searches.retraining import Retraining, trainings
from autokd.searches.students import as_asked_for, trained_students
from autokd.training.checkpoint import Reached
from search_spaces.design.budget import Budget
from search_spaces.errors import BudgetError
from workers.inline import InlineExecutor


@pytest.fixture
def problem(make_problem) -> Problem:
    return make_problem(trials=2, final={"epochs": 7.5, "students": 3}, training={"rungs": [1]})


@pytest.fixture
def store(problem: Problem, make_store, pretend) -> Store:
    """A finished search of two trials."""
    store = make_store(problem)
    pretend()
    Controller(store, lease := acquire(store, 1), problem, Dispatcher(store, lease, InlineExecutor())).run()
    return store


@pytest.fixture
def train(problem: Problem, store: Store) -> Callable[[], None]:
    """Trains the winner, which is trial 1 here."""
    lease = Lease(1, store.search(1).lease_token)
    dispatcher = Dispatcher(store, lease, InlineExecutor())
    return Retraining(store, lease, problem, dispatcher, [store.trials(1)[1]]).run


def test_the_searched_student_and_new_draws_are_trained_and_tested(problem: Problem, store: Store, train):
    train()
    finals, searched = store.students(1, "final"), store.students(1, "search")
    assert [student.replicate for student in finals] == [0, 1, 2]
    assert finals[0].digest == searched[1].digest
    assert {student.trial_id for student in finals} == {store.trials(1)[1].id}
    rows = [row for row in store.evaluations(1) if row.student_id in {student.id for student in finals}]
    assert [(row.state, row.epochs) for row in rows] == [("complete", 7.5)] * 3
    assert all(row.key.endswith("-0-test") for row in rows)


def test_training_again_does_nothing(store: Store, train):
    train()
    before = store.evaluations(1)
    train()
    assert store.evaluations(1) == before


def with_weights(task: EvaluationTask) -> None:
    """Leave a file of weights, as a training does."""
    task.weights.parent.mkdir(parents=True, exist_ok=True)
    task.weights.touch()


def test_a_student_whose_weights_are_gone_is_trained_anew_and_what_is_recorded_stays(
    problem: Problem, store: Store, train, pretend
):
    seen: list[EvaluationTask] = []
    pretend(lambda task: (seen.append(task), with_weights(task))[1])
    train()
    before = store.evaluations(1)
    train()
    assert len(seen) == 3
    seen[1].weights.unlink()
    train()
    assert [task.key for task in seen[3:]] == [seen[1].key]
    assert seen[1].weights.exists()
    assert store.evaluations(1) == before


def test_training_goes_on_where_it_stopped(problem: Problem, store: Store, train, pretend):
    seen: list[str] = []

    def stop(task: EvaluationTask) -> None:
        seen.append(task.key)
        if len(seen) == 2:
            raise KeyboardInterrupt
        with_weights(task)

    pretend(stop)
    with pytest.raises(KeyboardInterrupt):
        train()
    pretend(lambda task: seen.append(task.key))
    train()
    assert len(seen) == 4
    assert seen[1] == seen[2]
    assert len(store.students(1, "final")) == 3


def test_between_two_trainings_in_this_process_a_search_stops_when_asked_to(problem: Problem, store: Store, pretend):
    lease = Lease(1, store.search(1).lease_token)
    dispatcher = Dispatcher(store, lease, InlineExecutor())
    pretend(lambda task: setattr(dispatcher.stop, "mode", "gracefully"))
    with pytest.raises(KeyboardInterrupt):
        Retraining(store, lease, problem, dispatcher, [store.trials(1)[1]]).run()
    assert [row.state for row in store.evaluations(1, "final")] == ["complete", "running", "running"]


def test_one_failed_training_is_no_failure_and_is_tried_again_next_time(store: Store, train, pretend):
    calls: list[int] = []

    def fail_first(task: EvaluationTask) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise DivergedError("no")

    pretend(fail_first)
    train()
    assert [row.state for row in store.evaluations(1)[2:]] == ["failed", "complete", "complete"]
    train()
    assert [row.state for row in store.evaluations(1)[2:]] == ["complete"] * 3


def test_when_all_trainings_fail_the_first_reason_is_said(train, pretend):
    def fail(task: EvaluationTask) -> None:
        raise DivergedError("it exploded")

    pretend(fail)
    with pytest.raises(AutoKDError, match="all 3 full-length trainings failed; the first: DivergedError: it exploded"):
        train()


def test_a_draw_that_does_not_fit_is_left_out(store: Store, train, monkeypatch: pytest.MonkeyPatch):
    draw = Problem.draw

    def sometimes(self, trial, replicate, purpose="search"):
        if purpose == "final" and replicate == 1:
            raise BudgetError("too large")
        return draw(self, trial, replicate, purpose)

    monkeypatch.setattr(Problem, "draw", sometimes)
    train()
    assert [student.replicate for student in store.students(1, "final")] == [0, 2]


def test_recorded_draws_that_exceed_further_limits_are_not_trained_longer(make_problem, store: Store, train):
    train()
    sizes = [student.params for student in store.students(1, "final")]
    longer = make_problem(trials=2, final={"epochs": 9, "students": 3}, training={"rungs": [1]})
    lease = Lease(1, store.search(1).lease_token)
    dispatcher, within = Dispatcher(store, lease, InlineExecutor()), Budget(params=max(sizes) - 1)
    Retraining(store, lease, longer, dispatcher, [store.trials(1)[1]], within=within).run()
    trained = [training.params for training in trainings(longer, store, 1)]
    assert sorted(trained) == sorted(size for size in sizes if size < max(sizes))


def test_students_of_several_families_are_trained(problem: Problem, store: Store):
    lease = Lease(1, store.search(1).lease_token)
    first, second = store.trials(1)
    Retraining(store, lease, problem, Dispatcher(store, lease, InlineExecutor()), [second, first]).run()
    found = [(t.trial, t.replicate, t.state) for t in trainings(problem, store, 1)]
    assert sorted(found) == [(trial, replicate, "complete") for trial in (0, 1) for replicate in range(3)]


def test_trainings_tell_how_far_they_are(problem: Problem, store: Store, train):
    assert trainings(problem, store, 1) == []
    train()
    found = trainings(problem, store, 1)
    assert [(t.replicate, t.state, t.epochs, t.epochs_done) for t in found] == [
        (k, "complete", 7.5, 7.5) for k in range(3)
    ]


def test_trained_students_are_final_ones_first_then_by_rung_and_accuracy(problem: Problem, store: Store, train):
    searched = trained_students(problem, store, 1)
    accuracies = [student.metrics["accuracy"] for student in searched]
    assert accuracies == sorted(accuracies, reverse=True)
    train()
    students = trained_students(problem, store, 1)
    assert [student.is_final for student in students] == [True] * 3 + [False] * 2
    finals = [student.metrics["accuracy"] for student in students[:3]]
    assert finals == sorted(finals, reverse=True)
    assert students[0].weights == problem.task(students[0].trial, students[0].row, 0).weights


def retrained(problem: Problem, store: Store, number: int) -> None:
    """Train the searched student of a trial at full length."""
    lease = Lease(1, store.search(1).lease_token)
    dispatcher = Dispatcher(store, lease, InlineExecutor())
    Retraining(store, lease, problem, dispatcher, [store.trials(1)[number]]).run()


def test_a_shorter_training_that_comes_later_replaces_no_longer_one(make_problem, store: Store):
    for epochs in (60, 5, 60):
        problem = make_problem(trials=2, final={"epochs": epochs}, training={"rungs": [1]})
        retrained(problem, store, 1)
        best = trained_students(problem, store, 1)[0]
        assert (best.is_final, best.evaluation.epochs) == (True, 60)


def test_students_are_told_after_the_training_that_was_asked_for_and_the_longer_one_stays_the_best(
    make_problem, store: Store
):
    for epochs in (60, 5):
        problem = make_problem(trials=2, final={"epochs": epochs, "students": 1}, training={"rungs": [1]})
        retrained(problem, store, 1)
    best = trained_students(problem, store, 1)[0]
    (shown,) = as_asked_for(problem, store, 1, [best])
    assert (best.evaluation.epochs, shown.evaluation.epochs) == (60, 5)
    assert shown.weights == problem.task(best.trial, best.row, rung=0).weights != best.weights
    unfinished = make_problem(trials=2, final={"epochs": 7, "students": 1}, training={"rungs": [1]})
    assert as_asked_for(unfinished, store, 1, [best]) == [best]


def test_of_equal_lengths_the_more_accurate_student_stays(make_problem, store, pretend):
    for rate, accuracy in ((0.1, 0.94), (9.0, 0.2), (0.2, 0.9), (0.1, 0.94)):
        final = {"epochs": 20, "learning_rate": rate}
        problem = make_problem(trials=2, final=final, training={"rungs": [1]})
        pretend(lambda task, accuracy=accuracy: accuracy)
        retrained(problem, store, 1)
        assert trained_students(problem, store, 1)[0].metrics["accuracy"] == 0.94


def test_of_full_lengths_that_follow_from_the_time_the_more_accurate_student_leads(make_problem, store, pretend):
    for number, epochs, accuracy in ((0, 20, 0.94), (1, 20.2, 0.9)):
        problem = make_problem(trials=2, final={"epochs": epochs}, training={"rungs": [1]})
        pretend(lambda task, accuracy=accuracy: accuracy)
        retrained(problem, store, number)
    assert [student.metrics["accuracy"] for student in trained_students(problem, store, 1)[:2]] == [0.94, 0.9]


def test_full_length_trainings_keep_the_best_epoch_unless_told_otherwise(make_problem, store: Store):
    trial, student = store.trials(1)[0], replace(store.students(1)[0], purpose="final")
    searched = replace(student, purpose="search")
    for keep, expected in (("best", True), ("last", False)):
        problem = make_problem(final={"keep": keep})
        tasks = [problem.task(trial, row, rung=0) for row in (student, searched)]
        assert [task.keeps_best for task in tasks] == [expected, False]


def test_full_length_trainings_may_have_a_schedule_and_an_average_of_their_own(make_problem):
    problem = make_problem(training={"schedule": "cosine", "ema": 0.9}, final={"schedule": "stable", "ema": 0})
    training = problem.retraining_context.training
    assert (training.schedule, training.ema) == ("stable", 0)
    problem = make_problem(training={"schedule": "stable", "ema": 0.9})
    training = problem.retraining_context.training
    assert (training.schedule, training.ema) == ("stable", 0.9)


@pytest.mark.parametrize(("trunk", "branch", "done"), [(0, 0, 0), (3, 0, 3), (4.9, 0, 4), (4.9, 6, 6)])
def test_whole_epochs_are_told_and_those_of_a_cooldown_count(
    problem: Problem, store: Store, train, pretend, monkeypatch, trunk, branch, done
):
    def stop(task: EvaluationTask) -> None:
        raise KeyboardInterrupt

    pretend(stop)
    with pytest.raises(KeyboardInterrupt):
        train()
    at, now = {"checkpoint": trunk, "checkpoint-0": branch}, datetime.now(UTC)
    monkeypatch.setattr(
        "autokd.training.checkpoint.furthest",
        lambda *files: Reached(max(at[file.stem] for file in files), 0.5, now),
    )
    training, *_ = trainings(problem, store, 1)
    assert training.epochs_done == done
    assert training.ends_at == now + timedelta(seconds=(training.epochs - max(trunk, branch)) / 0.5)
    assert training.images_per_second == (problem.facts.n_train and 0.5 * problem.facts.n_train)
    at_rest = training.at_rest
    assert (at_rest.epochs_done, at_rest.images_per_second, at_rest.seconds_left) == (done, None, None)
