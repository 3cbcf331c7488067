"""Trains a recipe's teacher again: `python -m autokd.recipes.train_teacher fashion-mnist FOLDER [--seed N]`.

Writes `RECIPE.safetensors` and `RECIPE.json` to FOLDER, as `autokd teach` does, with the settings by which the teacher
in this folder was trained, which are not those of its students.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch

from autokd.config.toml import read_config
from autokd.recipes.catalogue import recipe_path
from autokd.teachers.training import TeacherProgress, train_teacher
from autokd.teachers.training_plan import TeacherTraining

__all__ = ["TRAININGS", "RecipeTraining"]


@dataclass(frozen=True)
class RecipeTraining:
    """How the teacher of a recipe was trained.

    Attributes:
        epochs: Number of epochs.
        overrides: Settings `key=value` that replace those of the recipe.
    """

    epochs: int
    overrides: tuple[str, ...]


_COMMON = (
    "training.optimizer=sgd",
    "training.learning_rate=0.1",
    "training.schedule=cosine",
    "training.warmup=0.05",
    "final.keep=last",
)
TRAININGS = {
    "fashion-mnist": RecipeTraining(
        24,
        (
            *_COMMON,
            "training.weight_decay=5e-4",
            "training.augmentation.shift=2",
            "training.augmentation.cutout=8",
            "training.precision=bfloat16",
        ),
    ),
    "digits": RecipeTraining(
        60,
        (*_COMMON, "training.batch_size=64", "training.precision=float32"),
    ),
}


def main() -> None:
    """Train the teacher of the recipe on the command line."""
    parser = argparse.ArgumentParser(description="Train a recipe's teacher again.")
    parser.add_argument("recipe", choices=sorted(TRAININGS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--epochs", type=int, help="length of the schedule, instead of the recipe's own")
    parser.add_argument("--checkpoints", action="store_true", help="keep the weights of every epoch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    recipe: str = arguments.recipe
    config = read_config(recipe_path(recipe), TRAININGS[recipe].overrides)
    epochs = arguments.epochs or TRAININGS[recipe].epochs
    training = TeacherTraining(config, epochs, arguments.seed, arguments.folder, arguments.checkpoints, recipe)
    print(train_teacher(training, on_epoch=_print))


def _print(progress: TeacherProgress) -> None:
    print(
        f"epoch {progress.epoch}/{progress.epochs}: loss {progress.loss:.4f}, validation accuracy "
        f"{progress.accuracy:.2%}, {progress.seconds:.0f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
