"""The check that a teacher is worth learning from."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from autokd.config.teacher import TeacherConfig
from autokd.data.dataset import Dataset
from autokd.errors import InputError, first_line
from autokd.teachers.logits import Reading, look_like_probabilities
from autokd.teachers.teacher import Teacher
from autokd.training.metrics import validation_metrics
from search_spaces.architecture.layers import KINDS

__all__ = ["check_same", "check_teacher", "check_untrained", "lowest_accuracy"]

MAJORITY_MARGIN = 1.5
"""A teacher with less than this many times the accuracy of always choosing the most frequent class is refused."""


def check_teacher(
    teacher: Teacher, dataset: Dataset, floor: float | None, device: torch.device, has_floor: bool = True
) -> dict[str, float]:
    """Metrics of the teacher on the validation split, which must be good enough to learn from.

    A teacher with wrong weights or inputs raises no error, but is no better than guessing.

    Args:
        teacher: The teacher.
        dataset: The data set.
        floor: Smallest accuracy, in `[0, 1]`; None requires the teacher to be clearly better than guessing.
        device: Device on which the teacher runs.
        has_floor: Whether there is a setting for the floor; assistants have none.

    Raises:
        InputError: If the outputs do not fit the classes or are not finite, the accuracy is below the floor or near
            chance, or the logits seem to be probabilities.
    """
    labels = dataset.validation.labels.to(device)
    with _failing(dataset.input_shape):
        logits = teacher.on_split(dataset, "validation", device)
    _check_outputs(logits, dataset.classes)
    metrics = validation_metrics(logits, labels)
    if floor is not None and metrics["accuracy"] < floor:
        raise InputError(
            f"the teacher's validation accuracy is {metrics['accuracy']:.2%}, below teacher.floor = {floor:.2%}."
        )
    if floor is None and metrics["accuracy"] < lowest_accuracy(labels):
        raise InputError(
            f"the teacher's validation accuracy is {metrics['accuracy']:.2%}, hardly better than always choosing "
            f"the most frequent class ({_most_frequent(labels):.2%}): check its weights and what inputs it wants"
            f"{', or set teacher.floor' if has_floor else ''}."
        )
    _check_logits(logits, teacher.reading)
    return metrics


def check_same(config: TeacherConfig, first: Teacher, second: Teacher) -> None:
    """Check that a teacher is the same one the second time it is made, as it will be in every worker.

    Args:
        config: What both are made from.
        first: The teacher as it was made first.
        second: The teacher as it was made again.

    Raises:
        InputError: If they differ.
    """
    if first.digest != second.digest:
        raise InputError(
            f"teacher.factory {config.factory!r} is not deterministic: two calls gave different weights, "
            f"of the digests {first.digest[:12]} and {second.digest[:12]}. Save the weights of one to a file and set "
            "teacher.weights, or seed the factory's random numbers."
        )


def check_untrained(network: nn.Module, samples: Tensor, classes: int, reading: Reading) -> None:
    """Check that an untrained teacher returns a logit for each class.

    Args:
        network: The teacher, which takes normalised samples and whose outputs are already read; set to evaluation mode.
        samples: Some samples, normalised, `n x` the data set's `input_shape`.
        classes: Number of classes.
        reading: How the outputs are read.

    Raises:
        InputError: If the teacher fails, or its outputs do not fit the classes, are not finite, or seem to be
            probabilities.
    """
    with torch.no_grad(), _failing(tuple(samples.shape[1:])):
        logits = network.eval()(samples)
    _check_outputs(logits, classes)
    _check_logits(logits, reading)


def lowest_accuracy(labels: Tensor) -> float:
    """Accuracy below which a teacher is hardly better than always choosing the most frequent class."""
    most_frequent = _most_frequent(labels)
    return min(MAJORITY_MARGIN * most_frequent, (1 + most_frequent) / 2)


def _most_frequent(labels: Tensor) -> float:
    return float(labels.bincount().max() / len(labels))


def _check_outputs(logits: Tensor, classes: int) -> None:
    if logits.ndim != 2 or logits.shape[1] != classes:
        has_more = logits.ndim == 2 and logits.shape[1] > classes
        raise InputError(
            f"the teacher gives {tuple(logits.shape[1:])} outputs a sample, but the data has {classes} classes"
            + (": teacher.classes says which outputs they are." if has_more else ".")
        )
    if not logits.isfinite().all():
        raise InputError("the teacher's outputs are not finite: check its weights and what inputs it wants.")


def _check_logits(logits: Tensor, reading: Reading) -> None:
    if reading.probabilities is None and look_like_probabilities(logits, all_classes=reading.classes is None):
        raise InputError(
            "the teacher's outputs look like probabilities: set teacher.probabilities = true, or false if they are "
            "logits all the same."
        )


@contextmanager
def _failing(input_shape: tuple[int, ...]) -> Iterator[None]:
    """A block in which the failure of a teacher is an `InputError`, as a user's network can fail in any way."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        kind = KINDS[len(input_shape)]
        raise InputError(
            f"the teacher fails on {kind} of {input_shape}: {type(error).__name__}: {first_line(error)}."
        ) from error
