import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from autokd.data.augmentation import Augmentation
from autokd.data.sources.digits import digits
from autokd.data.stream import TrainingStream
from autokd.recipes.train_teacher import TeacherTraining, train_teacher
from autokd.training.loop import TrainingSettings

SEED, BATCH = 3, 64


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(mixup=1.0)], ids=["plain", "mixed"])
def test_the_loss_of_an_epoch_is_the_cross_entropy_with_all_labels_of_its_samples(
    augmentation: Augmentation, capsys: pytest.CaptureFixture[str]
) -> None:
    still = TrainingSettings(learning_rate=0.0)
    network, _ = train_teacher(TeacherTraining(linear, digits, augmentation, 1, BATCH, still), SEED)
    device = next(network.parameters()).device
    stream = TrainingStream(digits(), augmentation, BATCH, 1, SEED, device)
    losses = []
    for batch in stream.batches(0, stream.steps_per_epoch):
        targets = F.one_hot(batch.labels, 10).float()
        if batch.mixture is not None:
            targets = torch.lerp(F.one_hot(batch.mixture.labels, 10).float(), targets, batch.mixture.weight[:, None])
        losses.append(F.cross_entropy(network(batch.images), targets).item())
    printed = re.search(r"loss (\d+\.\d+)", capsys.readouterr().out)
    assert printed is not None
    assert float(printed[1]) == pytest.approx(sum(losses) / len(losses), abs=1e-4)
