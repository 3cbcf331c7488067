"""Stored outputs of a view, as batches on the device that trains."""

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from math import prod

import numpy as np
import torch
from torch import Tensor

from autokd.distillation import Outputs
from autokd.errors import InputError
from autokd.teachers.outputs.cache import Rows, StoredOutputs
from autokd.teachers.outputs.shapes import OutputKind

__all__ = ["ViewReader"]

RESIDENT_BYTES = 256 * 2**20
"""Largest size of one kind of output that is kept in the device's memory: 130,000 samples of 1,000 logits."""

Read = dict[OutputKind, Tensor]


class ViewReader:
    """Reader of a teacher's stored outputs for training samples.

    Each kind of output is either small, and read once into the device's memory, or large, and then read in the
    background for the samples that `expect` announces.

    Args:
        stored: Outputs of the view.
        features: Shape of each feature map: channels, then the resolution.
        device: Device of the outputs that `of` returns.
    """

    def __init__(self, stored: StoredOutputs, features: tuple[tuple[int, ...], ...], device: torch.device) -> None:
        self._features = features
        self._device = device
        small = {
            part for part, chunks in stored.chunks.items() if sum(rows.nbytes for rows in chunks) <= RESIDENT_BYTES
        }
        self._resident = {part: _whole(stored.chunks[part], device) for part in small}
        self._large = {part: _RowFiles(chunks) for part, chunks in stored.chunks.items() if part not in small}
        self._expected: deque[tuple[Tensor, Future[Read]]] = deque()
        self._thread = ThreadPoolExecutor(1, "teacher-outputs") if self._large else None

    def expect(self, indices: Tensor) -> None:
        """Start to read outputs in the background; `of` is to be called with the same tensors in the same order."""
        if self._thread is not None:
            self._expected.append((indices, self._thread.submit(self._gather, indices)))

    def of(self, indices: Tensor) -> Outputs:
        """Outputs of samples, float32, on the device.

        Args:
            indices: Positions of the samples in the training split, int64, `batch`, on the device.
        """
        read = {part: rows.to(self._device, non_blocking=True) for part, rows in self._awaited(indices).items()}
        rows = {part: held.index_select(0, indices) for part, held in self._resident.items()} | read
        embedding = rows["embedding"].float() if "embedding" in rows else None
        features = _maps(rows["features"], self._features) if "features" in rows else ()
        return Outputs(rows["logits"].float(), embedding, features)

    def close(self) -> None:
        """Stop the background thread and close the files."""
        self._expected.clear()
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
        for files in self._large.values():
            files.close()

    def _awaited(self, indices: Tensor) -> Read:
        while self._expected:
            expected, read = self._expected.popleft()
            if expected is indices:
                return read.result()
        return self._gather(indices)

    def _gather(self, indices: Tensor) -> Read:
        if not self._large:
            return {}
        places, pinned = indices.tolist(), self._device.type == "cuda"
        return {part: files.read(places, pinned) for part, files in self._large.items()}


class _RowFiles:
    """Rows of a stored array in chunks, read from its files.

    The files are not mapped, since each page of a mapped file that was read would count towards the memory limit of the
    worker.
    """

    def __init__(self, chunks: tuple[Rows, ...]) -> None:
        self._paths = [str(rows.filename) for rows in chunks]
        self._files = [os.open(path, os.O_RDONLY) for path in self._paths]
        self._offsets = [rows.offset for rows in chunks]
        self._size, self._width = chunks[0].shape  # the last chunk may be shorter

    def read(self, places: list[int], pinned: bool) -> Tensor:
        """Rows at these places, float16, `places x values`, in pinned memory if a GPU is to copy them."""
        rows = torch.empty(len(places), self._width, dtype=torch.float16, pin_memory=pinned)
        for row, place in zip(rows.numpy(), places, strict=True):
            chunk, number = divmod(place, self._size)
            n_read = os.preadv(self._files[chunk], [row.data], self._offsets[chunk] + number * row.nbytes)
            if n_read < row.nbytes:
                raise InputError(f"{self._paths[chunk]} was cut off while it was in use: resume to compute it anew.")
        return rows

    def close(self) -> None:
        while self._files:  # a number that is closed twice may be another file's by then
            os.close(self._files.pop())


def _whole(chunks: tuple[Rows, ...], device: torch.device) -> Tensor:
    return torch.from_numpy(np.concatenate(chunks)).to(device)


def _maps(rows: Tensor, shapes: tuple[tuple[int, ...], ...]) -> tuple[Tensor, ...]:
    """Feature maps, float32, `batch x channels x` the resolution, channels_last as those of a teacher that runs."""
    columns = torch.split(rows, [prod(shape) for shape in shapes], 1)
    return tuple(
        column.float().reshape(-1, *resolution, channels).movedim(-1, 1)
        for column, (channels, *resolution) in zip(columns, shapes, strict=True)
    )
