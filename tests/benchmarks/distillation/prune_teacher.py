"""Prunes the shipped Fashion-MNIST teacher for `run.py --teacher-folder FOLDER`: writes FOLDER/pruned.safetensors.

    python tests/benchmarks/distillation/prune_teacher.py FOLDER [--rounds 2] [--share 0.2] [--epochs 1]

Each round sets a share of the remaining weights to 0 and trains the others by the schedule of the teacher's own
training, compressed into so many epochs.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

from autokd.config.schema import TeacherConfig
from autokd.config.toml import read_config
from autokd.data.registry import load_data
from autokd.distillation.pruning import prune_iteratively, remaining_widths
from autokd.recipes.catalogue import recipe_path
from autokd.recipes.train_teacher import TRAININGS
from autokd.teachers.registry import load_teacher
from autokd.training.checkpoint import save_weights
from autokd.training.loop import TrainingSettings, fresh_state
from autokd.training.metrics import label_metrics, predict
from autokd.training.supervised import fit, label_stream

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
    config = read_config(recipe_path(RECIPE), TRAININGS[RECIPE].overrides)
    dataset = load_data(config.data)
    network = _trainable(config.teacher)
    stream = label_stream(dataset, config.training, arguments.epochs, 0, CPU)

    def retrain(network: nn.Module) -> None:
        state = fresh_state(TrainingSettings.of(config.training), network)
        fit(state, stream, config.training, arguments.epochs)

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


if __name__ == "__main__":
    main()
