"""The teacher's outputs for the search's augmented views, computed once and read by every worker as memory maps."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autokd.data.augmentation import Augmentation
from autokd.data.stream import TrainingStream
from autokd.files import write_atomically
from autokd.teachers.teacher import Teacher

__all__ = ["TeacherCache"]

FORWARD_BATCH = 500


@dataclass(frozen=True)
class TeacherCache:
    """One float16 file, `samples x classes`, for each view; a file is complete or absent.

    Attributes:
        folder: Where the files lie; one folder for each teacher, data set, stream and precision.
        precision: In which the teacher computes, "float32" or "bfloat16".
    """

    folder: Path
    precision: str = "float32"

    @classmethod
    def at(
        cls, root: Path, teacher_digest: str, data_digest: str, augmentation: Augmentation, seed: int, precision: str
    ) -> "TeacherCache":
        """The cache under `root` for what that teacher says of the stream of that data, augmentation and seed."""
        parts = [teacher_digest, data_digest, asdict(augmentation), seed, precision]
        return cls(root / hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16], precision)

    def path(self, view: int) -> Path:
        """The file of one view."""
        return self.folder / f"view-{view:04d}.npy"

    def ensure(self, view: int, stream: TrainingStream, teacher: Callable[[], Teacher]) -> None:
        """Compute a view if it is not there. Two processes doing it at once is wasteful, but harmless.

        Args:
            view: Number of the view.
            stream: The stream it is a view of.
            teacher: Gives the teacher, on the stream's device; called only if needed.
        """
        if not self.path(view).exists():
            logits = self._logits(teacher(), stream, view).astype(np.float16)
            write_atomically(self.path(view), lambda path: _save(path, logits))

    def read(self, view: int) -> Tensor:
        """The outputs of a view that is there, float16, `samples x classes`; read from disk as they are used."""
        return torch.from_numpy(np.load(self.path(view), mmap_mode="c"))

    def _logits(self, teacher: Teacher, stream: TrainingStream, view: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        device = stream.split.images.device
        indices = torch.arange(len(stream.split), device=device)
        parts = []
        for chunk in torch.split(indices, FORWARD_BATCH):
            images = stream.batch(chunk, view).images
            with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
                parts.append(teacher(images).cpu())
        largest = torch.finfo(torch.float16).max
        return torch.cat(parts).clamp(-largest, largest).numpy()


def _save(path: Path, logits: np.ndarray[tuple[int, ...], np.dtype[np.float16]]) -> None:
    with path.open("wb") as file:
        np.save(file, logits)
