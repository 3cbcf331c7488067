import sqlite3
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from pebble import ProcessFuture

from autokd.database.errors import LeaseLost
from autokd.database.lease import acquire, release
from autokd.database.outages import Patience
from autokd.database.rows import EvaluationRow
from autokd.database.store import Store
from autokd.errors import AutoKDError, InputError
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.task import EvaluationResult, EvaluationTask
from autokd.searches.dispatcher import ATTEMPTS, Dispatcher
from autokd.searches.problem import Problem
from autokd.searches.proposals import propose
from autokd.teachers.outputs.key import OutputsKey
from workers.base import Executor, Placement
from workers.errors import EngineLost, TaskTimeout, WorkerLost
from workers.inline import InlineExecutor

MISSING = [OutputsKey(0, 1, chunk=0), OutputsKey(0, 1, chunk=1), OutputsKey(0, part="validation")]


@pytest.fixture
def unprepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A view of two chunks and a split are missing, which the disk has room for."""
    monkeypatch.setattr("autokd.searches.dispatcher.missing_outputs", lambda context: MISSING)
    monkeypatch.setattr("autokd.searches.dispatcher.check_room", lambda context, missing: None)
    monkeypatch.setattr("autokd.searches.dispatcher.output_shapes", lambda context: None)
    monkeypatch.setattr(TrainingContext, "disk_budget", lambda *_: SimpleNamespace(fall_back="it runs instead"))


class ManualExecutor(Executor):
    """Two tasks at once, which end when the test says so, and are where it says."""

    def __init__(self) -> None:
        self.submitted: list[tuple[Future[Any], tuple[Any, ...]]] = []
        self.placement = Placement()

    @property
    def capacity(self) -> int:
        return 2

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:  # type: ignore[override]
        future: Future[Any] = Future()
        self.submitted.append((future, args))
        return future

    def where(self, futures: Collection[Future[Any]]) -> Mapping[Future[Any], Placement]:
        return dict.fromkeys(futures, self.placement)

    def shutdown(self, cancel: bool) -> None:
        pass


class World:
    """A search with open evaluations and a dispatcher that sends them nowhere."""

    def __init__(self, problem: Problem, store: Store) -> None:
        self.problem, self.store = problem, store
        self.lease = acquire(store, 1)
        self.executor = ManualExecutor()
        self.changes: list[int] = []
        self.dispatcher = Dispatcher(store, self.lease, self.executor, lambda: self.changes.append(1))

    def open(self, number: int) -> tuple[EvaluationRow, EvaluationTask]:
        trial = self.store.open_trial(self.lease, number, propose(self.problem, [], number))
        architecture, cost = self.problem.draw(trial, 0)
        facts = {name: getattr(cost, name) for name in ("params", "macs", "activation_bytes", "model_bytes")}
        values = {"digest": architecture.digest, "architecture": architecture.to_dict(), **facts}
        student = self.store.add_student(self.lease, trial.id, 0, "search", **values)
        task = self.problem.task(trial, student, 0)
        return self.store.open_evaluation(self.lease, student.id, 0, task.epochs, task.key), task

    def send(self, number: int = 0) -> Future[Any]:
        self.dispatcher.submit(*self.open(number))
        return self.executor.submitted[-1][0]

    @property
    def evaluations(self) -> list[EvaluationRow]:
        return self.store.evaluations(1)


@pytest.fixture
def world(make_problem, make_store) -> World:
    problem = make_problem()
    return World(problem, make_store(problem))


def test_an_evaluation_is_in_flight_until_it_is_recorded(world: World):
    future = world.send()
    assert (world.dispatcher.is_idle, world.dispatcher.room) == (False, 1)
    future.set_result(EvaluationResult("key", {"accuracy": 0.5}, 3.0))
    world.dispatcher.wait()
    (row,) = world.evaluations
    assert (row.state, row.metrics, row.seconds) == ("complete", {"accuracy": 0.5}, 3.0)
    assert world.dispatcher.is_idle
    assert len(world.changes) == 1


def test_results_that_cannot_be_recorded_yet_wait_for_the_database(world: World):
    future, lost = world.send(0), world.send(1)
    with world.store.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 1")
    with closing(sqlite3.connect(str(world.store.engine.url.database), isolation_level=None)) as other:

        def free(line: str) -> None:
            if other.in_transaction:
                other.rollback()

        world.store.patience = Patience(60, free)
        other.execute("BEGIN IMMEDIATE")
        future.set_result(EvaluationResult("key", {"accuracy": 0.5}, 3.0))
        lost.set_exception(WorkerLost("its worker died"))
        world.dispatcher.wait()
    assert [row.state for row in world.evaluations] == ["complete", "running"]
    for state in ["running"] * (ATTEMPTS - 2) + ["failed"]:  # the loss counts once
        world.executor.submitted[-1][0].set_exception(WorkerLost("its worker died"))
        world.dispatcher.wait()
        assert world.evaluations[1].state == state


def test_there_is_room_for_as_many_as_the_executor_runs(world: World):
    world.send(0)
    world.send(1)
    assert world.dispatcher.room == 0


def test_an_evaluation_is_sent_once(world: World):
    row, task = world.open(0)
    world.dispatcher.submit(row, task)
    world.dispatcher.submit(row, task)
    assert len(world.executor.submitted) == 1


def test_evaluations_that_end_together_are_recorded_in_their_order(world: World):
    futures = [world.send(number) for number in range(2)]
    for future in reversed(futures):
        future.set_result(EvaluationResult("key", {"accuracy": 0.5}, 1.0))
    world.dispatcher.wait()
    finished = [e.payload["evaluation"] for e in world.store.events(1) if e.kind == "evaluation_finished"]
    assert finished == [row.id for row in world.evaluations]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TaskTimeout("after 5 s"), "TaskTimeout: after 5 s"),
        (ValueError("first\nsecond"), "ValueError: first"),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (ValueError("bad image caf\udce9\0"), r"ValueError: bad image caf\udce9\0"),
    ],
)
def test_an_error_fails_the_evaluation_with_one_line(world: World, error: Exception, reason: str):
    world.send().set_exception(error)
    world.dispatcher.wait()
    (row,) = world.evaluations
    assert (row.state, row.reason) == ("failed", reason)


def test_a_lost_worker_is_tried_again_until_it_is_enough(world: World):
    world.send()
    for attempt in range(1, ATTEMPTS + 1):
        assert len(world.executor.submitted) == attempt
        world.executor.submitted[-1][0].set_exception(WorkerLost("it died"))
        world.dispatcher.wait()
    (row,) = world.evaluations
    assert (row.state, row.reason) == ("failed", f"it died ({ATTEMPTS} times)")
    assert len(world.executor.submitted) == ATTEMPTS


def test_an_input_error_stops_everything_and_records_nothing(world: World):
    world.send().set_exception(InputError("data changed"))
    with pytest.raises(InputError, match="data changed"):
        world.dispatcher.wait()
    assert world.evaluations[0].state == "running"


def test_a_lost_lease_is_no_failure_of_the_evaluation(world: World):
    world.send().set_result(EvaluationResult("key", {"accuracy": 0.5}, 1.0))
    release(world.store, world.lease)
    with pytest.raises(LeaseLost):
        world.dispatcher.wait()
    assert world.evaluations[0].state == "running"


def test_waiting_is_not_silent(world: World, monkeypatch: pytest.MonkeyPatch):
    future = world.send()

    def tick() -> None:
        world.changes.append(1)
        if len(world.changes) == 3:
            future.set_result(EvaluationResult("key", {"accuracy": 0.5}, 1.0))

    monkeypatch.setattr("autokd.searches.dispatcher.TICK_SECONDS", 0.001)
    world.dispatcher.on_change = tick
    world.dispatcher.wait()
    assert len(world.changes) == 4


def test_where_an_evaluation_is_gets_recorded_and_why_it_waits_is_said_once(world: World, monkeypatch):
    lines, told = list[str](), list[EvaluationRow]()
    places = [Placement(reason="no worker")] * 2 + [Placement("node7:1")]
    future, seen = world.send(), []

    def tick() -> None:
        seen.append((world.evaluations[0].worker, world.evaluations[0].reason))
        if places:
            world.executor.placement = places.pop(0)
        elif not future.done():
            future.set_result(EvaluationResult("key", {"accuracy": 0.5}, 1.0, "node7:2"))

    monkeypatch.setattr("autokd.searches.dispatcher.TICK_SECONDS", 0.001)
    world.dispatcher.on_change, world.dispatcher.on_notify = tick, lines.append
    world.dispatcher.on_recorded = told.append
    world.dispatcher.wait()
    assert [(row.worker, row.reason) for row in told] == [(None, "no worker"), ("node7:1", None), ("node7:2", None)]
    assert seen[:4] == [(None, None), (None, "no worker"), (None, "no worker"), ("node7:1", None)]
    assert world.evaluations[0].worker == "node7:2"
    assert lines == ["waiting for a worker: no worker"]


def test_a_lost_engine_stops_everything_and_records_nothing(world: World):
    world.send().set_exception(EngineLost("the scheduler is gone"))
    with pytest.raises(EngineLost):
        world.dispatcher.wait()
    assert world.evaluations[0].state == "running"


def test_a_search_that_is_to_stop_gracefully_ends_what_runs_and_takes_back_what_waits(world: World):
    running, waiting = world.send(0), world.send(1)
    running.set_running_or_notify_cancel()
    running.set_result(EvaluationResult("key", {"accuracy": 0.5}, 1.0))
    world.dispatcher.stop.mode = "gracefully"
    with pytest.raises(KeyboardInterrupt):
        world.dispatcher.heed_stop()
    assert waiting.cancelled()
    assert [row.state for row in world.evaluations] == ["complete", "running"]
    assert world.dispatcher.is_idle


def test_what_waits_on_a_cluster_without_a_worker_is_taken_back(world: World, monkeypatch: pytest.MonkeyPatch):
    future: Future[Any] = ProcessFuture()
    monkeypatch.setattr(world.executor, "submit", lambda *_: future)
    world.dispatcher.submit(*world.open(0))
    future.set_running_or_notify_cancel()  # as a lane does that sees it through
    world.executor.placement = Placement(reason="the cluster has no worker")
    world.dispatcher.stop.mode = "gracefully"
    with pytest.raises(KeyboardInterrupt):
        world.dispatcher.heed_stop()
    assert future.cancelled()
    assert [row.state for row in world.evaluations] == ["running"]


@pytest.mark.parametrize(
    ("placement", "took"),
    [(Placement("process 7"), 100.0), (Placement(), 0.0), (Placement(reason="all workers are busy"), 0.0)],
    ids=["trained", "in the queue", "on a busy cluster"],
)
def test_the_time_of_a_failed_evaluation_counts_but_not_its_wait_for_a_worker(
    world: World, placement: Placement, took: float
):
    future = world.send()
    (flight,) = world.dispatcher._in_flight.values()
    flight.since -= 100.0
    world.executor.placement = placement
    world.dispatcher._place()
    future.set_exception(ValueError("at step 5"))
    world.dispatcher.wait()
    (failed,) = world.evaluations
    assert (failed.state, failed.seconds) == ("failed", pytest.approx(took, abs=50))


def test_a_search_that_is_to_stop_now_does_not_wait(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("autokd.searches.dispatcher.TICK_SECONDS", 0.001)
    world.send().set_running_or_notify_cancel()
    world.dispatcher.on_change = lambda: setattr(world.dispatcher.stop, "mode", "now")
    with pytest.raises(KeyboardInterrupt):
        world.dispatcher.wait()
    assert [row.state for row in world.evaluations] == ["running"]


def test_nobody_waits_for_evaluations_that_were_all_taken_back(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("autokd.searches.dispatcher.TICK_SECONDS", 0.001)
    world.send()
    world.dispatcher.on_change = lambda: setattr(world.dispatcher.stop, "mode", "gracefully")
    world.dispatcher.wait()
    assert world.dispatcher.is_idle


@pytest.mark.usefixtures("unprepared")
@pytest.mark.parametrize("mode", ["gracefully", "now"])
def test_preparation_stops_at_once(world: World, mode: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("autokd.searches.dispatcher.TICK_SECONDS", 0.001)
    world.dispatcher.on_prepared = lambda ready, needed: setattr(world.dispatcher.stop, "mode", mode)
    with pytest.raises(KeyboardInterrupt):
        world.dispatcher.prepare(world.problem.context)


@pytest.mark.usefixtures("unprepared")
def test_preparation_in_this_process_stops_between_two_outputs(world: World, monkeypatch: pytest.MonkeyPatch):
    done: list[OutputsKey] = []
    monkeypatch.setattr("autokd.searches.dispatcher.precompute_outputs", lambda context, key: done.append(key))
    world.dispatcher.executor = InlineExecutor()
    world.dispatcher.stop.mode = "now"
    with pytest.raises(KeyboardInterrupt):
        world.dispatcher.prepare(world.problem.context)
    assert done == MISSING[:1]


def test_what_lacks_on_a_worker_is_no_fault_of_the_trial(world: World):
    world.send().set_exception(ModuleNotFoundError("No module named 'mine'"))
    world.dispatcher.wait()
    assert (world.evaluations[0].state, world.evaluations[0].fault) == ("failed", "worker")


@pytest.mark.usefixtures("unprepared")
def test_missing_chunks_are_prepared_by_the_workers_at_once_and_recorded(world: World, monkeypatch):
    submit = world.executor.submit

    def at_once(function: Any, /, *args: Any) -> Future[Any]:
        future = submit(function, *args)
        future.set_result(None)
        return future

    lines: list[str] = []
    world.dispatcher.on_notify = lines.append
    monkeypatch.setattr(world.executor, "submit", at_once)
    world.dispatcher.prepare(world.problem.context)
    assert [args for _, args in world.executor.submitted] == [(world.problem.context, key) for key in MISSING]
    events = {event.kind: event.payload for event in world.store.events(1)}
    assert events["teacher"]["missing"] == 0
    assert events["teacher"]["seconds"] >= 0
    assert events["fall-back"] == {"line": "it runs instead"}
    assert lines == ["it runs instead"]


@pytest.mark.usefixtures("unprepared")
def test_a_view_is_prepared_when_all_its_chunks_are(world: World, monkeypatch: pytest.MonkeyPatch):
    lines: list[tuple[int, int]] = []

    def tick(ready: int, needed: int) -> None:
        lines.append((needed - ready, needed))
        waiting = [future for future, _ in world.executor.submitted if not future.done()]
        if waiting:
            waiting[0].set_result(None)

    monkeypatch.setattr("autokd.searches.dispatcher.TICK_SECONDS", 0.001)
    world.dispatcher.on_prepared = tick
    world.dispatcher.prepare(world.problem.context)
    unready = [number for number, _ in lines]
    assert sorted(set(unready), reverse=True) == [2, 1, 0]
    assert unready.count(2) >= 2  # one chunk of the view is not the view


@pytest.mark.usefixtures("unprepared")
def test_a_view_that_cannot_be_prepared_stops_the_search(world: World, monkeypatch: pytest.MonkeyPatch):
    future: Future[None] = Future()
    future.set_exception(InputError("the teacher changed"))
    monkeypatch.setattr(world.executor, "submit", lambda *args: future)
    with pytest.raises(InputError, match="the teacher changed"):
        world.dispatcher.prepare(world.problem.context)


@pytest.mark.usefixtures("unprepared")
@pytest.mark.parametrize(("losses", "survives"), [(ATTEMPTS - 1, True), (ATTEMPTS, False)])
def test_a_chunk_whose_worker_is_lost_is_tried_again(world: World, monkeypatch, losses: int, survives: bool):
    monkeypatch.setattr("autokd.searches.dispatcher.missing_outputs", lambda context: MISSING[:1])
    submit = world.executor.submit

    def lose(function: Any, /, *args: Any) -> Future[Any]:
        future = submit(function, *args)
        if len(world.executor.submitted) > losses:
            future.set_result(None)
        else:
            future.set_exception(WorkerLost("it died"))
        return future

    monkeypatch.setattr(world.executor, "submit", lose)
    if survives:
        world.dispatcher.prepare(world.problem.context)
    else:
        with pytest.raises(AutoKDError, match="the teacher's outputs cannot be computed: WorkerLost: it died"):
            world.dispatcher.prepare(world.problem.context)
    assert len(world.executor.submitted) == ATTEMPTS


@pytest.mark.usefixtures("unprepared")
def test_a_chunk_that_takes_too_long_is_not_tried_again(world: World, monkeypatch: pytest.MonkeyPatch):
    future: Future[None] = Future()
    future.set_exception(TaskTimeout("after 5 s"))
    monkeypatch.setattr(world.executor, "submit", lambda *args: future)
    with pytest.raises(AutoKDError, match="the teacher's outputs cannot be computed: TaskTimeout: after 5 s"):
        world.dispatcher.prepare(world.problem.context)


@pytest.mark.usefixtures("unprepared")
def test_a_full_disk_stops_the_search_before_anything_is_computed(world: World, monkeypatch: pytest.MonkeyPatch):
    def full(context: TrainingContext, missing: list[OutputsKey]) -> None:
        raise InputError("no room")

    monkeypatch.setattr("autokd.searches.dispatcher.check_room", full)
    with pytest.raises(InputError, match="no room"):
        world.dispatcher.prepare(world.problem.context)
    assert world.executor.submitted == []


@pytest.fixture
def pruning_world(make_problem: Any, make_store: Any) -> World:
    problem = make_problem(teacher={"factory": "a:b", "pruning": {"shares": [0.2, 0.36]}})
    return World(problem, make_store(problem))


def test_pruning_is_done_round_by_round_and_only_what_is_missing(
    pruning_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, files = pruning_world, pruning_world.problem.pruned
    lines: list[str] = []

    def submit(function: Callable[..., Any], context: TrainingContext, rounds: int) -> Future[Any]:
        assert rounds == files.missing[0]
        files.write_result(rounds, accuracy=0.9 - rounds / 10)
        files.weights(rounds).touch()
        future: Future[Any] = Future()
        future.set_result(None)
        return future

    monkeypatch.setattr("autokd.searches.dispatcher.missing_outputs", lambda context: [])
    monkeypatch.setattr(world.executor, "submit", submit)
    world.dispatcher.on_notify = lines.append
    for context in (world.problem.context, world.problem.retraining_context):
        world.dispatcher.prepare(context)
    assert lines == [f"teacher pruned, round {k} of 2: {90 - 10 * k}.00 % validation accuracy" for k in (1, 2)]
    events = [dict(event.payload) for event in world.store.events(1) if event.kind == "pruned"]
    assert all(event.pop("seconds") >= 0 for event in events)
    assert events == [{"rounds": k, "of": 2, "accuracy": 0.9 - k / 10} for k in (1, 2)]


@pytest.mark.parametrize(
    ("error", "kind", "submitted"),
    [
        (WorkerLost("it died"), AutoKDError, ATTEMPTS),
        (TaskTimeout("after 5 s"), AutoKDError, 1),
        (InputError("the data changed"), InputError, 1),
    ],
)
def test_a_round_that_fails_ends_the_search_and_a_lost_worker_is_replaced(
    pruning_world: World, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception], submitted: int
) -> None:
    calls: list[int] = []

    def submit(function: Callable[..., Any], context: TrainingContext, rounds: int) -> Future[Any]:
        calls.append(rounds)
        future: Future[Any] = Future()
        future.set_exception(error)
        return future

    monkeypatch.setattr(pruning_world.executor, "submit", submit)
    with pytest.raises(kind, match=r"the teacher cannot be pruned|the data changed"):
        pruning_world.dispatcher.prepare(pruning_world.problem.context)
    assert calls == [1] * submitted
