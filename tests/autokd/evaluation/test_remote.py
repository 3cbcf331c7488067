import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from evaluation_tasks import digits_task
from object_store import Bucket

from autokd.core.depot import Depot
from autokd.evaluation import evaluate as evaluation
from autokd.evaluation import remote
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.evaluate import evaluate
from autokd.evaluation.precompute import missing_outputs, precompute_outputs
from autokd.evaluation.prune import prune_round
from autokd.evaluation.remote import bring, depot_of, packed, run_remotely
from autokd.evaluation.task import EvaluationTask
from autokd.teachers.pruned import PrunedTeachers
from autokd.training.checkpoint import epochs_done, save_checkpoint
from workers.errors import WorkerLost
from workers.local import LocalExecutor


@pytest.fixture
def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Goes to another machine: the folder of its cache."""

    def go(machine: str) -> Path:
        monkeypatch.setattr(remote, "cache_folder", lambda name: tmp_path / machine / name)
        return tmp_path / machine

    return go


@pytest.fixture
def depot(tmp_path: Path) -> Depot:
    """The controller's files, at a URL that this process alone knows."""
    depot = depot_of(f"memory://{uuid4().hex}", tmp_path / "home")
    assert depot is not None
    return depot


def done(depot: Depot, work: Callable[..., Any], *given: Any) -> Any:
    """What a worker returns."""
    function, url, payload = packed(depot, work, *given)
    return function(url, payload)


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.rglob("*") if file.is_file()}


def test_a_worker_that_sees_no_folder_finds_the_same_and_the_controller_gets_what_it_keeps(
    on: Callable[[str], Path], depot: Depot, tmp_path: Path
) -> None:
    expected = evaluate(digits_task(tmp_path / "shared"))
    task, elsewhere = digits_task(depot.root), on("elsewhere")
    result = done(depot, evaluate, task)
    assert replace(result, seconds=0.0, epoch_seconds=None) == replace(expected, seconds=0.0, epoch_seconds=None)
    assert not depot.root.exists()
    bring(depot, task)
    assert names(task.weights.parent) == {"correct-1.safetensors", "result-1.json", "weights-1.safetensors"}
    assert names(elsewhere) & names(task.weights.parent) == set()
    assert "checkpoint.safetensors" in {file.name for file in depot.sizes(task.folder)}


def test_a_later_rung_goes_on_from_the_checkpoint_of_another_machine(
    on: Callable[[str], Path], depot: Depot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []

    def save(state: Any, path: Path) -> None:
        steps.append(state.step)
        save_checkpoint(state, path)

    monkeypatch.setattr(evaluation, "save_checkpoint", save)
    task, on_one = digits_task(depot.root), digits_task(tmp_path / "shared")
    for machine, rung in (("first", 0), ("second", 2)):
        on(machine)
        result = done(depot, evaluate, replace(task, rung=rung))
    on_two, steps[:] = list(steps), []
    assert result.metrics == [evaluate(replace(on_one, rung=rung)).metrics for rung in (0, 2)][-1]
    assert on_two == steps


def test_outputs_are_computed_once_and_kept_in_the_cache_of_each_machine(
    on: Callable[[str], Path], depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = digits_task(depot.root).context
    missing = missing_outputs(context)
    on("first")
    for key in missing:
        done(depot, precompute_outputs, context, key)
        bring(depot, context)
    assert missing_outputs(context) == []
    monkeypatch.setattr("autokd.evaluation.context.TrainingContext.load_teacher", None)
    second = on("second")
    done(depot, precompute_outputs, context, missing[0])
    assert names(second) == names(context.stored().folder)


def test_what_was_made_here_and_is_named_in_the_configuration_is_found_there(
    on: Callable[[str], Path], depot: Depot
) -> None:
    file, folder = depot.root / "data" / "mine.npz", depot.root / "pictures"
    for path in (file, folder / "a" / "1.npy", folder / "b" / "2.npy", depot.root / "unnamed"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"data")
    given = {"source": str(file), "folder": str(folder), "other": f"{depot.root}-2/x", "above": f"{depot.root}/../x"}
    there = on("there")
    seen = done(depot, see, digits_task(depot.root).context, given)
    assert seen["source"].endswith("/data/mine.npz")
    assert seen["source"].startswith(str(there))
    assert names(there) == {"mine.npz", "1.npy", "2.npy"}
    assert (seen["other"], seen["above"]) == (given["other"], given["above"])


def test_a_pruned_teacher_is_made_there_as_it_is_here(on: Callable[[str], Path], depot: Depot, tmp_path: Path) -> None:
    def pruned(root: Path) -> tuple[TrainingContext, PrunedTeachers]:
        context = digits_task(root).context
        digests = context.teacher_digest, context.data_digest
        files = PrunedTeachers(
            context.teacher.numbered(0), *digests, context.training, 1, 7, context.cache, wanted=(1,)
        )
        return replace(context, pruned=files), files

    (shared, expected), (context, found) = pruned(tmp_path / "shared"), pruned(depot.root)
    prune_round(shared, 1)
    on("there")
    done(depot, prune_round, context, 1)
    bring(depot, context)
    assert found.weights(1).read_bytes() == expected.weights(1).read_bytes()
    assert set(depot.sizes(found.folder)) == {found.weights(1), found.weights(1).with_suffix(".json")}


def see(context: Any, given: dict[str, str]) -> dict[str, str]:
    return given


def fail(task: EvaluationTask) -> None:
    task.log.parent.mkdir(parents=True, exist_ok=True)
    task.log.write_text("why")
    raise ArithmeticError("it failed")


def test_the_log_of_a_training_that_fails_is_brought(on: Callable[[str], Path], depot: Depot) -> None:
    task, there = digits_task(depot.root), on("there")
    with pytest.raises(ArithmeticError, match="it failed"):
        done(depot, fail, task)
    bring(depot, task)
    assert task.log.read_text() == "why"
    assert names(there) == set()


def killed_after(n: int, folder: Path, url: str, payload: bytes) -> None:
    """The process, with a cache in this folder, dies as soon as its n-th checkpoint is at the URL."""
    send, sent = Depot.send, list[Path]()

    def send_and_die(self: Depot, file: Path) -> None:
        send(self, file)
        sent.extend([file] if "checkpoint" in file.name else [])
        if len(sent) == n:
            os.kill(os.getpid(), signal.SIGKILL)

    Depot.send = send_and_die  # type: ignore[method-assign]
    vars(remote)["cache_folder"] = folder.joinpath
    run_remotely(url, payload)


@pytest.mark.slow  # a process that trains, and a server
def test_a_lost_worker_costs_at_most_an_epoch(
    on: Callable[[str], Path], bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    depot = depot_of(bucket.url, tmp_path / "home")
    assert depot is not None
    task = replace(digits_task(depot.root), rung=2)
    _, url, payload = packed(depot, evaluate, task)
    with LocalExecutor(1) as executor:
        assert isinstance(executor.submit(killed_after, 3, tmp_path / "first", url, payload).exception(), WorkerLost)
    depot.fetch(task.folder, changing=True)
    assert epochs_done(task.checkpoint) == 2.0
    on("second")
    steps: list[int] = []
    monkeypatch.setattr(evaluation, "save_checkpoint", lambda state, path: steps.append(state.step))
    result = run_remotely(url, payload)
    assert steps == [12]
    assert result.metrics == evaluate(replace(digits_task(tmp_path / "shared"), rung=2)).metrics
