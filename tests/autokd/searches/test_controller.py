from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import pytest
from inline_searches import rows, run

from autokd.database.errors import LeaseLost
from autokd.database.lease import acquire, release
from autokd.database.store import Store
from autokd.errors import DiskFullError, DivergedError, InputError
from autokd.evaluation.task import EvaluationResult, EvaluationTask
from autokd.searches.controller import Controller
from autokd.searches.dispatcher import Dispatcher
from autokd.searches.problem import Problem
from autokd.searches.trial_record import trial_records
from search_spaces.errors import BudgetError
from workers.base import Executor
from workers.errors import WorkerLost
from workers.inline import InlineExecutor

MakeProblem = Callable[..., Problem]
MakeStore = Callable[..., Store]
Pretend = Callable[..., None]
TWO_RUNGS = {"rungs": [1, 3]}


def number_of(task: EvaluationTask, problem: Problem) -> int:
    """Number of the trial that an evaluation is for, told by its seed."""
    return next(
        number for number in range(20) for replicate in range(3) if task.seed == derive_seed(problem, number, replicate)
    )


def derive_seed(problem: Problem, number: int, replicate: int) -> int:
    from autokd.core.seeds import derive

    return derive(problem.config.seed, number, replicate, "search", "training")


class Stopped(KeyboardInterrupt):
    """Stands for a killed process: nothing catches it."""


class StoppingStore(Store):
    """Stops the process at its n-th write, a batch or one in it, before or after that is done."""

    writes = 0
    stop_at = 0
    before = False

    @contextmanager
    def _writing(self, lease: Any) -> Iterator[Any]:
        self.writes += 1
        stops = self.writes == self.stop_at
        with super()._writing(lease) as inside:
            yield inside
            if stops and self.before:
                raise Stopped
        if stops:
            raise Stopped


def test_a_search_finishes_all_its_trials(make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend):
    problem = make_problem(trials=5, optimizer={"name": "random", "pruner": "none"}, training=TWO_RUNGS)
    store = make_store(problem)
    pretend()
    run(problem, store)
    trials = store.trials(1)
    assert [trial.number for trial in trials] == list(range(5))
    assert {trial.state for trial in trials} == {"complete"}
    for record in trial_records(store, 1).values():
        assert [row.rung for row in record.evaluations] == [0, 1]
        assert record.trial.value == record.evaluations[-1].metrics["accuracy"]


def test_a_finished_search_has_nothing_more_to_do(make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend):
    problem = make_problem()
    store = make_store(problem)
    pretend()
    run(problem, store)
    before = rows(store)
    run(problem, store)
    assert rows(store) == before


def test_more_trials_go_on_where_fewer_ended(make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend):
    few, many = make_problem(trials=2), make_problem(trials=5)
    stores = make_store(few), make_store(many)
    pretend()
    run(few, stores[0])
    run(many, stores[0])
    run(many, stores[1])
    assert rows(stores[0]) == rows(stores[1])


def test_trials_that_are_not_among_the_best_are_pruned(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend
):
    problem = make_problem(trials=7, training=TWO_RUNGS, optimizer={"name": "random", "pruner": "halving"})
    store = make_store(problem)
    pretend(lambda task: 1 - number_of(task, problem) / 100)  # each trial is worse than the one before
    run(problem, store)
    trials = store.trials(1)
    # of n values the best ceil(n / 3) stay, from the third value on
    assert [trial.state for trial in trials] == ["complete"] * 2 + ["pruned"] * 5
    assert {trial.reason for trial in trials[2:]} == {"not among the best by training_cross_entropy at rung 0"}
    assert [trial.value for trial in trials] == pytest.approx([1 - number / 100 for number in range(7)])


