import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autokd import evaluation
from autokd.config import AugmentationConfig, DataConfig, TeacherConfig, TrainingConfig
from autokd.data.sources import load_data
from autokd.errors import InputError
from autokd.evaluation import EvaluationTask, OutOfMemoryError, evaluate
from autokd.lessons import LessonPlan, prepare_answers
from autokd.teachers.teacher import Teacher, load_teacher
from autokd.training.checkpoint import load_weights
from autokd.training.loop import DivergedError
from autokd.training.metrics import predict, teacher_metrics, validation_metrics
from search_spaces.architecture import Architecture, Node
from search_spaces.network import build

CPU = torch.device("cpu")
DATA = DataConfig(source="digits", subset=128)
TEACHER = TeacherConfig(factory="autokd.recipes.teachers:digits", weights="autokd.recipes:digits.safetensors")
TRAINING = TrainingConfig(
    rungs=(1.0, 1.5, 3.0), batch_size=32, views=2, precision="float32", augmentation=AugmentationConfig(shift=1)
)
NODES = (
    Node("input", (), 1),
    Node("conv3x3_bn", (0,), 4, stride=2),
    Node("relu_conv3x3_bn", (1,), 4),
    Node("classifier", (1, 2), 10, merge="weighted_sum"),
)
ARCHITECTURE = Architecture((1, 8, 8), 10, NODES)
SHORTER = replace(ARCHITECTURE, nodes=(*NODES[:2], Node("classifier", (1,), 10)))
SETTINGS = (("temperature", 4.0), ("weight", 0.9))


@pytest.fixture
def plan(tmp_path: Path) -> LessonPlan:
    digests = load_data(DATA).digest, load_teacher(TEACHER, CPU).digest
    return LessonPlan(DATA, digests[0], TEACHER, digests[1], TRAINING, 5, tmp_path / "teachers", "cpu")


@pytest.fixture
def task(plan: LessonPlan, tmp_path: Path) -> EvaluationTask:
    """The middle rung, which ends within an epoch."""
    return EvaluationTask(plan, ARCHITECTURE.to_json(), "kd", SETTINGS, 1, 7, tmp_path / "evaluations")


def measured_on_test(task: EvaluationTask) -> EvaluationTask:
    """The same, measured on the test split, too."""
    return replace(task, plan=replace(task.plan, is_tested=True))


def weights_of(task: EvaluationTask) -> dict[str, list[Any]]:
    return {name: tensor.tolist() for name, tensor in load_weights(task.weights).items()}


class Stopped(BaseException):
    """Stands for a killed process: nothing catches it."""


