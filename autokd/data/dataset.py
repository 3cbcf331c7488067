"""Labelled images in memory: the one form in which every source of data reaches a trial."""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from autokd.errors import InputError
from autokd.seeds import derive

__all__ = ["Dataset", "Split", "hold_out"]


@dataclass(frozen=True)
class Split:
    """Images with their labels.

    Attributes:
        images: uint8, `n x height x width x channels`: permuted to `n x channels x height x width` it is channels_last
            without a copy.
        labels: int64, `n`, in `[0, classes)`.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise InputError(
                f"images must be uint8 of n x height x width x channels, but got {self.images.dtype} "
                f"of {tuple(self.images.shape)}."
            )
        if self.labels.shape != (len(self.images),):
            raise InputError(f"{len(self.images)} images need as many labels, but got {tuple(self.labels.shape)}.")
        if self.labels.dtype != torch.int64:
            raise InputError(f"labels must be int64, but got {self.labels.dtype}.")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Tensor) -> "Split":
        """The samples at `indices`, in that order."""
        return Split(self.images[indices], self.labels[indices])

    def to(self, device: torch.device) -> "Split":
        """The same samples on `device`."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Dataset:
    """Training, validation and test samples of one task.

    A search sees `train` and `validation`; `test` is touched once, by the trained winners.

    Attributes:
        name: Where it came from, for people.
        classes: Number of classes.
        class_names: One for each class.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...] = field(repr=False)

    def __post_init__(self) -> None:
        for name, split in self.splits.items():
            if not len(split):
                raise InputError(f"data {self.name}: the {name} split is empty.")
            if split.images.shape[1:] != self.train.images.shape[1:]:
                raise InputError(
                    f"data {self.name}: {name} images are {tuple(split.images.shape[1:])}, "
                    f"but training images are {tuple(self.train.images.shape[1:])} (height, width, channels)."
                )
            low, high = int(split.labels.min()), int(split.labels.max())
            if low < 0 or high >= self.classes:
                raise InputError(
                    f"data {self.name}: {name} labels must be 0..{self.classes - 1}, but are {low}..{high}."
                )

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def splits(self) -> dict[str, Split]:
        """The three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one sample."""
        height, width, channels = self.train.images.shape[1:]
        return channels, height, width

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all samples, labels and splits: two data sets with one digest train alike."""
        digest = hashlib.sha256()
        for name, split in self.splits.items():
            digest.update(f"{name}{tuple(split.images.shape)}".encode())
            digest.update(split.images.contiguous().numpy().data)
            digest.update(split.labels.contiguous().numpy().data)
        return digest.hexdigest()

    @cached_property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel of the training images, of values in `[0, 1]`.

        Exact: computed from the histogram of the 256 values. A constant channel gets deviation 1.
        """
        means, deviations = [], []
        for channel in self.train.images.unbind(3):
            counts = torch.bincount(channel.reshape(-1).long(), minlength=256).double()
            values = torch.arange(256, dtype=torch.float64) / 255
            mean = (counts * values).sum() / counts.sum()
            deviation = ((counts * (values - mean) ** 2).sum() / counts.sum()).sqrt()
            means.append(float(mean))
            deviations.append(float(deviation) or 1.0)
        return tuple(means), tuple(deviations)

    def subset(self, n: int) -> "Dataset":
        """The same task with `n` of its training samples, drawn at random from a fixed seed."""
        if not 0 < n <= len(self.train):
            raise InputError(f"data {self.name}: a subset must be 1..{len(self.train)} samples, but got {n}.")
        kept, _ = hold_out(self.train, len(self.train) - n)
        return replace(self, train=kept)


def hold_out(split: Split, n: int) -> tuple[Split, Split]:
    """`split` without `n` random samples, and those `n` samples; always the same ones for the same sizes."""
    if not 0 <= n < len(split):
        raise InputError(f"cannot hold out {n} of {len(split)} samples: it must be 0..{len(split) - 1}.")
    generator = torch.Generator().manual_seed(derive("hold out", len(split), n))
    order = torch.randperm(len(split), generator=generator)
    return split.take(order[n:].sort().values), split.take(order[:n].sort().values)