def test_trials_are_pruned_by_the_metric_and_worth_their_accuracy(
    make_problem: MakeProblem, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
):
    """Losses grow from trial to trial while accuracies do, too: by accuracy nobody would be pruned."""

    def evaluate(task: EvaluationTask) -> EvaluationResult:
        number = number_of(task, problem)
        return EvaluationResult(task.key, {"accuracy": 0.5 + number / 100, "loss": 1.0 + number}, 2.0)

    monkeypatch.setattr("autokd.searches.dispatcher.evaluate", evaluate)
    monkeypatch.setattr("autokd.searches.dispatcher.missing_outputs", lambda context: [])
    for metric, pruned, by in (("accuracy", 0, ""), ("loss", 5, " by loss")):
        problem = make_problem(trials=7, training=TWO_RUNGS, optimizer={"name": "random", "signal": metric})
        store = make_store(problem)
        run(problem, store)
        trials = store.trials(1)
        assert [trial.state for trial in trials] == ["complete"] * (7 - pruned) + ["pruned"] * pruned
        assert {trial.reason for trial in trials[7 - pruned :]} == (
            {f"not among the best{by} at rung 0"} if by else set()
        )
        assert [trial.value for trial in trials] == pytest.approx([0.5 + number / 100 for number in range(7)])


def test_a_signal_that_the_teacher_cannot_give_stops_the_search_before_its_first_trial(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend
):
    problem = make_problem(optimizer={"name": "random", "signal": "teacher_kl"})
    store = make_store(problem)
    pretend()  # no outputs are stored, as of a teacher that knows nothing of the split
    with pytest.raises(InputError, match=r"signal = 'teacher_kl' compares .*choose one of accuracy, loss, training_"):
        run(problem, store)
    assert store.trials(1) == []


def test_a_trial_that_cannot_be_trained_fails_with_its_reason(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend
):
    def accuracy(task: EvaluationTask) -> None:
        if number_of(task, problem) == 1:
            raise DivergedError("training diverged:\nat step 5")

    problem = make_problem(optimizer={"name": "random", "pruner": "none"})
    store = make_store(problem)
    pretend(accuracy)
    run(problem, store)
    trials = store.trials(1)
    assert [trial.state for trial in trials] == ["complete", "failed", "complete", "complete"]
    assert (trials[1].reason, trials[1].value) == ("DivergedError: training diverged:", None)


def test_a_family_that_does_not_fit_the_budget_fails_its_trial(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend, monkeypatch: pytest.MonkeyPatch
):
    draw = Problem.draw

    def sometimes(self: Problem, trial: Any, replicate: int, purpose: str = "search") -> Any:
        if trial.number == 2:
            raise BudgetError("too large: '\udcff'")
        return draw(self, trial, replicate, purpose)

    problem = make_problem()
    store = make_store(problem)
    monkeypatch.setattr(Problem, "draw", sometimes)
    pretend()
    run(problem, store)
    trial = store.trials(1)[2]
    assert (trial.state, trial.reason) == ("failed", "BudgetError: too large: '\\udcff'")
    assert len(store.students(1)) == 3


def test_a_trial_is_worth_the_mean_of_its_students(make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend):
    problem = make_problem(students_per_trial=3, trials=2)
    store = make_store(problem)
    pretend()
    run(problem, store)
    for record in trial_records(store, 1).values():
        last = [row.metrics["accuracy"] for row in record.evaluations if row.rung == problem.last_rung]
        assert record.trial.value == pytest.approx(fmean(last))
        assert len(last) == 3


def test_one_student_that_fails_fails_its_trial(make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend):
    def accuracy(task: EvaluationTask) -> None:
        if task.seed == derive_seed(problem, 0, 1):
            raise DivergedError("no")

    problem = make_problem(students_per_trial=2, trials=2)
    store = make_store(problem)
    pretend(accuracy)
    run(problem, store)
    assert [trial.state for trial in store.trials(1)] == ["failed", "complete"]


def test_a_lost_worker_costs_another_attempt_and_in_the_end_the_trial(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend
):
    attempts: list[int] = []

    def accuracy(task: EvaluationTask) -> None:
        attempts.append(number_of(task, problem))
        if attempts[-1] == 0 or (attempts[-1] == 1 and attempts.count(1) < 3):
            raise WorkerLost("its worker died")

    problem = make_problem(trials=2)
    store = make_store(problem)
    pretend(accuracy)
    run(problem, store)
    trials = store.trials(1)
    assert [trial.state for trial in trials] == ["failed", "complete"]
    assert trials[0].reason == "its worker died (3 times)"
    assert attempts.count(0) == 3


