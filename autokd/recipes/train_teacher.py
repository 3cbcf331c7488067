"""Trains a recipe's teacher from scratch: `python -m autokd.recipes.train_teacher fashion-mnist FOLDER [--seed N]`.

Writes the weights, `RECIPE.safetensors`, and the results of the training, `RECIPE.json`, to FOLDER. The teacher is not
trained on the validation samples of the search, so that its accuracy on them can be compared with that of a student.

With `--epochs N` the whole schedule is compressed into N epochs. Such a teacher may teach better than a stronger one
(Cho and Hariharan 2019, https://arxiv.org/abs/1910.01348); use its weights in `teacher.alternatives`. With
`--checkpoints` the weights after every epoch are kept as `RECIPE-epoch-NN.safetensors`, for `teacher.checkpoints`.
"""

import argparse
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from autokd.core.files import write_json
from autokd.core.seeds import derive
from autokd.data.augmentation import Augmentation
from autokd.data.dataset import Dataset
from autokd.data.sources.digits import digits
from autokd.data.sources.fashion_mnist import fashion_mnist
from autokd.data.stream import Batch, TrainingStream
from autokd.distillation import BatchContext
from autokd.recipes import teachers
from autokd.training.checkpoint import save_weights
from autokd.training.loop import TrainingSettings, TrainingState, optimiser, train
from autokd.training.metrics import label_metrics, predict
from autokd.training.schedules import Cosine


@dataclass(frozen=True)
class TeacherTraining:
    """Settings of the training of a teacher.

    Attributes:
        factory: Function that returns the untrained teacher.
        data: Function that returns the data set.
        augmentation: Augmentation of the training samples.
        epochs: Number of epochs.
        batch_size: Samples of a batch.
        settings: Learning rate and further settings of the training loop.
    """

    factory: Callable[[], nn.Module]
    data: Callable[[], Dataset]
    augmentation: Augmentation
    epochs: int
    batch_size: int = 128
    settings: TrainingSettings = field(default_factory=lambda: TrainingSettings(precision="bfloat16"))


TRAININGS = {
    "fashion-mnist": TeacherTraining(
        teachers.fashion_mnist, fashion_mnist, Augmentation(shift=2, flip=True, cutout=8), epochs=24
    ),
    "digits": TeacherTraining(
        teachers.digits, digits, Augmentation(shift=1), epochs=60, batch_size=64, settings=TrainingSettings()
    ),
}


def train_teacher(
    training: TeacherTraining, seed: int, on_epoch: Callable[[nn.Module, int], None] = lambda network, epoch: None
) -> tuple[nn.Module, dict[str, object]]:
    """A trained teacher, and the results of its training as written to `RECIPE.json`.

    Args:
        training: Settings of the training.
        seed: Seed of weights, order of samples and augmentation.
        on_epoch: Function that is called after each epoch with the teacher and the number of epochs so far.
    """
    dataset = training.data()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    stream = TrainingStream(dataset, training.augmentation, training.batch_size, training.epochs, seed, device)
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, "weights"))
        network = training.factory().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = TrainingState(network, optimiser(training.settings, network))
    total = training.epochs * stream.steps_per_epoch
    started = time.monotonic()

    def report(state: TrainingState) -> None:
        accuracy = _measure(network, dataset, "validation", device)["accuracy"]
        print(
            f"epoch {len(state.losses)}/{training.epochs}: loss {state.losses[-1]:.4f}, "
            f"validation accuracy {accuracy:.2%}, {time.monotonic() - started:.0f} s",
            flush=True,
        )
        on_epoch(network, len(state.losses))

    train(state, stream, _cross_entropy, training.settings, total, Cosine(total), seed, report)
    figures: dict[str, object] = {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "validation": _measure(network, dataset, "validation", device),
        "test": _measure(network, dataset, "test", device),
        "samples": len(dataset.train),
        "data_digest": dataset.digest,
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "settings": asdict(training.settings),
        "augmentation": asdict(training.augmentation),
        "seed": seed,
        "seconds": round(time.monotonic() - started),
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {device.type}",
    }
    return network, figures


def _measure(network: nn.Module, dataset: Dataset, part: str, device: torch.device) -> dict[str, float]:
    split = dataset.splits[part].to(device)
    return label_metrics(predict(network, split, dataset.normalisation), split.labels)


def _cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    return BatchContext(batch.labels, batch.indices, mixture=batch.mixture).cross_entropy(logits)


def main() -> None:
    """Train the teacher of the recipe on the command line."""
    parser = argparse.ArgumentParser(description="Train a recipe's teacher from scratch.")
    parser.add_argument("recipe", choices=sorted(TRAININGS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--epochs", type=int, help="length of the schedule, instead of the recipe's own")
    parser.add_argument("--checkpoints", action="store_true", help="keep the weights of every epoch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    training = TRAININGS[arguments.recipe]
    training = replace(training, epochs=arguments.epochs or training.epochs)
    base = arguments.folder / arguments.recipe

    def keep(network: nn.Module, epoch: int) -> None:
        if arguments.checkpoints:
            save_weights(network, base.with_name(f"{base.name}-epoch-{epoch:02d}.safetensors"))

    network, figures = train_teacher(training, arguments.seed, keep)
    save_weights(network, base.with_name(f"{base.name}.safetensors"))
    write_json(base.with_name(f"{base.name}.json"), figures)
    print(figures)


if __name__ == "__main__":
    main()
