import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inline_searches import rows, run

import autokd
from autokd.config.parsing import parse_config
from autokd.core.seeds import derive
from autokd.data.dataset import Dataset
from autokd.database.errors import DatabaseGone
from autokd.database.lease import Lease, acquire, release, request_stop
from autokd.database.outages import Patience
from autokd.database.store import Store
from autokd.distillation import Distiller
from autokd.errors import InputError, InterruptedSearchError
from autokd.searches.asking import Asked, AskedTasks, Asking
from autokd.searches.controller import Controller
from autokd.searches.data_from_python import data_source
from autokd.searches.dispatcher import Dispatcher
from autokd.searches.problem import Problem
from autokd.searches.retry import reopen
from autokd.searches.workspace import Workspace
from workers.errors import WorkerLost

MakeProblem = Callable[..., Problem]
MakeStore = Callable[..., Store]
THREE_RUNGS = {"rungs": [1, 2, 3]}


class Bands(torch.nn.Module):
    """Knows the answer: the class is the brightest band of rows."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 8 * images.mean((1, 3)).unflatten(1, (3, -1)).mean(2)


@pytest.fixture
def search_of_bands(dataset: Dataset, tmp_path: Path) -> autokd.SearchResult:
    """A search that was begun, and is not run."""
    home = Workspace(tmp_path / "home")
    values = {
        "name": "search",
        "trials": 2,
        "budget": {"params": 3_000},
        "data": {"source": data_source(dataset, home)},
        "teacher": {},
        "space": {"name": "nago", "ranges": {"top_nodes": 3, "middle_nodes": 1, "bottom_nodes": 3}},
        "training": {"rungs": [1, 2], "views": 1, "batch_size": 20, "precision": "float32"},
        "workers": {"engine": "inline", "count": 1},
    }
    return autokd.begin(parse_config(values), home, Bands())


class UnsteadyStore(Store):
    """Fails at some of its batches, before or after they are committed."""

    error: type[BaseException] = DatabaseGone
    after = False

    @cached_property
    def chance(self) -> random.Random:
        return random.Random(0)

    @contextmanager
    def batch(self, lease: Lease) -> Iterator[None]:
        fails = self.chance.random() < 0.4
        with super().batch(lease):
            yield
            if fails and not self.after:
                raise self.error
        if fails:
            raise self.error


@contextmanager
def asking(problem: Problem, store: Store) -> Iterator[Asking]:
    """A block that asks, as `SearchResult.asking` makes it."""
    lease, tasks = acquire(store, problem.config.name), AskedTasks()
    try:
        yield Asking(Controller(store, lease, problem, Dispatcher(store, lease, tasks)), tasks)
    finally:
        release(store, lease)


def luck(asked: Asked) -> float:
    """An accuracy as `pretend` makes it."""
    return derive(asked.task.key) / 2**63


def tell(search: Asking, asked: Asked, **told: Any) -> None:
    search.tell(asked, luck(asked), training_cross_entropy=1 - luck(asked), **told)


def tell_all(search: Asking) -> list[Asked]:
    """Ask and tell until there is nothing to ask for."""
    told = []
    while (asked := search.ask()) is not None:
        tell(search, asked, seconds=2.0)
        told.append(asked)
    return told


@pytest.mark.parametrize("pruner", ["none", "halving"])
@pytest.mark.parametrize("students", [1, 2])
def test_a_search_that_is_asked_and_told_is_the_one_that_workers_do(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Callable[..., None], pruner: str, students: int
) -> None:
    optimizer = {"name": "trust-region", "pruner": pruner}
    problem = make_problem(trials=8, optimizer=optimizer, training=THREE_RUNGS, students_per_trial=students)
    pretend()
    workers, told = make_store(problem), make_store(problem)
    run(problem, workers)
    with asking(problem, told) as search:
        tell_all(search)
        assert search.ask() is None
        assert search.record_end().status == "finished"
    assert rows(told) == rows(workers)


def test_many_may_be_asked_for_at_once_and_told_in_any_order(make_problem: MakeProblem, make_store: MakeStore) -> None:
    problem = make_problem(trials=5, training=THREE_RUNGS, optimizer={"name": "random", "pruner": "none"})
    store = make_store(problem)
    with asking(problem, store) as search:
        first = [search.ask() for _ in range(6)]
        assert first[5] is None
        out = [asked for asked in first if asked is not None]
        assert [asked.rung for asked in out] == [0] * 5
        for asked in reversed(out):
            tell(search, asked)
        assert sorted(asked.rung for asked in tell_all(search)) == [1] * 5 + [2] * 5
        assert search.record_end().complete == 5


def test_what_was_not_told_is_asked_for_again(make_problem: MakeProblem, make_store: MakeStore) -> None:
    problem = make_problem(trials=3, training=THREE_RUNGS, optimizer={"name": "random", "pruner": "none"})
    store = make_store(problem)
    with asking(problem, store) as search:
        told, left = search.ask(), search.ask()
        assert told is not None
        assert left is not None
        tell(search, told)
        assert search.record_end().status == "interrupted"
    with asking(problem, store) as search:
        again = tell_all(search)
    assert (left.name, 0) in {(asked.name, asked.rung) for asked in again}
    assert len(again) == 3 * 3 - 1
    assert len(store.evaluations(1)) == 9


def test_a_student_and_its_distillation_are_those_of_the_trial(
    make_problem: MakeProblem, make_store: MakeStore
) -> None:
    problem = make_problem(training=THREE_RUNGS, distillation={"method": "kd"})
    store = make_store(problem)
    with asking(problem, store) as search:
        asked = search.ask()
    assert asked is not None
    (trial,), (student,) = store.trials(1), store.students(1)
    assert asked.architecture.digest == student.digest
    assert asked.settings == {name: trial.parameters[name] for name in ("temperature", "weight")}
    assert (asked.method, asked.rung, asked.epochs) == ("kd", 0, 1)
    assert repr(asked) == f"<student {asked.name} to train by kd up to 1 epochs>"
    assert sum(parameter.numel() for parameter in asked.module().parameters()) == student.params
    assert asked.make_method().temperature == asked.settings["temperature"]


def test_an_outage_of_the_database_is_waited_out(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autokd.database.outages._FIRST_PAUSE_SECONDS", 0.001)
    problem = make_problem(trials=3, training=THREE_RUNGS)
    pretend()
    workers, told = make_store(problem), make_store(problem, UnsteadyStore)
    told.patience = Patience(60)
    run(problem, workers)
    with asking(problem, told) as search:
        tell_all(search)
        assert search.record_end().status == "finished"
    assert rows(told) == rows(workers)


@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after it"])
@pytest.mark.parametrize("error", [DatabaseGone, KeyboardInterrupt])
def test_who_catches_an_error_may_go_on(
    make_problem: MakeProblem,
    make_store: MakeStore,
    pretend: Callable[..., None],
    error: type[BaseException],
    after: bool,
) -> None:
    problem = make_problem(trials=3, training=THREE_RUNGS)
    pretend()
    workers, told = make_store(problem), make_store(problem, UnsteadyStore)
    told.error, told.after = error, after  # type: ignore[attr-defined]
    run(problem, workers)
    with asking(problem, told) as search:
        while search.record_end().status != "finished":
            with suppress(error):
                tell_all(search)
    assert rows(told) == rows(workers)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"accuracy": 1.2, "training_cross_entropy": 0.1}, r"^accuracy must be in \[0, 1\], but got 1\.2\.$"),
        ({"accuracy": 0.5}, r"^training_cross_entropy must be told, too: trials are pruned by it"),
        ({"accuracy": 0.5, "training_cross_entropy": float("nan")}, r"^training_cross_entropy must be finite, but got"),
        ({"accuracy": 0.5, "training_cross_entropy": 1, "loss": float("inf")}, r"^loss must be finite, but got inf\.$"),
        ({"accuracy": "x", "training_cross_entropy": 0.1}, r"^accuracy must be a number, but got 'x'\.$"),
        (
            {"accuracy": 0.5, "training_cross_entropy": 0.1, "seconds": []},
            r"^seconds must be a number, but got \[\]\.$",
        ),
        (
            {"accuracy": 0.5, "training_cross_entropy": 0.1, "weights": torch.nn.Linear(2, 2)},
            r"^weights must be those of a module that `asked\.module\(\)` made\.$",
        ),
    ],
    ids=["range", "missing", "not finite", "another not finite", "no number", "no seconds", "weights"],
)
def test_what_cannot_be_recorded_is_refused_and_may_be_told_again(
    make_problem: MakeProblem, make_store: MakeStore, told: dict[str, Any], message: str
) -> None:
    problem = make_problem(optimizer={"name": "random", "signal": "training_cross_entropy"})
    store = make_store(problem)
    with asking(problem, store) as search:
        asked = search.ask()
        assert asked is not None
        with pytest.raises(InputError, match=message):
            search.tell(asked, **told)
        assert store.evaluations(1)[0].state == "running"
        tell(search, asked)
    assert store.evaluations(1)[0].state == "complete"


def test_nothing_is_told_twice(make_problem: MakeProblem, make_store: MakeStore) -> None:
    problem = make_problem()
    with asking(problem, make_store(problem)) as search:
        asked = search.ask()
        assert asked is not None
        tell(search, asked)
        with pytest.raises(InputError, match=r"must have been asked for here, and not been told yet"):
            tell(search, asked)
        with pytest.raises(InputError, match=r"must have been asked for here, and not been told yet"):
            search.fail(asked, ValueError("late"))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("shapes differ"), "ValueError: shapes differ"),
        (OSError("no route"), "OSError: no route"),
        (InputError("the method does not fit"), "AutoKDError: the method does not fit"),
        (WorkerLost("killed"), "AutoKDError: killed"),
    ],
    ids=["of the training", "of a disk", "of the input", "of a worker"],
)
def test_a_failure_ends_its_trial_alone(
    make_problem: MakeProblem, make_store: MakeStore, error: Exception, reason: str
) -> None:
    problem = make_problem(trials=2)
    store = make_store(problem)
    with asking(problem, store) as search:
        asked = search.ask()
        assert asked is not None
        search.fail(asked, error)
        tell_all(search)
        assert search.record_end().status == "finished"
    assert [(trial.state, trial.reason) for trial in store.trials(1)] == [("failed", reason), ("complete", None)]
    assert bool(reopen(store, "first", False)) == isinstance(error, OSError)  # which can be tried again


def test_metrics_may_be_numbers_of_numpy_and_need_not_be_all_of_a_workers(
    make_problem: MakeProblem, make_store: MakeStore
) -> None:
    problem = make_problem(trials=1)
    store = make_store(problem)
    with asking(problem, store) as search:
        while (asked := search.ask()) is not None:
            told: Any = {"training_cross_entropy": np.float32(0.5), "balanced_accuracy": np.float64(0.25)}
            for seconds in (float("nan"), -1.0):
                with pytest.raises(InputError, match=r"^seconds must be finite and at least 0, but got"):
                    search.tell(asked, np.float32(0.75), seconds=seconds, **told)  # type: ignore[arg-type]
            search.tell(asked, np.float32(0.75), seconds=np.float32(2.5), **told)  # type: ignore[arg-type]
        assert search.record_end().status == "finished"
    metrics = {"accuracy": 0.75, "training_cross_entropy": 0.5, "balanced_accuracy": 0.25}
    assert {json.dumps(row.metrics, sort_keys=True) for row in store.evaluations(1)} == {
        json.dumps(metrics, sort_keys=True)
    }


def stop_while_asking(result: autokd.SearchResult) -> None:
    with result.asking() as search:
        search.ask()
        with result.home.open() as store:
            request_stop(store, "search", "gracefully")
        search._controller.dispatcher.stop.mode = "gracefully"  # as the next heartbeat finds
        search.ask()


def test_a_search_that_somebody_stops_ends_the_asking(search_of_bands: autokd.SearchResult) -> None:
    way_on = r"`autokd\.find\('search', home='.*', teacher=\.\.\.\)\.asking\(\)` goes on"
    with pytest.raises(InterruptedSearchError, match=way_on):
        stop_while_asking(search_of_bands)
    assert search_of_bands.progress.status == "interrupted"


def test_the_best_student_has_the_weights_that_were_told(
    search_of_bands: autokd.SearchResult, dataset: Dataset
) -> None:
    images, labels = dataset.train.images.permute(0, 3, 1, 2), dataset.train.labels
    trained: dict[str, torch.nn.Module] = {}
    with search_of_bands.asking() as search:
        while (asked := search.ask()) is not None:
            student = trained.setdefault(asked.name, asked.module())
            distiller = Distiller(asked.make_method(), student, Bands(), images.float() / 255)
            optimiser = torch.optim.SGD(student.parameters(), 0.05)
            for epoch in range(int(asked.epochs)):
                optimiser.zero_grad()
                distiller(images.float() / 255, labels, torch.arange(len(labels)), epoch=epoch, progress=0.0).backward()
                optimiser.step()
            right = (student.eval()(images.float() / 255).argmax(1) == labels).float().mean()
            search.tell(asked, float(right), weights=student, training_cross_entropy=1 - float(right))
    assert search_of_bands.progress.status == "finished"
    best = search_of_bands.best
    told = trained[best.evaluation.key.split("-")[0]]
    assert all(
        torch.equal(ours, theirs) for ours, theirs in zip(best.module().parameters(), told.parameters(), strict=True)
    )
    assert json.dumps(search_of_bands.search_cost)


def test_what_could_not_be_written_may_be_told_again(
    make_problem: MakeProblem, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = make_problem()
    store, disks = make_store(problem), iter([OSError("the disk is full"), None])

    def write(*_: object) -> None:
        if error := next(disks):
            raise error

    monkeypatch.setattr("autokd.searches.asking.save_weights", write)
    with asking(problem, store) as search:
        asked = search.ask()
        assert asked is not None
        with pytest.raises(OSError, match="the disk is full"):
            tell(search, asked, weights=asked.module())
        tell(search, asked, weights=asked.module())
    assert store.evaluations(1)[0].state == "complete"