def test_data_that_are_gone_stop_the_search_and_leave_it_resumable(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend
):
    def gone(task: EvaluationTask) -> None:
        raise InputError("data changed")

    problem = make_problem()
    stores = make_store(problem), make_store(problem)
    pretend(gone)
    with pytest.raises(InputError, match="data changed"):
        run(problem, stores[0])
    assert [trial.state for trial in stores[0].trials(1)] == ["running"]
    pretend()
    run(problem, stores[0])
    run(problem, stores[1])
    assert rows(stores[0]) == rows(stores[1])


def test_a_lost_lease_stops_the_controller_before_it_writes(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend
):
    problem = make_problem()
    store = make_store(problem)
    lease = acquire(store, "first")
    pretend(lambda task: release(store, lease) and None)
    with pytest.raises(LeaseLost):
        Controller(store, lease, problem, Dispatcher(store, lease, InlineExecutor())).run()
    assert [row.state for row in store.evaluations(1)] == ["running"]


@pytest.mark.slow  # a search for each write that it makes
@pytest.mark.parametrize(("students", "before"), [(1, False), (2, True)], ids=["one, after", "two, before"])
def test_a_search_stopped_at_any_write_goes_on_to_the_same_rows(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend, students: int, before: bool
):
    problem = make_problem(trials=3, training=TWO_RUNGS, students_per_trial=students)
    pretend()
    whole = make_store(problem, StoppingStore)
    run(problem, whole)
    assert isinstance(whole, StoppingStore)
    for write in range(1, whole.writes + 1, 2 * students):
        store: Any = make_store(problem, StoppingStore)
        store.stop_at, store.before = write, before
        with pytest.raises(Stopped):
            run(problem, store)
        run(problem, store)
        assert rows(store) == rows(whole)


def test_a_trial_that_has_begun_a_rung_is_not_pruned_below_it(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend, monkeypatch: pytest.MonkeyPatch
):
    problem = make_problem(trials=1, training=TWO_RUNGS, students_per_trial=2)
    store = make_store(problem)
    open_evaluation = Store.open_evaluation

    def stop_at_the_second_rung(self: Store, lease: Any, student: int, rung: int, *rest: Any) -> Any:
        if rung == 1:
            raise Stopped
        return open_evaluation(self, lease, student, rung, *rest)

    pretend()
    monkeypatch.setattr(Store, "open_evaluation", stop_at_the_second_rung)
    with pytest.raises(Stopped):
        run(problem, store)
    monkeypatch.setattr(Store, "open_evaluation", open_evaluation)
    record, lease = trial_records(store, 1)[0], acquire(store, 1)
    task = problem.task(record.trial, record.students[0], 1)
    store.open_evaluation(lease, record.students[0].id, 1, task.epochs, task.key)  # earlier versions wrote it alone
    release(store, lease)
    monkeypatch.setattr("autokd.searches.proposals.Proposer.prunes", lambda *args: True)
    run(problem, store)
    assert [trial.state for trial in store.trials(1)] == ["complete"]


def test_a_search_stopped_in_every_evaluation_goes_on_to_the_same_rows(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend, interrupt_once: Callable[[EvaluationTask], None]
) -> None:
    problem = make_problem(trials=3, training=TWO_RUNGS)
    whole, store = make_store(problem), make_store(problem)

    pretend()
    run(problem, whole)
    pretend(interrupt_once)
    for _ in range(len(whole.evaluations(1))):
        with pytest.raises(KeyboardInterrupt):
            run(problem, store)
    run(problem, store)
    assert rows(store) == rows(whole)


@pytest.mark.slow  # fits a Gaussian process for each proposal
def test_our_own_sampler_goes_on_to_the_same_rows(make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend):
    options = {"name": "trust-region", "options": {"n_startup_trials": 3}}
    problem = make_problem(trials=6, training=TWO_RUNGS, optimizer=options)
    pretend()
    whole, store = make_store(problem), make_store(problem, StoppingStore)
    run(problem, whole)
    assert isinstance(store, StoppingStore)
    for stop_at in (12, 25, 33):
        store.stop_at = stop_at
        with pytest.raises(Stopped):
            run(problem, store)
    run(problem, store)
    assert rows(store) == rows(whole)


