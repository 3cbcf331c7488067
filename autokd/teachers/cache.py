"""The teacher's outputs, computed once and read by every worker as memory maps."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autokd.data.augmentation import Augmentation
from autokd.distillation import Need, Outputs
from autokd.files import write_atomically

__all__ = ["StoredOutputs", "TeacherCache"]


@dataclass(frozen=True)
class TeacherCache:
    """Of each view or split one float16 file of logits, `samples x classes`, and others of what else is needed.

    A file is complete or absent.

    Attributes:
        folder: Where the files lie; one folder for each teacher, data set, stream and precision.
    """

    folder: Path

    @classmethod
    def at(
        cls, root: Path, teacher_digest: str, data_digest: str, augmentation: Augmentation, seed: int, precision: str
    ) -> "TeacherCache":
        """The cache under `root` for what that teacher says of the stream of that data, augmentation and seed."""
        parts = [teacher_digest, data_digest, asdict(augmentation), seed, precision]
        return cls(root / hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16])

    def holds(self, name: str, needs: frozenset[Need] = frozenset()) -> bool:
        """Whether the outputs of that name are there, with what is needed beside logits."""
        return all(self._path(name, part).exists() for part in ("logits", *needs))

    def write(self, name: str, outputs: Iterable[Outputs]) -> None:
        """Store outputs, in the order of their samples."""
        batches = list(outputs)
        _write(self._path(name), [batch.logits for batch in batches])
        embeddings = [batch.embedding for batch in batches if batch.embedding is not None]
        if embeddings:
            _write(self._path(name, "embedding"), embeddings)

    def read(self, name: str, needs: frozenset[Need] = frozenset()) -> "StoredOutputs":
        """The outputs of that name, which are there; read from disk as they are used."""
        embedding = _mapped(self._path(name, "embedding")) if "embedding" in needs else None
        return StoredOutputs(_mapped(self._path(name)), embedding)

    def _path(self, name: str, part: str = "logits") -> Path:
        return self.folder / (f"{name}.npy" if part == "logits" else f"{name}-{part}.npy")


@dataclass(frozen=True)
class StoredOutputs:
    """The stored outputs of all samples of a view or split.

    Attributes:
        logits: float16, `samples x classes`.
        embedding: float16, `samples x width`, where it was asked for.
    """

    logits: Tensor
    embedding: Tensor | None = None

    def of(self, indices: Tensor) -> Outputs:
        """Those of some samples, float32, on the device of `indices`."""
        rows, device = indices.cpu(), indices.device
        embedding = None if self.embedding is None else self.embedding[rows].to(device).float()
        return Outputs(self.logits[rows].to(device).float(), embedding)


def _mapped(path: Path) -> Tensor:
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def _write(path: Path, batches: list[Tensor]) -> None:
    largest = torch.finfo(torch.float16).max
    array = torch.cat([batch.cpu() for batch in batches]).clamp(-largest, largest).numpy().astype(np.float16)
    write_atomically(path, lambda temporary: _save(temporary, array))


def _save(path: Path, array: np.ndarray[tuple[int, ...], np.dtype[Any]]) -> None:
    with path.open("wb") as file:
        np.save(file, array)
