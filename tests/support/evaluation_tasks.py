"""Evaluations that differ from a given one."""

from dataclasses import replace
from typing import Any

from autokd.evaluation.task import EvaluationTask

__all__ = ["measured_on_test", "with_training"]


def with_training(task: EvaluationTask, **changes: Any) -> EvaluationTask:
    """The same, trained in another way."""
    training = task.context.training.model_copy(update=changes)
    return replace(task, context=replace(task.context, training=training))


def measured_on_test(task: EvaluationTask) -> EvaluationTask:
    """The same, measured on the test split, too."""
    return replace(task, context=replace(task.context, is_tested=True))