class ThreadedExecutor(Executor):
    """Three tasks at once in threads; knows how many ran at most."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(3)
        self.in_flight: set[Future[Any]] = set()
        self.most = 0

    @property
    def capacity(self) -> int:
        return 3

    def submit(self, function: Any, /, *args: Any) -> Future[Any]:  # type: ignore[override]
        self.in_flight = {future for future in self.in_flight if not future.done()}
        future = self._pool.submit(function, *args)
        self.in_flight.add(future)
        self.most = max(self.most, len(self.in_flight))
        return future

    def shutdown(self, cancel: bool) -> None:
        self._pool.shutdown(cancel_futures=cancel)


def test_several_workers_finish_all_trials_and_are_never_overloaded(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend
):
    problem = make_problem(trials=9, training=TWO_RUNGS)
    store = make_store(problem)
    pretend()
    with ThreadedExecutor() as executor:
        run(problem, store, executor)
    assert all(trial.state in ("complete", "pruned") for trial in store.trials(1))
    assert sorted(trial.finish_order for trial in store.trials(1)) == list(range(9))  # type: ignore[type-var]
    assert executor.most <= 3


def test_a_time_limit_ends_the_search_early(make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend):
    problem = make_problem(trials=50, seconds=5.0, training={"rungs": [1]})  # an evaluation takes two
    store = make_store(problem)
    pretend()
    run(problem, store)
    assert [trial.state for trial in store.trials(1)] == ["complete"] * 3


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes that the disk has left each time that somebody asks, at the end ever so many."""
    left: list[int] = []
    usage = lambda folder: SimpleNamespace(free=left.pop(0) if left else 10**12)  # noqa: E731
    monkeypatch.setattr("autokd.core.disk.shutil.disk_usage", usage)
    return left


def test_no_trial_begins_on_a_full_disk_and_the_search_goes_on_once_there_is_room(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend, free: list[int]
):
    problem = make_problem()
    stores = make_store(problem), make_store(problem)
    pretend()
    free += [10**12, 10**12, 0]
    with pytest.raises(DiskFullError, match=r"trainings need 64\.2 MB in .*, but the disk has 0 MB left: make room"):
        run(problem, stores[0])
    assert [trial.state for trial in stores[0].trials(1)] == ["complete"] * 2
    run(problem, stores[0])
    run(problem, stores[1])
    assert rows(stores[0]) == rows(stores[1])


class TwoAtOnce(InlineExecutor):
    """Seems to have room for another task beside the one that ended and is not recorded yet."""

    @property
    def capacity(self) -> int:
        return 2


def test_a_full_disk_waits_for_what_runs(
    make_problem: MakeProblem,
    make_store: MakeStore,
    pretend: Pretend,
    free: list[int],
    monkeypatch: pytest.MonkeyPatch,
):
    problem = make_problem()
    store = make_store(problem)
    pretend()
    monkeypatch.setattr("autokd.searches.controller.BATCH_SECONDS", -1.0)
    free += [10**12, 0, 10**12, 0]
    run(problem, store, TwoAtOnce())
    assert {trial.state for trial in store.trials(1)} <= {"complete", "pruned"}
    assert not free


def test_a_disk_that_becomes_full_fails_no_trial(make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend):
    def full(task: EvaluationTask) -> None:
        raise DiskFullError("the disk is full")

    problem = make_problem()
    store = make_store(problem)
    pretend(full)
    with pytest.raises(DiskFullError):
        run(problem, store)
    assert [trial.state for trial in store.trials(1)] == ["running"]


def test_each_evaluation_is_of_its_students_task(make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend):
    problem = make_problem(training=TWO_RUNGS)
    store = make_store(problem)
    pretend()
    run(problem, store)
    trials = {trial.id: trial for trial in store.trials(1)}
    students = {student.id: student for student in store.students(1)}
    for row in store.evaluations(1):
        student = students[row.student_id]
        assert row.key == problem.task(trials[student.trial_id], student, row.rung).key
        assert row.epochs == problem.config.training.rungs[row.rung]