def stopping_after(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill the process as soon as it has written its n-th checkpoint."""
    saved: list[int] = []
    save = evaluation.save_checkpoint

    def save_and_stop(state: Any, path: Path) -> None:
        save(state, path)
        saved.append(state.step)
        if len(saved) == n:
            raise Stopped

    monkeypatch.setattr(evaluation, "save_checkpoint", save_and_stop)


def test_the_metrics_are_those_of_the_trained_network(task: EvaluationTask):
    metrics = evaluate(task).metrics
    network, dataset = build(ARCHITECTURE), load_data(DATA)
    network.load_state_dict(load_weights(task.weights))
    logits = predict(network, dataset.validation, dataset.normalisation)
    taught = load_teacher(TEACHER, CPU)
    teacher = predict(taught, dataset.validation, dataset.normalisation).half().float()  # as they are stored
    expected = validation_metrics(logits, dataset.validation.labels) | teacher_metrics(logits, teacher)
    assert metrics.pop("training_loss") > 0
    assert metrics == pytest.approx(expected, abs=1e-6)


def test_the_second_time_finds_the_result_of_the_first(task: EvaluationTask, monkeypatch: pytest.MonkeyPatch):
    first = evaluate(task)
    monkeypatch.setattr(evaluation, "_distil", None)
    assert evaluate(task) == first


def test_rung_after_rung_is_the_last_rung_alone(task: EvaluationTask, tmp_path: Path):
    climbed = [evaluate(replace(task, rung=rung)) for rung in range(3)][-1]
    alone = replace(task, rung=2, folder=tmp_path / "elsewhere")
    assert evaluate(alone).metrics == climbed.metrics
    assert weights_of(alone) == weights_of(replace(task, rung=2))


def test_a_lower_rung_after_a_higher_one_is_what_it_is_alone(task: EvaluationTask, tmp_path: Path):
    evaluate(replace(task, rung=2))
    alone = evaluate(replace(task, rung=0, folder=tmp_path / "elsewhere"))
    assert evaluate(replace(task, rung=0)).metrics == alone.metrics


@pytest.mark.parametrize("n", range(1, 5))  # segments end at steps 4, 6, 8 and 12
def test_killed_after_any_checkpoint_it_goes_on_to_the_same_result(
    task: EvaluationTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int
):
    task = replace(task, rung=2)
    unbroken = replace(task, folder=tmp_path / "unbroken")
    expected = evaluate(unbroken).metrics
    with monkeypatch.context() as patch:
        stopping_after(n, patch)
        with pytest.raises(Stopped):
            evaluate(task)
    assert not task.result.exists()
    assert evaluate(task).metrics == expected
    assert weights_of(task) == weights_of(unbroken)


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
    evaluate(replace(task, rung=0))
    steps: list[int] = []
    monkeypatch.setattr(evaluation, "save_checkpoint", lambda state, path: steps.append(state.step))
    evaluate(replace(task, rung=2))
    assert steps == [6, 8, 12]


def test_the_result_on_disk_is_the_result(task: EvaluationTask):
    result = evaluate(task)
    assert json.loads(task.result.read_text()) == vars(result)
    assert result.key == task.key


def test_a_final_training_is_tested(task: EvaluationTask):
    metrics = evaluate(measured_on_test(task)).metrics
    measured = {"accuracy", "loss", "ece", "ece_scaled", "agreement", "teacher_kl"}
    assert set(metrics) == measured | {f"test_{name}" for name in measured} | {"scaling_temperature", "training_loss"}
    untested = evaluate(task).metrics
    assert {name: metrics[name] for name in untested} == untested


@pytest.mark.parametrize(
    "change",
    [
        lambda task: replace(task, seed=8),
        lambda task: replace(task, settings=(("temperature", 5.0), ("weight", 0.9))),
        lambda task: replace(task, method="other"),
        lambda task: replace(task, architecture=SHORTER.to_json()),
        lambda task: replace(task, plan=replace(task.plan, data_digest="other")),
        lambda task: replace(task, plan=replace(task.plan, teacher_digest="other")),
        lambda task: replace(task, plan=replace(task.plan, seed=6)),
        lambda task: replace(task, plan=replace(task.plan, training=TRAINING.model_copy(update={"batch_size": 33}))),
        lambda task: replace(task, plan=replace(task.plan, training=TRAINING.model_copy(update={"rungs": (1.0, 1.5)}))),
    ],
)
def test_the_trajectory_depends_on_what_decides_the_training(
    task: EvaluationTask, change: Callable[[EvaluationTask], EvaluationTask]
):
    assert change(task).trajectory != task.trajectory


@pytest.mark.parametrize(
    "change",
    [
        lambda task: replace(task, folder=Path("elsewhere")),
        lambda task: replace(task, rung=0),
        lambda task: measured_on_test(task),
        lambda task: replace(task, settings=SETTINGS[::-1]),
        lambda task: replace(task, architecture=json.dumps(ARCHITECTURE.to_dict(), indent=2, sort_keys=True)),
        lambda task: replace(task, plan=replace(task.plan, cache=Path("elsewhere"))),
        lambda task: replace(task, plan=replace(task.plan, data=DataConfig(source="moved.npz"))),
        lambda task: replace(
            task, plan=replace(task.plan, teacher=TeacherConfig(factory="other:teacher", weights="moved.pth"))
        ),
    ],
)
def test_the_trajectory_depends_on_nothing_else(
    task: EvaluationTask, change: Callable[[EvaluationTask], EvaluationTask]
):
    assert change(task).trajectory == task.trajectory


def test_the_key_tells_rungs_and_tests_apart(task: EvaluationTask):
    rungs = [replace(task, rung=rung) for rung in range(3)]
    variants = [*rungs, *map(measured_on_test, rungs)]
    assert len({variant.key for variant in variants}) == 6
    assert len({variant.result for variant in variants}) == 6
    assert {variant.checkpoint for variant in variants} == {task.checkpoint}


def test_data_that_changed_are_refused(task: EvaluationTask):
    with pytest.raises(
        InputError, match=r"data digits changed since the search began: its digest is .*, but was other"
    ):
        evaluate(replace(task, plan=replace(task.plan, data_digest="other")))


def test_a_teacher_that_changed_is_refused(task: EvaluationTask):
    with pytest.raises(InputError, match=r"teacher autokd.recipes.teachers:digits changed since the search began"):
        evaluate(replace(task, plan=replace(task.plan, teacher_digest="other")))


def test_a_loss_that_explodes_is_an_error(task: EvaluationTask):
    wild = task.plan.training.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(DivergedError, match="the loss is not finite"):
        evaluate(replace(task, plan=replace(task.plan, training=wild)))


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


def test_the_lesson_is_the_methods_loss_of_the_cached_outputs(task: EvaluationTask):
    """With all weight on labels the teacher does not matter."""
    alone = replace(task, settings=(("temperature", 4.0), ("weight", 0.0)))
    first = evaluate(alone).metrics
    other = replace(alone, plan=replace(alone.plan, teacher_digest="other", cache=alone.plan.cache / "other"))
    for answers in other.plan.answers_needed:
        prepare_answers(other.plan, answers, Teacher(lambda images: torch.ones(len(images), 10), "object"))
    found = evaluate(other).metrics
    compared = {"agreement", "teacher_kl"}
    assert {k: v for k, v in found.items() if k not in compared} == {
        k: v for k, v in first.items() if k not in compared
    }
