from collections.abc import Callable

import pytest
import torch
from torch import nn

from autokd.data.augmentation import Augmentation
from autokd.data.dataset import Dataset
from autokd.data.stream import TrainingStream
from autokd.training.loop import TrainingSettings, TrainingState, fresh_state


@pytest.fixture
def stream(dataset: Dataset) -> TrainingStream:
    """Stream with five steps in an epoch."""
    return TrainingStream(dataset, Augmentation(shift=1), 12, 2, 3, torch.device("cpu"))


@pytest.fixture
def fresh() -> Callable[..., TrainingState]:
    """Factory of the same untrained network, with batch normalisation and dropout."""

    def make(settings: TrainingSettings) -> TrainingState:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = nn.Sequential(
                nn.Conv2d(1, 4, 3, bias=False),
                nn.Conv2d(4, 4, 1, bias=False),
                nn.BatchNorm2d(4),
                nn.ReLU(),
                nn.Flatten(),
                nn.Dropout(0.5),
                nn.Linear(64, 3),
            )
        network.to(memory_format=torch.channels_last)
        return fresh_state(settings, network)

    return make
