"""Images per second of a distillation trial, against plain training of its student and a plain PyTorch loop.

    python tests/benchmarks/trial.py [--repeats 5] [--steps 60]

All three train one student on Fashion-MNIST with the shipped teacher, in turn, in one process, so that the ratios hold
whatever the machine's speed:

* distillation: our loop, the teacher's outputs from the cache, one thread;
* plain training: our loop with cross-entropy alone, one thread;
* PyTorch loop: a DataLoader with per-sample transforms, NCHW, the teacher run at every step, two threads.

Two one-thread trials run side by side on the two cores that the PyTorch loop takes for itself.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from autokd.data.augmentation import Augmentation
from autokd.data.sources import load_data
from autokd.data.stream import Batch, TrainingStream
from autokd.device import pick_precision
from autokd.distillation import KD, Lesson, Outputs
from autokd.recipes.catalogue import find_config
from autokd.teachers.cache import TeacherCache
from autokd.teachers.teacher import Teacher, load_teacher
from autokd.training.loop import TrainingSettings, TrainingState, optimiser, train
from search_spaces.architecture import Architecture
from search_spaces.budget import Budget
from search_spaces.cost import cost
from search_spaces.network import build
from search_spaces.registry import space

CPU = torch.device("cpu")
SEED = 0
FAMILY = {
    "top_nodes": 4,
    "top_neighbours": 2,
    "top_probability": 0.5,
    "middle_nodes": 2,
    "middle_probability": 0.5,
    "bottom_nodes": 4,
    "bottom_neighbours": 2,
    "bottom_probability": 0.5,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    arguments = parser.parse_args()
    config = find_config("fashion-mnist", [])
    dataset = load_data(config.data)
    teacher = load_teacher(config.teacher, CPU)
    budget = Budget(**config.budget.model_dump())
    rng = np.random.default_rng(SEED)
    student = space("nago").sample(FAMILY, budget, dataset.input_shape, dataset.classes, rng)
    settings = TrainingSettings(precision=pick_precision("auto", CPU))
    augmentation = Augmentation(**config.training.augmentation.model_dump())
    stream = TrainingStream(dataset, augmentation, config.training.batch_size, 1, SEED, CPU)
    with tempfile.TemporaryDirectory() as folder:
        cache = TeacherCache(Path(folder))
        cache.ensure(0, stream, lambda: teacher)
        outputs = cache.read(0)
        loops: dict[str, Callable[[], float]] = {
            "distillation": lambda: _ours(student, stream, settings, _distil(outputs), arguments.steps),
            "plain training": lambda: _ours(student, stream, settings, _cross_entropy, arguments.steps),
            "PyTorch loop": lambda: _plain(student, stream, teacher, arguments.steps),
        }
        speeds: dict[str, list[float]] = {name: [] for name in loops}
        for repeat in range(arguments.repeats + 1):
            for name, loop in loops.items():
                speed = loop()
                if repeat:  # the first round warms up
                    speeds[name].append(speed)
    _print(student, settings, speeds)


def _ours(
    student: Architecture,
    stream: TrainingStream,
    settings: TrainingSettings,
    loss: Callable[[Tensor, Batch], Tensor],
    steps: int,
) -> float:
    torch.set_num_threads(1)
    network = build(student).to(memory_format=torch.channels_last)
    state = TrainingState(network, optimiser(settings, network))
    started = time.perf_counter()
    train(state, stream, loss, settings, steps, steps, SEED)
    return steps * stream.batch_size / (time.perf_counter() - started)


def _distil(outputs: Tensor) -> Callable[[Tensor, Batch], Tensor]:
    method = KD(temperature=4.0, weight=0.9)

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        taught = Outputs(outputs[batch.indices].float())
        return method.loss(Outputs(logits), taught, Lesson(batch.labels, batch.indices))

    return loss


def _cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    return F.cross_entropy(logits, batch.labels)


class _Transformed(TorchDataset[tuple[Tensor, int]]):
    """A data set as users write it: each sample padded, cropped, flipped and normalised on its own."""

    def __init__(self, stream: TrainingStream) -> None:
        self.images = stream.split.images.permute(0, 3, 1, 2)
        self.labels = stream.split.labels
        self.margin = stream.augmentation.shift
        self.mean, self.deviation = (values[0] for values in stream.normalisation)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = F.pad(self.images[index].float() / 255, [self.margin] * 4)
        top, left = (int(offset) for offset in torch.randint(2 * self.margin + 1, (2,)))
        image = image[:, top : top + 28, left : left + 28]
        if torch.rand(()) < 0.5:
            image = image.flip(2)
        return (image - self.mean) / self.deviation, int(self.labels[index])


def _plain(student: Architecture, stream: TrainingStream, teacher: Teacher, steps: int) -> float:
    torch.set_num_threads(2)
    network: nn.Module = build(student).train()
    frozen = teacher.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    sgd = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    loader = DataLoader(_Transformed(stream), stream.batch_size, shuffle=True, drop_last=True)
    started = time.perf_counter()
    for step, (images, labels) in enumerate(loader):
        if step == steps:
            break
        with torch.no_grad():
            target = F.log_softmax(frozen(images) / 4.0, 1)
        logits = network(images)
        soft = F.kl_div(F.log_softmax(logits / 4.0, 1), target, reduction="batchmean", log_target=True)
        loss = 0.1 * F.cross_entropy(logits, labels) + 0.9 * 16.0 * soft
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    return steps * stream.batch_size / (time.perf_counter() - started)


def _print(student: Architecture, settings: TrainingSettings, speeds: dict[str, list[float]]) -> None:
    costs = cost(student)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {settings.precision}")
    print(f"student: {costs.params:,} parameters, {costs.macs:,} MACs, {len(student.nodes)} nodes; n = ", end="")
    print(len(next(iter(speeds.values()))))
    print("\n| loop | images/s, median | min | max |\n|---|---|---|---|")
    for name, values in speeds.items():
        print(f"| {name} | {statistics.median(values):,.0f} | {min(values):,.0f} | {max(values):,.0f} |")
    distillation, plain, loop = ([*values] for values in speeds.values())
    against_plain = [a / b for a, b in zip(distillation, plain, strict=True)]
    against_loop = [2 * a / b for a, b in zip(distillation, loop, strict=True)]
    ratios = {"distillation / plain training": against_plain, "two distillation workers / PyTorch loop": against_loop}
    for name, values in ratios.items():
        print(f"{name}: {statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})")
    print(json.dumps(speeds))


if __name__ == "__main__":
    main()
