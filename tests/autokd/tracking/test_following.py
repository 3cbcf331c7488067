"""Real MLflow on SQLite, real files of TensorBoard and W&B: what they hold is what the rows hold."""

import json
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hub_models import package
from inline_searches import run

from autokd.config.flat import flat
from autokd.config.tracking import TrackingConfig
from autokd.database.lease import acquire, release
from autokd.database.store import Store
from autokd.errors import InputError
from autokd.evaluation.task import EvaluationTask
from autokd.searches.controller import Controller
from autokd.searches.dispatcher import Dispatcher
from autokd.searches.problem import Problem
from autokd.tracking.following import _TRACKERS, check_trackers, follow, tracked
from autokd.tracking.mlflow import MLflow
from autokd.tracking.tensorboard import TensorBoard
from autokd.tracking.tracker import Measurement, name_of
from autokd.tracking.wandb import WandB
from workers.inline import InlineExecutor

mlflow = package("mlflow")
accumulators = package("tensorboard.backend.event_processing.event_accumulator")
wandb, wandb_records = package("wandb"), package("wandb.proto.wandb_internal_pb2")
BLOCK_BYTES = 2**15  # of a file of W&B, which is a log as LevelDB writes it
TWO_RUNGS = {"rungs": [1, 2]}
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # which MLflow uses


@pytest.fixture
def search(
    make_problem: Callable[..., Problem],
    make_store: Callable[..., Store],
    pretend: Callable[..., None],
    with_references: None,
) -> Store:
    """The database of a search that ended, with two rungs and references, one of which does not fit the budget."""
    problem = make_problem(trials=5, training=TWO_RUNGS, optimizer={"name": "random", "pruner": "halving"})
    pretend(lambda task: 0.1 if task.rung == 0 and task.seed % 2 else None)
    store = make_store(problem)
    run(problem, store)
    return store


@pytest.fixture
def resumed(
    make_problem: Callable[..., Problem],
    make_store: Callable[..., Store],
    pretend: Callable[..., None],
    with_references: None,
) -> Store:
    """The database of a search that went on to another best student, so that it has two references without teacher."""
    few, more = (make_problem(trials=trials, references={"names": ["no-teacher"]}) for trials in (2, 4))
    store, trained = make_store(few), list[str]()

    def later_is_better(task: EvaluationTask) -> float:
        trained.append(task.key)
        return len(trained) / 100

    pretend(later_is_better)
    run(few, store)
    run(more, store)
    assert [row.parameters["trial"] for row in store.references(1)] == [1, 3]
    return store


def expected(store: Store) -> dict[str, dict[str, Any]]:
    """What rows hold of each trial and reference that was trained: its accuracies by rung and its value."""
    found: dict[str, dict[str, Any]] = {}
    for trial in [*store.trials(1), *store.references(1)]:
        rows = store.evaluations(1, trials=[trial.id])
        accuracies = {row.rung: row.metrics["accuracy"] for row in rows if row.metrics}
        if accuracies:
            found[name_of(trial)] = {"accuracy": accuracies, "value": trial.value}
    return found


def runs_of(uri: str) -> dict[str, Any]:
    """The runs of MLflow by name; a name that is there twice fails."""
    client = mlflow.MlflowClient(tracking_uri=uri)
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    names = [run.info.run_name for run in runs]
    assert len(set(names)) == len(names)
    return dict(zip(names, runs, strict=True))


def in_mlflow(uri: str) -> dict[str, dict[str, Any]]:
    client, found = mlflow.MlflowClient(tracking_uri=uri), {}
    for name, each in runs_of(uri).items():
        if history := client.get_metric_history(each.info.run_id, "accuracy"):
            found[name] = {
                "accuracy": {metric.step: metric.value for metric in history},
                "value": each.data.metrics.get("value"),
            }
    return found


