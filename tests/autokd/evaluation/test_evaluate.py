import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
import torch
from evaluation_tasks import ARCHITECTURE, DATA, TEACHER, digits_task, measured_on_test, with_training
from killed_evaluations import Stopped, assert_killed_is_unbroken, stopping_after, weights_of
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from autokd.data.registry import load_data
from autokd.errors import DiskFullError, DivergedError, InputError
from autokd.evaluation import evaluate as evaluation
from autokd.evaluation.evaluate import OutOfMemoryError, evaluate
from autokd.evaluation.precompute import precompute_outputs
from autokd.evaluation.task import EvaluationTask
from autokd.teachers.registry import Teacher, load_teacher
from autokd.training.checkpoint import _digest, load_weights, save_checkpoint
from autokd.training.metrics import label_metrics, predict, teacher_metrics, validation_metrics
from search_spaces.networks.network import build

CPU = torch.device("cpu")
RECIPES: dict[str, dict[str, Any]] = {
    "cosine": {"schedule": "cosine"},
    "stable": {"schedule": "stable", "cooldown": 0.6, "ema": 0.9},
    "adamw": {"schedule": "stable", "cooldown": 0.6, "optimizer": "adamw", "learning_rate": 0.01},
}


@pytest.fixture
def task(tmp_path: Path) -> EvaluationTask:
    """The middle rung, which ends within an epoch."""
    return digits_task(tmp_path)


@pytest.fixture(params=RECIPES)
def recipe(request: pytest.FixtureRequest, task: EvaluationTask) -> EvaluationTask:
    """The middle rung under several ways to train."""
    return with_training(task, **RECIPES[request.param])


def test_the_metrics_are_those_of_the_trained_network(recipe: EvaluationTask):
    metrics = evaluate(recipe).metrics
    network, dataset = build(ARCHITECTURE), load_data(DATA)
    network.load_state_dict(load_weights(recipe.weights))
    logits = predict(network, dataset.validation, dataset.normalisation)
    taught = load_teacher(TEACHER, CPU)
    teacher = predict(taught, dataset.validation, dataset.normalisation).half().float()  # as they are stored
    expected = validation_metrics(logits, dataset.validation.labels) | teacher_metrics(logits, teacher)
    assert metrics.pop("training_loss") > 0
    assert metrics.pop("training_cross_entropy") > 0
    training = recipe.context.training  # 4 steps an epoch
    steps = 2 if training.schedule == "cosine" else 2 + round(4 * training.cooldown)
    work = {"images": 32 * steps, "live_teacher_images": 0}
    weights = {"nonzero_params": sum(int((weight != 0).sum()) for weight in network.parameters())}
    assert metrics == pytest.approx(expected | work | weights, abs=1e-6)


def test_the_second_time_finds_the_result_of_the_first(task: EvaluationTask, monkeypatch: pytest.MonkeyPatch):
    first = evaluate(task)
    monkeypatch.setattr(evaluation, "_distil", None)
    assert evaluate(task) == first


def test_a_full_disk_is_told_as_such_where_only_the_log_is_written(task: EvaluationTask):
    task.log.parent.mkdir(parents=True)
    task.log.symlink_to("/dev/full")
    with pytest.raises(DiskFullError, match="is full: make room"):
        evaluate(task)


def test_rung_after_rung_is_the_last_rung_alone(recipe: EvaluationTask, tmp_path: Path):
    climbed = [evaluate(replace(recipe, rung=rung)) for rung in range(3)][-1]
    alone = replace(recipe, rung=2, folder=tmp_path / "elsewhere")
    assert evaluate(alone).metrics == climbed.metrics
    assert weights_of(alone) == weights_of(replace(recipe, rung=2))


def test_a_lower_rung_after_a_higher_one_is_what_it_is_alone(recipe: EvaluationTask, tmp_path: Path):
    evaluate(replace(recipe, rung=2))
    alone = evaluate(replace(recipe, rung=0, folder=tmp_path / "elsewhere"))
    assert evaluate(replace(recipe, rung=0)).metrics == alone.metrics


@pytest.mark.parametrize(
    ("name", "n"),
    [
        *(("cosine", n) for n in range(1, 5)),  # segments end at steps 4, 6, 8 and 12
        *(("stable", n) for n in range(1, 6)),  # at 2, 4 and 5 of the trunk, and 8 and 12 of the cooldown
        *(("adamw", n) for n in range(1, 6)),
    ],
)
def test_killed_after_any_checkpoint_it_goes_on_to_the_same_result(
    task: EvaluationTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, n: int
):
    task = replace(with_training(task, **RECIPES[name]), rung=2)
    assert_killed_is_unbroken(task, tmp_path, monkeypatch, n)


