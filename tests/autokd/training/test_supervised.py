from collections.abc import Callable
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from autokd.config.schema import AugmentationConfig, TrainingConfig
from autokd.data.dataset import Dataset
from autokd.training.loop import TrainingSettings, TrainingState, fresh_state
from autokd.training.supervised import fit, label_stream

CPU = torch.device("cpu")


@pytest.mark.parametrize("mixup", [0.0, 1.0])
def test_the_loss_of_an_epoch_is_the_cross_entropy_with_all_labels_of_its_samples(
    dataset: Dataset, mixup: float
) -> None:
    augmentation = AugmentationConfig(mixup=mixup)
    config = TrainingConfig(
        batch_size=12, precision="float32", schedule="cosine", augmentation=augmentation, learning_rate=1e-12
    )
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    stream = label_stream(dataset, config, 1, 3, CPU)
    state = fresh_state(TrainingSettings.of(config), network)
    fit(state, stream, config, 1)
    losses = []
    for batch in stream.batches(0, stream.steps_per_epoch):
        targets = F.one_hot(batch.labels, 3).float()
        if batch.mixture is not None:
            targets = torch.lerp(F.one_hot(batch.mixture.labels, 3).float(), targets, batch.mixture.weight[:, None])
        losses.append(F.cross_entropy(network(batch.images), targets).item())
    assert state.losses == [pytest.approx(sum(losses) / len(losses), rel=1e-5)]


@pytest.mark.parametrize(("schedule", "ends"), [("cosine", [5, 10, 15, 20]), ("stable", [5, 10, 14, 15, 20])])
def test_the_whole_schedule_is_compressed_into_the_epochs(
    dataset: Dataset, fresh: Callable[..., TrainingState], schedule: Literal["cosine", "stable"], ends: list[int]
) -> None:
    config = TrainingConfig(batch_size=12, precision="float32", schedule=schedule, optimizer="sgd")
    state, steps, rates = fresh(TrainingSettings.of(config)), [], []

    def note(state: TrainingState) -> None:
        steps.append(state.step)
        rates.append(state.optimiser.param_groups[0]["lr"])

    fit(state, label_stream(dataset, config, 4, 0, CPU), config, 4, note)
    assert steps == ends
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert rates[1] > 0.04
