"""A distillation trial as users write it in plain PyTorch: a DataLoader, per-sample transforms, the teacher every step.

The student is its exported source, plain torch modules.
"""

import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from autokd.config.schema import SearchConfig
from autokd.data.dataset import Dataset
from autokd.data.registry import load_data
from autokd.recipes.teachers import fashion_mnist
from autokd.teachers.weights import find_path, load_weights
from search_spaces.architecture.format import Architecture
from search_spaces.networks.initialisation import initialise
from search_spaces.networks.source import source

__all__ = ["plain_trial"]

TEMPERATURE, WEIGHT = 4.0, 0.9
THREADS = 2


class Transformed(TorchDataset[tuple[Tensor, int]]):
    """Each sample padded, cropped, flipped and normalised on its own."""

    def __init__(self, dataset: Dataset, margin: int) -> None:
        self.images = dataset.train.images.permute(0, 3, 1, 2)
        self.labels = dataset.train.labels
        self.margin = margin
        self.mean, self.deviation = (values[0] for values in dataset.normalisation)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = F.pad(self.images[index].float() / 255, [self.margin] * 4)
        top, left = (int(offset) for offset in torch.randint(2 * self.margin + 1, (2,)))
        image = image[:, top : top + 28, left : left + 28]
        if torch.rand(()) < 0.5:
            image = image.flip(2)
        return (image - self.mean) / self.deviation, int(self.labels[index])


def plain_trial(config: SearchConfig, architecture: str, steps: int) -> float:
    """Seconds of a trial of `steps` steps, its validation included, its data and teacher loaded before.

    Args:
        config: Its data, teacher and training.
        architecture: The student, as JSON.
        steps: Steps of training.
    """
    torch.set_num_threads(THREADS)
    dataset = load_data(config.data)
    teacher = fashion_mnist()
    load_weights(teacher, find_path(str(config.teacher.weights), "teacher.weights"), "teacher")
    teacher.eval()
    started = time.perf_counter()
    network = _exported(architecture)
    rate, decay = config.training.learning_rate, config.training.weight_decay
    sgd = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, nesterov=True, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, steps)
    samples = Transformed(dataset, config.training.augmentation.shift)
    loader = DataLoader(samples, config.training.batch_size, shuffle=True, drop_last=True)
    for step, (images, labels) in enumerate(loader, start=1):
        with torch.no_grad():
            target = F.log_softmax(teacher(images) / TEMPERATURE, 1)
        logits = network(images)
        soft = F.kl_div(F.log_softmax(logits / TEMPERATURE, 1), target, reduction="batchmean", log_target=True)
        loss = (1 - WEIGHT) * F.cross_entropy(logits, labels) + WEIGHT * TEMPERATURE**2 * soft
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        schedule.step()
        if step == steps:
            break
    _accuracy(network, dataset)
    return time.perf_counter() - started


def _exported(architecture: str) -> nn.Module:
    namespace: dict[str, Any] = {"__name__": "exported"}
    parsed = Architecture.from_json(architecture)
    exec(source(parsed), namespace)
    network: nn.Module = namespace["Student"]()
    initialise(network, parsed, 0)
    return network.train()


@torch.no_grad()
def _accuracy(network: nn.Module, dataset: Dataset) -> float:
    network.eval()
    mean, deviation = (values[0] for values in dataset.normalisation)
    right = 0
    validation = dataset.validation
    for images, labels in zip(validation.images.split(128), validation.labels.split(128), strict=True):
        logits = network((images.permute(0, 3, 1, 2).float() / 255 - mean) / deviation)
        right += int((logits.argmax(1) == labels).sum())
    return right / len(validation)