def test_a_damaged_checkpoint_is_left_out_and_the_result_is_the_same(
    task: EvaluationTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    expected = evaluate(replace(task, folder=tmp_path / "unbroken")).metrics
    with monkeypatch.context() as patch:
        stopping_after(1, patch)
        with pytest.raises(Stopped):
            evaluate(task)
    content = task.checkpoint.read_bytes()
    task.checkpoint.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert evaluate(task).metrics == expected
    assert "some of its bytes have changed. It is left out." in task.log.read_text()


@pytest.fixture
def scheduled(task: EvaluationTask) -> EvaluationTask:
    """The last rung, of 12 steps, by two methods in turn; the second one learns a projection."""
    return replace(task, rung=2, method="kd>multi-step", settings=(("switch", 0.5),))


@pytest.mark.slow  # trains to several rungs
def test_methods_in_turn_switch_at_a_share_of_the_whole_training(scheduled: EvaluationTask):
    alone = replace(scheduled, method="kd", settings=())
    in_turn = replace(scheduled, method="kd>dist")
    found, expected = ([evaluate(replace(task, rung=rung)).metrics for rung in (1, 2)] for task in (in_turn, alone))
    assert found[0] == expected[0]  # 6 steps of 12
    assert found[1] != expected[1]


@pytest.mark.slow  # trains to several rungs
def test_methods_in_turn_are_the_same_rung_after_rung(scheduled: EvaluationTask, tmp_path: Path):
    climbed = [evaluate(replace(scheduled, rung=rung)) for rung in range(3)][-1]
    assert evaluate(replace(scheduled, folder=tmp_path / "elsewhere")).metrics == climbed.metrics


@pytest.mark.slow  # trains to several rungs
@pytest.mark.parametrize("n", [2, 3])  # just before the switch at step 6, and after it
def test_methods_in_turn_go_on_where_they_were_killed(
    scheduled: EvaluationTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int
):
    assert_killed_is_unbroken(scheduled, tmp_path, monkeypatch, n)


def test_weights_of_a_rung_are_kept_whatever_is_trained_afterwards(
    task: EvaluationTask, monkeypatch: pytest.MonkeyPatch
):
    last = replace(task, rung=2)
    evaluate(task)
    middle = weights_of(task)
    with monkeypatch.context() as patch:
        stopping_after(1, patch)
        with pytest.raises(Stopped):
            evaluate(last)
    assert weights_of(task) == middle
    evaluate(last)
    end = weights_of(last)
    evaluate(replace(task, rung=0))
    assert (weights_of(task), weights_of(last)) == (middle, end)


def test_what_was_trained_is_not_trained_again(task: EvaluationTask, monkeypatch: pytest.MonkeyPatch):
    task = with_training(task, schedule="cosine")
    evaluate(replace(task, rung=0))
    steps: list[int] = []
    monkeypatch.setattr(evaluation, "save_checkpoint", lambda state, path: steps.append(state.step))
    evaluate(replace(task, rung=2))
    assert steps == [6, 8, 12]


def test_a_promoted_trial_goes_on_from_the_trunk(task: EvaluationTask, monkeypatch: pytest.MonkeyPatch):
    task = with_training(task, schedule="stable", cooldown=0.3)  # leaves the trunk at steps 3, 4 and 8
    steps: list[int] = []
    save = save_checkpoint
    monkeypatch.setattr(
        evaluation, "save_checkpoint", lambda state, path: (save(state, path), steps.append(state.step))
    )
    for rung in range(3):
        evaluate(replace(task, rung=rung))
    assert steps == [3, 4, 4, 6, 8, 12]


def test_a_cooldowns_checkpoint_goes_when_its_rung_is_done(task: EvaluationTask):
    task = with_training(task, schedule="stable")
    evaluate(task)
    files = {file.name for file in task.checkpoint.parent.iterdir()}
    assert files == {"checkpoint.safetensors", "correct-1.safetensors", "weights-1.safetensors", "result-1.json"}


def test_a_checkpoint_of_another_version_is_trained_over(task: EvaluationTask, tmp_path: Path):
    expected = evaluate(replace(task, folder=tmp_path / "elsewhere")).metrics
    task.checkpoint.parent.mkdir(parents=True)
    save_file({"network.x": torch.zeros(1)}, task.checkpoint, {"progress": json.dumps({"step": 4, "losses": [1.0]})})
    assert evaluate(task).metrics == expected


def test_the_average_is_what_is_kept(task: EvaluationTask):
    plain, averaged = task, with_training(task, ema=0.9)
    assert evaluate(plain).metrics["training_loss"] == evaluate(averaged).metrics["training_loss"]
    assert weights_of(plain) != weights_of(averaged)


@pytest.fixture
def final(task: EvaluationTask) -> EvaluationTask:
    """Six epochs that end badly, of which the best is kept."""
    task = with_training(task, rungs=(6.0,), ema=0.5)
    return replace(measured_on_test(task), rung=0, keeps_best=True)


def test_the_best_epoch_of_the_second_half_is_kept(final: EvaluationTask, monkeypatch: pytest.MonkeyPatch):
    split, scores = load_data(DATA).validation, {}

    def watch(task: EvaluationTask, state: Any, dataset: Any) -> None:
        with state.average.in_place():
            found = label_metrics(predict(state.network, split, dataset.normalisation), split.labels)
        scores[state.epochs] = found["accuracy"], -found["loss"]
        keep(task, state, dataset)

    keep = evaluation._keep_best
    monkeypatch.setattr(evaluation, "_keep_best", watch)
    metrics = evaluate(final).metrics
    best = max(scores, key=lambda epoch: (scores[epoch], -epoch))
    assert list(scores) == [3.0, 4.0, 5.0, 6.0]
    assert metrics["best_epoch"] == best != 6.0
    assert (metrics["accuracy"], -metrics["loss"]) == scores[best]


def test_what_a_final_training_reports_is_of_the_kept_weights(final: EvaluationTask):
    metrics, network, dataset = evaluate(final).metrics, build(ARCHITECTURE), load_data(DATA)
    network.load_state_dict(load_weights(final.weights))
    for part, prefix in (("validation", ""), ("test", "test_")):
        split = dataset.splits[part]
        found = label_metrics(predict(network, split, dataset.normalisation), split.labels)
        assert metrics[f"{prefix}accuracy"] == pytest.approx(found["accuracy"])
        assert metrics[f"{prefix}loss"] == pytest.approx(found["loss"])


@pytest.mark.parametrize("n", range(1, 7))
@pytest.mark.parametrize("schedule", ["cosine", "stable"])
def test_killed_after_any_checkpoint_a_final_training_keeps_the_same_weights(
    final: EvaluationTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedule: str, n: int
):
    assert_killed_is_unbroken(with_training(final, schedule=schedule), tmp_path, monkeypatch, n)


@pytest.mark.parametrize("stops", [True, False])
def test_another_worker_on_a_final_training_changes_nothing(
    final: EvaluationTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops: bool
):
    final = replace(final, seed=13)
    unbroken, save = replace(final, folder=tmp_path / "unbroken"), save_checkpoint
    expected = evaluate(unbroken).metrics
    assert expected["best_epoch"] > 3

    def interleave(state: Any, path: Path) -> None:
        """After the last epoch, a worker that had come to the second goes on to the third, or to the end."""
        save(state, path)
        if state.epochs == 2:
            copyfile(path, tmp_path / "second")
        elif state.epochs == 6:
            copyfile(tmp_path / "second", final.checkpoint)
            final.branch_checkpoint.unlink(missing_ok=True)
            with monkeypatch.context() as patch, suppress(Stopped):
                stopping_after(1 if stops else 6, patch)
                evaluate(final)

    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "save_checkpoint", interleave)
        assert evaluate(final).metrics == expected
    assert weights_of(final) == weights_of(unbroken)


