"""What tells evaluations apart."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from evaluation_tasks import measured_on_test, with_training

from autokd.config.data import DataConfig
from autokd.config.schema import AugmentationConfig, TrainingConfig
from autokd.config.teacher import TeacherConfig
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.task import EvaluationTask

TRAINING = TrainingConfig(
    rungs=(1.0, 1.5, 3.0), batch_size=32, views=2, precision="float32", augmentation=AugmentationConfig(shift=1)
)
SETTINGS = (("temperature", 4.0), ("weight", 0.9))


def task_of(training: TrainingConfig) -> EvaluationTask:
    """An evaluation at the middle rung of data and a teacher that are not there."""
    teacher = TeacherConfig(factory="m:teacher", weights="weights.safetensors")
    context = TrainingContext(
        DataConfig(source="digits"), "data", teacher, "teacher", training, 5, Path("cache"), "cpu"
    )
    return EvaluationTask(context, '{"a": 1, "b": 2}', "kd", SETTINGS, 1, 7, Path("evaluations"))


@pytest.fixture
def task() -> EvaluationTask:
    return task_of(TRAINING)


@pytest.mark.parametrize(
    "change",
    [
        lambda task: replace(task, seed=8),
        lambda task: replace(task, settings=(("temperature", 5.0), ("weight", 0.9))),
        lambda task: replace(task, method="other"),
        lambda task: replace(task, architecture='{"a": 2}'),
        lambda task: replace(task, context=replace(task.context, data_digest="other")),
        lambda task: replace(task, context=replace(task.context, teacher_digest="other")),
        lambda task: replace(task, context=replace(task.context, seed=6)),
        lambda task: replace(task, keeps_best=True),
        lambda task: with_training(task, batch_size=33),
        lambda task: with_training(task, rungs=(1.0, 1.5)),
        lambda task: with_training(task, schedule="cosine"),
        lambda task: with_training(task, cooldown=0.2),
        lambda task: with_training(task, ema=0.9),
        lambda task: with_training(task, gradient_clip=1.0),
        lambda task: with_training(task, optimizer="adamw"),
        lambda task: with_training(task, width_scaling=True),
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
        lambda task: replace(task, architecture='{ "b": 2, "a": 1 }'),
        lambda task: replace(task, context=replace(task.context, cache=Path("elsewhere"))),
        lambda task: replace(task, context=replace(task.context, data=DataConfig(source="moved.npz"))),
        lambda task: replace(
            task, context=replace(task.context, teacher=TeacherConfig(factory="other:teacher", weights="moved.pth"))
        ),
    ],
)
def test_the_trajectory_depends_on_nothing_else(
    task: EvaluationTask, change: Callable[[EvaluationTask], EvaluationTask]
):
    assert change(task).trajectory == task.trajectory


def test_the_trajectory_of_a_training_from_before_there_were_schedules_is_what_it_was():
    training = TRAINING.model_copy(update={"schedule": "cosine", "optimizer": "sgd", "learning_rate": 0.1})
    task = replace(task_of(training), architecture='{"a": 1}')
    assert task.trajectory == "c9c7da555800ed25865ec303"  # of the last version without them


def test_the_key_tells_rungs_and_tests_apart(task: EvaluationTask):
    rungs = [replace(task, rung=rung) for rung in range(3)]
    variants = [*rungs, *map(measured_on_test, rungs)]
    assert len({variant.key for variant in variants}) == 6
    assert len({variant.result for variant in variants}) == 6
    assert {variant.checkpoint for variant in variants} == {task.checkpoint}