def in_tensorboard(folder: Path) -> dict[str, dict[str, Any]]:
    found = {}
    (search,) = folder.iterdir()
    for trial in sorted(each for each in search.iterdir() if each.is_dir()):
        events = accumulators.EventAccumulator(str(trial))
        events.Reload()
        scalars = {tag: {each.step: each.value for each in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
        if "accuracy" in scalars:
            found[trial.name] = {"accuracy": scalars["accuracy"], "value": scalars.get("value", {}).get(0)}
    return found


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which W&B keeps runs, without a network."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    yield tmp_path / "wandb"
    wandb.teardown()


def in_wandb(folder: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for file in files(folder):
        runs = [record.run for record in records(file) if record.HasField("run")]
        trial = found.setdefault(runs[0].display_name, {"accuracy": {}, "value": None})
        for record in records(file):
            said = [*record.history.item, *record.summary.update]
            values = {"/".join(each.nested_key) or each.key: json.loads(each.value_json) for each in said}
            if "accuracy" in values and "rung" in values:
                trial["accuracy"][values["rung"]] = values["accuracy"]
            trial["value"] = values.get("value", trial["value"])
    return {name: each for name, each in found.items() if each["accuracy"]}


def files(folder: Path) -> list[Path]:
    """The files that W&B wrote, the oldest first."""
    return sorted(folder.glob("offline-run-*/*.wandb"))


def records(file: Path) -> Iterator[Any]:
    """The records of a file of W&B: behind seven bytes, parts in blocks, each with checksum, length and kind."""
    content, position, record = file.read_bytes(), 7, b""
    while position < len(content):
        left = BLOCK_BYTES - position % BLOCK_BYTES
        if left < 7:
            position += left
            continue
        length, kind = struct.unpack_from("<HB", content, position + 4)
        record += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole one, or the last part of one
            yield wandb_records.Record.FromString(record)
            record = b""


def nearly(expected: Mapping[str, Any]) -> Any:
    """Equal but for float32, as which TensorBoard keeps scalars."""
    return {
        name: {"accuracy": pytest.approx(each["accuracy"], rel=1e-6), "value": pytest.approx(each["value"], rel=1e-6)}
        for name, each in expected.items()
    }


@pytest.mark.slow  # MLflow makes its database, W&B starts its process
def test_all_hold_what_the_rows_hold_however_often_the_session_was_interrupted(
    search: Store, tmp_path: Path, offline: Path
) -> None:
    uri, folder, row = f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "runs", search.search("first")
    ids = [event.id for event in search.events(row.id)]

    class Part(Store):
        """The database as it was when only the first so many events had happened."""

        last = 0

        def events(self, search_id: int, after: int = 0, most: int | None = None) -> list[Any]:
            return [event for event in super().events(search_id, after, most) if event.id <= self.last]

    for share in (3, 2, 1):
        part = Part(search.engine.url.render_as_string())
        part.last = ids[len(ids) // share - 1]
        for tracker in (MLflow(uri, row), TensorBoard(str(folder), row), WandB("students", row)):
            assert follow(tracker, part, row.id, tracker.seen) == part.last
            tracker.close()
        part.close()
    assert in_mlflow(uri) == expected(search)
    assert in_tensorboard(folder) == nearly(expected(search))
    assert in_wandb(offline) == expected(search)


@pytest.mark.slow  # MLflow makes its database, W&B starts its process
def test_references_of_one_name_are_kept_apart_by_the_trials_whose_students_they_train(
    resumed: Store, tmp_path: Path, offline: Path
) -> None:
    uri, folder, row = f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "runs", resumed.search("first")
    for tracker in (MLflow(uri, row), TensorBoard(str(folder), row), WandB("students", row)):
        follow(tracker, resumed, row.id, tracker.seen)
        tracker.close()
    assert {"no-teacher-0001", "no-teacher-0003"} < expected(resumed).keys()
    assert in_mlflow(uri) == expected(resumed)
    assert in_tensorboard(folder) == nearly(expected(resumed))
    assert in_wandb(offline) == expected(resumed)


def test_parameters_of_references_are_compared_like_those_of_trials(search: Store, tmp_path: Path) -> None:
    row = search.search("first")
    tracker = TensorBoard(str(tmp_path), row)
    follow(tracker, search, row.id, tracker.seen)
    (resnet,) = tmp_path.glob("*/resnet")
    events = accumulators.EventAccumulator(str(resnet))
    events.Reload()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"ranges.stage1_block" in content
    assert b"settings.temperature" in content


@pytest.mark.slow  # MLflow makes its database
def test_runs_say_what_the_trial_was_and_how_it_ended(search: Store, tmp_path: Path) -> None:
    uri, row = f"sqlite:///{tmp_path}/mlflow.db", search.search("first")
    tracker = MLflow(uri, row)
    follow(tracker, search, row.id, tracker.seen)
    runs = runs_of(uri)
    assert runs["first"].data.params["budget.params"] == "4000"
    (student,) = search.students(row.id, trials=[search.trials(row.id)[0].id])
    for trial in search.trials(row.id):
        data = runs[f"trial-{trial.number:04}"].data
        assert data.params == {name: str(value) for name, value in trial.parameters.items()}
        assert data.tags["autokd.state"] == trial.state
        assert data.tags["mlflow.parentRunId"] == runs["first"].info.run_id
    assert runs["trial-0000"].data.metrics["params"] == student.params
    (resnet,) = (each for each in search.references(row.id) if each.reference == "resnet")
    assert runs["resnet"].data.params == {name: str(value) for name, value in flat(dict(resnet.parameters))}


@pytest.mark.slow  # MLflow makes its database
def test_settings_that_were_changed_are_tags_of_the_search_in_mlflow(search: Store, tmp_path: Path) -> None:
    uri, row = f"sqlite:///{tmp_path}/mlflow.db", search.search("first")
    limited = replace(row, config={**row.config, "seconds": 60.0})
    tracker, found = MLflow(uri, limited), []
    more = replace(row, config={**row.config, "trials": 100, "budget": {"params": 5000}})
    for each in (limited, more, row):
        tracker.changed(each)
        data = runs_of(uri)["first"].data
        found.append({name: value for name, value in data.tags.items() if name.startswith("autokd.config.")})
    names = [f"autokd.config.{name}" for name in ("trials", "budget.params", "seconds")]
    first = [str(row.config["trials"]), "4000", "None"]
    assert found == [{}, dict(zip(names, ["100", "5000", "None"], strict=True)), dict(zip(names, first, strict=True))]
    assert data.params["trials"] == first[0]


@pytest.mark.slow  # MLflow makes its database, W&B starts its process
def test_a_trial_that_was_opened_again_and_completed_has_no_reason_any_more(
    search: Store, tmp_path: Path, offline: Path
) -> None:
    uri, row = f"sqlite:///{tmp_path}/mlflow.db", search.search("first")
    trial = next(each for each in search.trials(row.id) if each.state == "complete")
    failed = replace(trial, state="failed", value=None, reason="a worker was lost")
    for tracker in (MLflow(uri, row), WandB("students", row)):
        for each in (failed, trial):
            tracker.ended(each, [])
        tracker.close()
    assert runs_of(uri)[name_of(trial)].data.tags["autokd.reason"] == ""
    assert summary(offline, "reason")[-1] == ""


def summary(folder: Path, name: str) -> list[Any]:
    """The values that a summary of W&B had one after the other."""
    updates = [each for file in files(folder) for record in records(file) for each in record.summary.update]
    return [json.loads(each.value_json) for each in updates if (each.key or each.nested_key[0]) == name]


@pytest.mark.slow  # W&B starts its process
def test_wandb_has_the_settings_of_now_and_is_told_again_what_a_killed_session_held_back(
    search: Store, offline: Path
) -> None:
    row, tracker = search.search("first"), WandB("students", search.search("first"))
    follow(tracker, search, row.id, tracker.seen)
    assert tracker.seen == 0
    tracker.changed(replace(row, config={**row.config, "trials": 100}))
    tracker.close()
    assert tracker.seen == search.events(row.id)[-1].id
    updates = [each for file in files(offline) for record in records(file) for each in record.config.update]
    assert [each.value_json for each in updates if (each.key or each.nested_key[0]) == "trials"][-1] == "100"


@pytest.mark.slow  # W&B starts its process
def test_a_full_length_training_leaves_the_rung_that_its_trial_reached(search: Store, offline: Path) -> None:
    row, tracker = search.search("first"), WandB("students", search.search("first"))
    trial = next(each for each in search.trials(row.id) if each.state == "complete")
    (student,) = search.students(row.id, trials=[trial.id])
    *_, evaluation = search.evaluations(row.id, trials=[trial.id])
    tracker.measured(Measurement(trial, student, evaluation))
    tracker.measured(Measurement(trial, replace(student, purpose="final"), replace(evaluation, rung=0)))
    tracker.close()
    assert set(summary(offline, "rung")) == {1}
    assert summary(offline, "final/accuracy")


class Stubborn(TensorBoard):
    """Fails at its second measurement."""

    n_measured = 0

    def measured(self, *_: Any) -> None:
        self.n_measured += 1
        if self.n_measured > 1:
            raise ConnectionError("the server is gone")


def test_methods_that_are_composed_have_names_that_mlflow_takes(search: Store, tmp_path: Path) -> None:
    uri, row = f"sqlite:///{tmp_path}/mlflow.db", search.search("first")
    tracker = MLflow(uri, row)
    trial = replace(search.trials(1)[0], parameters={"kd+fitnet.kd.temperature": 2.0, "kd>dkd.dkd.beta": 3.0, "a,b": 1})
    tracker.opened(trial)
    (run,) = [each for name, each in runs_of(uri).items() if name.startswith("trial-")]
    assert run.data.params == {"kd/fitnet.kd.temperature": "2.0", "kd:dkd.dkd.beta": "3.0", "a_b": "1"}


def test_a_tracker_that_fails_is_left_alone_and_the_search_goes_on(
    make_problem: Callable[..., Problem],
    make_store: Callable[..., Store],
    pretend: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem, heard = make_problem(trials=3), list[str]()
    store = make_store(problem)
    pretend()
    monkeypatch.setitem(_TRACKERS, "tensorboard", Stubborn)
    config, lease = TrackingConfig(tensorboard=str(tmp_path / "runs")), acquire(store, "first")
    with tracked(config, lease.search_id, lambda: Store(store.engine.url.render_as_string()), heard.append):
        Controller(store, lease, problem, Dispatcher(store, lease, InlineExecutor())).run()
    release(store, lease)
    assert heard == ["tracking.tensorboard failed and was left alone from then on: the server is gone"]
    assert all(trial.finished_at for trial in store.trials(1))


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_server_that_does_not_answer_is_an_error_at_once(closed_port: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^tracking\.mlflow: 'http://127\.0\.0\.1:\d+' cannot be used: "):
        check_trackers(TrackingConfig(mlflow=f"http://127.0.0.1:{closed_port}"))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"^tracking\.tensorboard: '.*file/runs' cannot be used: .*Not a directory"):
        check_trackers(TrackingConfig(tensorboard=str(tmp_path / "file" / "runs")))


def test_without_a_key_there_is_no_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "WANDB_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(InputError, match=r"^tracking\.wandb: 'students' cannot be used: No API key configured"):
        check_trackers(TrackingConfig(wandb="students"))
    wandb.teardown()


@pytest.mark.usefixtures("offline")
def test_another_project_of_wandb_is_told_everything(
    make_problem: Callable[..., Problem], make_store: Callable[..., Store]
) -> None:
    row = make_store(make_problem()).search("first")
    for project, before in (("ours/first", 0), ("ours/second", 0), ("ours/first", 57)):
        tracker = WandB(project, row)
        assert tracker.seen == before
        tracker.saw(57)
        tracker.close()


def test_what_a_disabled_wandb_saw_is_told_again(
    make_problem: Callable[..., Problem],
    make_store: Callable[..., Store],
    offline: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = make_store(make_problem()).search("first")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    tracker = WandB("ours/first", row)
    tracker.saw(57)
    tracker.close()
    assert tracker.seen == 0
    assert not list(offline.glob("autokd-*.json"))
