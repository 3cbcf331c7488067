"""The check that a teacher is worth learning from."""

import torch
from torch import Tensor

from autokd.data.dataset import Dataset
from autokd.errors import InputError, first_line
from autokd.teachers.logits import look_like_probabilities
from autokd.teachers.teacher import Teacher
from autokd.training.metrics import validation_metrics

__all__ = ["check_teacher", "lowest_accuracy"]

CHANCE_MARGIN = 1.5  # a teacher with this many times the accuracy of guessing has learnt something


def check_teacher(teacher: Teacher, dataset: Dataset, floor: float | None, device: torch.device) -> dict[str, float]:
    """Metrics of the teacher on the validation split, which must be good enough to learn from.

    A teacher with wrong weights or inputs raises no error, but is no better than guessing.

    Args:
        teacher: The teacher.
        dataset: The data set.
        floor: Smallest accuracy that is accepted; by default somewhat more than that of guessing.
        device: Device that computes.

    Args:
        teacher: The teacher.
        dataset: The data set.
        floor: Smallest accuracy, in `[0, 1]`; None requires the teacher to be clearly better than guessing.
        device: Device on which the teacher runs.

    Raises:
        InputError: If the outputs do not fit the classes, the accuracy is below the floor or near chance, or the logits
            seem to be probabilities.
    """
    labels = dataset.validation.labels.to(device)
    logits = _validation_logits(teacher, dataset, device)
    if logits.ndim != 2 or logits.shape[1] != dataset.classes:
        raise InputError(
            f"the teacher gives {tuple(logits.shape[1:])} outputs a sample, but the data has {dataset.classes} classes"
            + (": teacher.classes says which outputs they are." if logits.shape[-1] > dataset.classes else ".")
        )
    metrics = validation_metrics(logits, labels)
    if floor is not None and metrics["accuracy"] < floor:
        raise InputError(
            f"the teacher's validation accuracy is {metrics['accuracy']:.2%}, below teacher.floor = {floor:.2%}."
        )
    if floor is None and metrics["accuracy"] < lowest_accuracy(labels):
        raise InputError(
            f"the teacher's validation accuracy is {metrics['accuracy']:.2%}, hardly better than always choosing "
            f"the most frequent class ({_most_frequent(labels):.2%}): check its weights and what inputs it wants, "
            "or set teacher.floor."
        )
    reading = teacher.reading
    if reading.probabilities is None and look_like_probabilities(logits, all_classes=reading.classes is None):
        raise InputError(
            "the teacher's outputs look like probabilities: set teacher.probabilities = true, or false if they are "
            "logits all the same."
        )
    return metrics


def lowest_accuracy(labels: Tensor) -> float:
    """Accuracy below which a teacher is hardly better than always choosing the most frequent class."""
    most_frequent = _most_frequent(labels)
    return min(CHANCE_MARGIN * most_frequent, (1 + most_frequent) / 2)


def _most_frequent(labels: Tensor) -> float:
    return float(labels.bincount().max() / len(labels))


def _validation_logits(teacher: Teacher, dataset: Dataset, device: torch.device) -> Tensor:
    try:
        return teacher.on_split(dataset, "validation", device)
    except InputError:
        raise
    except Exception as error:  # a user's network can fail in any way
        shape, kind = tuple(dataset.input_shape), dataset.validation.kind
        raise InputError(
            f"the teacher fails on {kind} of {shape}: {type(error).__name__}: {first_line(error)}."
        ) from error
