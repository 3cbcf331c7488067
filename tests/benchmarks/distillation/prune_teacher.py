"""Prunes the shipped Fashion-MNIST teacher for `run.py --teacher-folder FOLDER`: writes FOLDER/pruned.safetensors.

    python tests/benchmarks/distillation/prune_teacher.py FOLDER [--rounds 2] [--share 0.2] [--epochs 1]

Each round sets a share of the remaining weights to 0 and trains the others by the schedule of the teacher's own
training, compressed into so many epochs.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autokd.config.schema import TeacherConfig
from autokd.data.registry import load_data
from autokd.data.stream import Batch, TrainingStream
from autokd.distillation.pruning import prune_iteratively, remaining_widths
from autokd.recipes.catalogue import find_config
from autokd.recipes.train_teacher import TRAININGS
from autokd.teachers.registry import load_teacher
from autokd.training.checkpoint import save_weights
from autokd.training.loop import TrainingState, optimiser, train
from autokd.training.metrics import label_metrics, predict
from autokd.training.schedules import Cosine

CPU = torch.device("cpu")
RECIPE = "fashion-mnist"


def main() -> None:
    """Prune, train, save and say what is left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--epochs", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = find_config(RECIPE, [])
    dataset = load_data(config.data)
    network = _trainable(config.teacher)
    training = TRAININGS[RECIPE]
    stream = TrainingStream(dataset, training.augmentation, training.batch_size, arguments.epochs, 0, CPU)
    total = arguments.epochs * stream.steps_per_epoch

    def retrain(network: nn.Module) -> None:
        state = TrainingState(network, optimiser(training.settings, network))
        train(state, stream, _cross_entropy, training.settings, total, Cosine(total), 0)

    prune_iteratively(network, retrain, arguments.rounds, arguments.share)
    save_weights(network, arguments.folder / "pruned.safetensors")
    logits = predict(network, dataset.validation, dataset.normalisation)
    kept = sum(int(weight.count_nonzero()) for weight in network.parameters())
    print(f"{kept:,} weights, validation accuracy {label_metrics(logits, dataset.validation.labels)['accuracy']:.2%}")
    print(f"widths of a student of that size: {remaining_widths(network)}")


def _trainable(config: TeacherConfig) -> nn.Module:
    network = load_teacher(config, CPU).network
    assert network is not None
    return network.requires_grad_(True)


def _cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    return F.cross_entropy(logits, batch.labels)


if __name__ == "__main__":
    main()
