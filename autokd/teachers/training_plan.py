"""What is trained when a teacher is, and the files of its training."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from autokd.config.flat import flat
from autokd.config.schema import SearchConfig, TrainingConfig
from autokd.core.device import pick_precision
from autokd.errors import InputError

__all__ = ["TeacherTraining", "check_files", "check_kind"]

OF_THE_TEACHER = {
    "factory",
    "arguments",
    "output",
    "channels",
    "preprocess",
    "resize",
    "mean",
    "deviation",
    "classes",
    "probabilities",
}

WITHOUT_EFFECT = {"memory_bytes", "cache", "download", "student_channels"}
"""Keys of `[data]` that do not decide what a teacher is trained on."""
OF_STUDENTS = {"rungs", "views", "warm_start", "from_teacher"}
"""Keys of `[training]` that are for students alone."""


@dataclass(frozen=True)
class TeacherTraining:
    """What is trained, and the files that are written.

    `[training]` applies as it does to students, with two exceptions: `rungs` is replaced by `epochs`, into which the
    whole schedule is compressed (Cho and Hariharan 2019, https://arxiv.org/abs/1910.01348, section 5), and every epoch
    has views of its own, as there are no teacher outputs to store.

    Attributes:
        config: The search whose teacher, data, training settings and device are used.
        epochs: Number of epochs.
        seed: Seed of initial weights, order of samples and augmentation.
        folder: Folder of the files.
        has_checkpoints: Whether the weights of every epoch are kept, too.
        name: Name of the files without suffix; `teacher-EPOCHS` by default.
    """

    config: SearchConfig
    epochs: int
    seed: int
    folder: Path
    has_checkpoints: bool = False
    name: str | None = None

    @property
    def weights(self) -> Path:
        """File of the trained weights."""
        return self._file("safetensors")

    @property
    def figures(self) -> Path:
        """File of the results, with all settings."""
        return self._file("json")

    @property
    def checkpoints(self) -> list[Path]:
        """Files of the weights after each epoch; empty if they are not kept."""
        digits = max(2, len(str(self.epochs)))
        numbers = range(1, self.epochs + 1) if self.has_checkpoints else ()
        return [self.folder / f"epoch-{epoch:0{digits}d}.safetensors" for epoch in numbers]

    @property
    def unfinished(self) -> Path:
        """Folder that exists while the training is unfinished."""
        return self._file("unfinished")

    @property
    def checkpoint(self) -> Path:
        """File from which an unfinished training continues."""
        return self.unfinished / "checkpoint.safetensors"

    @property
    def record(self) -> Path:
        """File of what `begun` returns."""
        return self.unfinished / "training.json"

    @property
    def begun(self) -> dict[str, Any] | None:
        """The `settings` of an unfinished training, the `seconds` that it has taken and its `data_digest`; else None.

        Raises:
            InputError: If the file is damaged.
        """
        if not self.record.exists():
            return None
        try:
            return dict(json.loads(self.record.read_text()))
        except (ValueError, TypeError):
            raise InputError(f"{self.record} is damaged: delete {self.unfinished} to train from the start.") from None

    def settings(self, device: torch.device) -> dict[str, Any]:
        """Everything in the configuration that decides the result, by its dotted key.

        Args:
            device: Device of the training, which decides what the precision "auto" is.
        """
        config, training = self.config, self.resolved(device)
        sections = {
            "data": config.data.model_dump(mode="json", exclude=WITHOUT_EFFECT),
            "teacher": config.teacher.model_dump(mode="json", include=OF_THE_TEACHER),
            "training": training.model_dump(mode="json", exclude=OF_STUDENTS),
        }
        own = {"epochs": self.epochs, "seed": self.seed, "keep": config.final.keep, "checkpoints": self.has_checkpoints}
        return own | dict(flat(sections))

    def resolved(self, device: torch.device) -> TrainingConfig:
        """Section `[training]` with the precision that "auto" is on the device, or was as an unfinished one began."""
        training = self.config.training
        precision = training.precision
        if precision == "auto" and (begun := self.begun):  # it is measured, and may come out otherwise now
            precision = begun["settings"]["training.precision"]
        return training.model_copy(update={"precision": pick_precision(precision, device)})

    def _file(self, suffix: str) -> Path:
        return self.folder / f"{self.name or f'teacher-{self.epochs}'}.{suffix}"


def check_kind(training: TeacherTraining) -> None:
    """Check that the teacher is of a kind that can be trained.

    Raises:
        InputError: If it is not made by a factory.
    """
    teacher = training.config.teacher
    if teacher.factory is None:
        given = next((key for key in ("architecture", "onnx", "outputs") if getattr(teacher, key)), None)
        found = f"but the teacher is given by teacher.{given}" if given else "but there is none"
        raise InputError(f"only the module of teacher.factory can be trained, {found}.")


def check_files(training: TeacherTraining, device: torch.device, force: bool) -> None:
    """Check that no files are in the way, and remove an unfinished training that is abandoned.

    Args:
        training: What is to be trained.
        device: Device of the training.
        force: Whether existing files may be replaced, and an unfinished training with other settings is abandoned.

    Raises:
        InputError: If files are in the way.
    """
    if begun := training.begun:
        now, before = training.settings(device), begun["settings"]
        changed = [key for key in now if now[key] != before.get(key)]
        if not changed:
            return
        if not force:
            key = changed[0]
            raise InputError(
                f"{training.unfinished} is an unfinished training with other settings: {key} was {before.get(key)!r}, "
                f"but is {now[key]!r} now. Go on with those, or abandon it with --force."
            )
        shutil.rmtree(training.unfinished)
    for path in (training.weights, training.figures, *training.checkpoints):
        if path.exists() and not force:
            raise InputError(f"{path} exists: choose another folder, or replace it with --force.")
