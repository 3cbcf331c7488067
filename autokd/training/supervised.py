"""Training of a network with the labels alone, without a teacher."""

from collections.abc import Callable

import torch
from torch import Tensor

from autokd.config.schema import TrainingConfig
from autokd.data.augmentation import Augmentation
from autokd.data.dataset import Dataset
from autokd.data.stream import Batch, TrainingStream
from autokd.distillation import BatchContext
from autokd.training.loop import TrainingSettings, TrainingState, train
from autokd.training.timetable import timetable

__all__ = ["fit", "label_stream"]


def label_stream(
    dataset: Dataset, config: TrainingConfig, epochs: int, seed: int, device: torch.device
) -> TrainingStream:
    """Stream of augmented training batches in which every epoch has views of its own.

    Args:
        dataset: The data set, of which the training split is used.
        config: Settings of the training; rungs and views are ignored.
        epochs: Number of epochs.
        seed: Seed of order and augmentation.
        device: Device of the batches.
    """
    augmentation = Augmentation.of(config.augmentation)
    return TrainingStream(dataset, augmentation, config.batch_size, epochs, seed, device)


def fit(
    state: TrainingState,
    stream: TrainingStream,
    config: TrainingConfig,
    epochs: int,
    on_segment: Callable[[TrainingState], None] = lambda state: None,
) -> None:
    """Train a network with the labels alone, from its current step to the end of the schedule.

    Args:
        state: State of the training; changed in place.
        stream: Source of the batches, whose seed is also that of dropout.
        config: Settings of the training, with its precision resolved; rungs and views are ignored.
        epochs: Length of the whole schedule.
        on_segment: Called at the end of each epoch, and where the learning rate begins to fall.

    Raises:
        DivergedError: If the loss is no longer finite.
    """
    total = epochs * stream.steps_per_epoch
    (route,) = timetable(config.schedule, [total], config.warmup, config.cooldown).routes
    for leg in route:
        train(
            state, stream, _cross_entropy, TrainingSettings.of(config), leg.end, leg.schedule, stream.seed, on_segment
        )


def _cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    return BatchContext(batch.labels, batch.indices, mixture=batch.mixture).cross_entropy(logits)
