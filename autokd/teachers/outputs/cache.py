"""Files of a teacher's outputs, which every worker reads as memory maps."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from autokd.core.files import write_atomically
from autokd.data.augmentation import Augmentation
from autokd.distillation import Outputs
from autokd.teachers.outputs.shapes import OUTPUT_KINDS, OutputKind

__all__ = ["LOGITS", "Rows", "StoredOutputs", "TeacherCache"]

LOGITS: frozenset[OutputKind] = frozenset({"logits"})

Rows = np.memmap[Any, np.dtype[np.float16]]

_DIGEST_BYTES = 32
_BLOCK_BYTES = 2**20
_LARGEST_OFFSET = 64.0  # of logits; above it float16 keeps fewer than five bits after the point


@dataclass(frozen=True)
class TeacherCache:
    """Folder of a teacher's outputs.

    There is one float16 file for each kind of output of each chunk of samples of a view or split. A file is an array in
    NumPy's format, `samples x values`, followed by the BLAKE2b digest of all its bytes. It is complete or absent; a
    damaged file counts as absent.

    Attributes:
        folder: The folder; each combination of teacher, layers, data set, stream and precision has its own.
    """

    folder: Path

    @classmethod
    def at(
        cls,
        root: Path,
        teacher_digest: str,
        data_digest: str,
        augmentation: Augmentation,
        seed: int,
        precision: str,
        layers: Sequence[str] | None = None,
    ) -> "TeacherCache":
        """Cache for the outputs of a teacher for a training stream.

        Args:
            root: Folder of all teachers' outputs.
            teacher_digest: Digest of the teacher.
            data_digest: Digest of the data set.
            augmentation: Augmentation of the stream.
            seed: Seed of the stream.
            precision: Type of the teacher's computation, "float32" or "bfloat16".
            layers: Names of the teacher's modules whose outputs are the features; None means the default ones.
        """
        parts = [
            teacher_digest,
            data_digest,
            augmentation.identity,
            seed,
            precision,
            *([list(layers)] if layers else []),
        ]
        return cls(root / hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16])

    def holds(self, name: str, parts: Collection[OutputKind] = LOGITS, chunk: int = 0) -> bool:
        """Whether a chunk of the outputs is stored and undamaged.

        A process reads each file completely at the first call.

        Args:
            name: Name of the view or split.
            parts: Kinds of outputs that must be stored.
            chunk: Number of the chunk.
        """
        return all(_is_whole(self._path(name, part, chunk)) for part in parts)

    def write(
        self,
        name: str,
        outputs: Iterable[Outputs],
        n_samples: int,
        parts: Collection[OutputKind] = LOGITS,
        chunk: int = 0,
    ) -> None:
        """Store a chunk, of which one batch at a time is in memory.

        Args:
            name: Name of the view or split.
            outputs: Batches of outputs for the samples of the chunk, in the order of the samples.
            n_samples: Number of samples.
            parts: Kinds of outputs to store.
            chunk: Number of the chunk.
        """
        paths = {part: self._path(name, part, chunk) for part in OUTPUT_KINDS if part in parts}
        _write_together(
            list(paths.values()), lambda files: _fill(dict(zip(paths, files, strict=True)), outputs, n_samples)
        )

    def read(self, name: str, parts: Collection[OutputKind] = LOGITS, n_chunks: int = 1) -> "StoredOutputs":
        """Outputs that are stored, as memory maps.

        Args:
            name: Name of the view or split.
            parts: Kinds of outputs to read.
            n_chunks: Number of chunks of the view or split.
        """
        return StoredOutputs(
            {
                part: tuple(np.load(self._path(name, part, chunk), mmap_mode="r") for chunk in range(n_chunks))
                for part in parts
            }
        )

    def _path(self, name: str, part: OutputKind, chunk: int) -> Path:
        return self.folder / f"{name}-{part}-{chunk:05d}.npy"


@dataclass(frozen=True)
class StoredOutputs:
    """Stored outputs for all samples of a view or split.

    Attributes:
        chunks: Chunks of each kind of output in order, float16, `samples x values`. Logits whose mean over the classes
            is beyond 64 are stored less that mean. Feature maps are flattened with their channels as the last axis, and
            concatenated from the first map to the last.
    """

    chunks: Mapping[OutputKind, tuple[Rows, ...]]

    @property
    def logits(self) -> Tensor:
        """Logits of all samples in memory, float16, `samples x classes`."""
        return torch.from_numpy(np.concatenate(self.chunks["logits"]))


def _rows(outputs: Outputs, part: OutputKind) -> Tensor:
    """Outputs of one kind as they are stored; values beyond the range of float16 become its largest number."""
    if part == "features":
        return torch.cat([_half(maps.movedim(1, -1).flatten(1)) for maps in outputs.features], 1)
    values = _without_offset(outputs.logits) if part == "logits" else outputs.embedding
    if values is None:
        raise ValueError(f"the outputs to store have no {part}")
    return _half(values)


def _without_offset(logits: Tensor) -> Tensor:
    """Logits less their mean in samples where it is large; their probabilities stay, which float16 would lose."""
    offset = logits.mean(1, keepdim=True)
    return torch.where(offset.abs() > _LARGEST_OFFSET, logits - offset, logits)


def _half(values: Tensor) -> Tensor:
    largest = torch.finfo(torch.float16).max
    return values.clamp(-largest, largest).half().cpu()


class _RowsFile:
    """Writer of float16 rows to an empty file, as one array that is followed by the digest of all its bytes."""

    def __init__(self, file: BinaryIO, n_rows: int) -> None:
        self._file = file
        self._n_rows = n_rows
        self._digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)

    def append(self, rows: Tensor) -> None:
        if not self._file.tell():
            header = {"descr": "<f2", "fortran_order": False, "shape": (self._n_rows, rows.shape[1])}
            np.lib.format.write_array_header_1_0(self, header)
        self.write(rows.contiguous().numpy().data)

    def write(self, content: bytes | memoryview) -> None:
        self._file.write(content)
        self._digest.update(content)

    def finish(self) -> None:
        self._file.write(self._digest.digest())


def _write_together(
    paths: Sequence[Path], write: Callable[[tuple[Path, ...]], None], temporary: tuple[Path, ...] = ()
) -> None:
    """Let `write` fill temporary files for all paths, then rename each to its path."""
    if paths:
        write_atomically(paths[0], lambda path: _write_together(paths[1:], write, (*temporary, path)))
    else:
        write(temporary)


def _fill(paths: Mapping[OutputKind, Path], outputs: Iterable[Outputs], n_samples: int) -> None:
    with ExitStack() as stack:
        files = {part: _RowsFile(stack.enter_context(path.open("wb")), n_samples) for part, path in paths.items()}
        for batch in outputs:
            for part, file in files.items():
                file.append(_rows(batch, part))
        for file in files.values():
            file.finish()


def _is_whole(path: Path) -> bool:
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return status.st_size > _DIGEST_BYTES and _is_intact(path, status.st_ino, status.st_size, status.st_mtime_ns)


@cache
def _is_intact(path: Path, *version: int) -> bool:
    """Whether the bytes of a file have the digest at its end; `version` changes whenever the file does."""
    digest, left = hashlib.blake2b(digest_size=_DIGEST_BYTES), path.stat().st_size - _DIGEST_BYTES
    with path.open("rb") as file:
        while block := file.read(min(left, _BLOCK_BYTES)):
            digest.update(block)
            left -= len(block)
        return digest.digest() == file.read()
