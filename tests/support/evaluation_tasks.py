"""An evaluation on digits, and others that differ from a given one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from autokd.config.schema import AugmentationConfig, DataConfig, TeacherConfig, TrainingConfig
from autokd.data.registry import load_data
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.task import EvaluationTask
from autokd.teachers.registry import load_teacher
from search_spaces.architecture.format import Architecture, Node

__all__ = ["ARCHITECTURE", "DATA", "TEACHER", "digits_task", "measured_on_test", "with_training"]

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
SETTINGS = (("temperature", 4.0), ("weight", 0.9))


def digits_task(folder: Path) -> EvaluationTask:
    """A small student by KD, whose middle rung of three ends within an epoch of four steps, in an empty folder."""
    digests = load_data(DATA).digest, load_teacher(TEACHER, torch.device("cpu")).digest
    context = TrainingContext(DATA, digests[0], TEACHER, digests[1], TRAINING, 5, folder / "teachers", "cpu")
    return EvaluationTask(context, ARCHITECTURE.to_json(), "kd", SETTINGS, 1, 7, folder / "evaluations")


def with_training(task: EvaluationTask, **changes: Any) -> EvaluationTask:
    """The same, trained in another way."""
    training = task.context.training.model_copy(update=changes)
    return replace(task, context=replace(task.context, training=training))


def measured_on_test(task: EvaluationTask) -> EvaluationTask:
    """The same, measured on the test split, too."""
    return replace(task, context=replace(task.context, is_tested=True))