@pytest.mark.parametrize("damage", [None, "gone", "short", "changed"])
def test_a_final_training_of_an_earlier_version_goes_on_or_begins_again_without_its_best_weights(
    final: EvaluationTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str | None
):
    unbroken = replace(final, folder=tmp_path / "unbroken")
    expected = evaluate(unbroken).metrics
    with monkeypatch.context() as patch:
        stopping_after(5, patch)
        with pytest.raises(Stopped):
            evaluate(final)
    as_before(final.checkpoint, final.best)
    content = final.best.read_bytes()
    if damage == "gone":
        final.best.unlink()
    elif damage is not None:
        final.best.write_bytes(content[:-9] if damage == "short" else content[:-1] + bytes([content[-1] ^ 1]))
    result = evaluate(final)
    assert result.metrics == expected
    assert weights_of(final) == weights_of(unbroken)
    assert (result.epoch_seconds is None) == (damage is None)  # one epoch was left of six
    assert damage is None or "cannot be read" in final.log.read_text()


def as_before(checkpoint: Path, best: Path) -> None:
    """Write a checkpoint as earlier versions did, with the best weights in a file of their own."""
    with safe_open(checkpoint, framework="pt") as file:
        progress = json.loads(file.metadata()["progress"])
    tensors, kept = load_file(checkpoint), {}
    for name in [name for name in tensors if name.startswith("best.")]:
        kept[name.removeprefix("best.")] = tensors.pop(name)
    progress["digest"] = _digest(tensors)
    save_file(tensors, checkpoint, {"progress": json.dumps(progress)})
    save_file(kept, best, {"digest": _digest(kept)})


def test_the_time_of_an_epoch_is_told_only_by_half_of_the_steps_or_more(
    final: EvaluationTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for n, tells in ((3, True), (4, False)):
        task = replace(final, folder=tmp_path / str(n))
        with monkeypatch.context() as patch:
            stopping_after(n, patch)
            with pytest.raises(Stopped):
                evaluate(task)
        assert (evaluate(task).epoch_seconds is not None) is tells


def test_the_best_weights_so_far_go_when_the_training_is_done(final: EvaluationTask):
    evaluate(final)
    final.best.touch()  # as if killed between the result and the tidying
    evaluate(final)
    assert not final.best.exists()


def test_the_result_on_disk_is_the_result(task: EvaluationTask):
    result = evaluate(task)
    assert json.loads(task.result.read_text()) == vars(result)
    assert result.key == task.key


def test_a_final_training_is_tested(task: EvaluationTask):
    metrics = evaluate(measured_on_test(task)).metrics
    measured = {"accuracy", "loss", "ece", "ece_scaled", "agreement", "teacher_kl"}
    measured |= {"balanced_accuracy", "macro_f1", "auroc", "absent_classes"}
    assert set(metrics) == measured | {f"test_{name}" for name in measured} | {
        *("scaling_temperature", "training_loss", "training_cross_entropy"),
        *("images", "live_teacher_images", "nonzero_params"),
    }
    untested = evaluate(task).metrics
    assert {name: metrics[name] for name in untested} == untested


def test_which_samples_of_which_split_are_right_is_kept(task: EvaluationTask) -> None:
    tested = measured_on_test(task)
    metrics, correct = evaluate(tested).metrics, load_file(tested.correct)
    means = {part: hits.double().mean().item() for part, hits in correct.items()}
    assert means == pytest.approx({"validation": metrics["accuracy"], "test": metrics["test_accuracy"]})


def test_data_that_changed_are_refused(task: EvaluationTask):
    with pytest.raises(
        InputError, match=r"data digits changed since the search began: its digest is .*, but was other"
    ):
        evaluate(replace(task, context=replace(task.context, data_digest="other")))


def test_a_teacher_that_changed_is_refused(task: EvaluationTask):
    with pytest.raises(InputError, match=r"teacher autokd.recipes.teachers:digits changed since the search began"):
        evaluate(replace(task, context=replace(task.context, teacher_digest="other")))


def test_a_loss_that_explodes_is_an_error(task: EvaluationTask):
    with pytest.raises(DivergedError, match="the loss is no longer finite"):
        evaluate(with_training(task, learning_rate=1e30))


def allocate_too_much(*_: object, **__: object) -> None:
    torch.empty(2**50, dtype=torch.uint8)


def raise_memory_error(*_: object, **__: object) -> None:
    raise MemoryError


def raise_cuda_error(*_: object, **__: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")


@pytest.mark.parametrize("fail", [allocate_too_much, raise_memory_error, raise_cuda_error])
def test_too_little_memory_is_an_error_of_one_line(task: EvaluationTask, monkeypatch: pytest.MonkeyPatch, fail):
    monkeypatch.setattr(evaluation, "train", fail)
    with pytest.raises(OutOfMemoryError, match=r"^out of memory on cpu: ") as caught:
        evaluate(task)
    assert "\n" not in str(caught.value)


def test_other_errors_are_not_taken_for_too_little_memory(task: EvaluationTask, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(evaluation, "train", fail)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        evaluate(task)


def test_the_loss_is_the_methods_loss_of_the_cached_outputs(task: EvaluationTask):
    """With all weight on labels the teacher does not matter."""
    alone = replace(task, settings=(("temperature", 4.0), ("weight", 0.0)))
    first = evaluate(alone).metrics
    other = replace(alone, context=replace(alone.context, teacher_digest="other", cache=alone.context.cache / "other"))
    for key in other.context.outputs_needed:
        precompute_outputs(other.context, key, Teacher(lambda images: torch.ones(len(images), 10), "object"))
    found = evaluate(other).metrics
    compared = {"agreement", "teacher_kl"}
    assert {k: v for k, v in found.items() if k not in compared} == {
        k: v for k, v in first.items() if k not in compared
    }
