"""Labelled samples in memory: the one form in which every source of data reaches a trial.

| kind | stored | a network gets | types |
|---|---|---|---|
| images | `n x height x width x channels` | `batch x channels x height x width` | uint8 |
| signals | `n x length x channels` | `batch x channels x length` | uint8, float32 |
| vectors | `n x features` | `batch x features` | uint8, float32 |
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from autokd.core.seeds import derive
from autokd.errors import InputError
from search_spaces.architecture.layers import KINDS

__all__ = [
    "Dataset",
    "Split",
    "byte_counts",
    "byte_normalisation",
    "complete_splits",
    "describe",
    "hold_out",
    "numbered_classes",
]

HELD_OUT = 0.1  # part of the training samples that becomes a split which the source does not bring
PIECE_BYTES = 2**24  # that are looked at together

_AXES = {3: "height, width, channels", 2: "length, channels", 1: "features"}
_SMALLEST_DEVIATION = torch.finfo(torch.float32).tiny  # below it a division in float32 may be one by zero


def describe(input_shape: tuple[int, ...]) -> str:
    """Samples of a shape, channels first, in words: `1 x 28 x 28 images`, `3 x 128 signals`, `vectors of 64`."""
    kind = KINDS[len(input_shape)]
    sizes = " x ".join(map(str, input_shape))
    return f"vectors of {sizes}" if kind == "vectors" else f"{sizes} {kind}"


@dataclass(frozen=True)
class Split:
    """Samples with their labels.

    Attributes:
        images: The samples, be they images, signals or vectors, in a form of the table above. Images permuted to
            `n x channels x height x width` are channels_last without a copy.
        labels: int64, `n`, in `[0, classes)`.
        is_mapped: Whether the images are a file on disk, mapped into memory: they stay there, and only what is taken of
            them is read and moved to a device.
    """

    images: Tensor
    labels: Tensor
    is_mapped: bool = False

    def __post_init__(self) -> None:
        _check_form(self.images)
        if self.labels.shape != (len(self.images),):
            raise InputError(f"{len(self)} {self.kind} need as many labels, but got {tuple(self.labels.shape)}.")
        if self.labels.dtype != torch.int64:
            raise InputError(f"labels must be int64, but got {self.labels.dtype}.")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def kind(self) -> str:
        """What the samples are: "images", "signals" or "vectors"."""
        return KINDS[self.images.ndim - 1]

    def take(self, indices: Tensor) -> "Split":
        """The samples at `indices`, in that order, in memory."""
        return Split(self.images[indices], self.labels[indices])

    def to(self, device: torch.device) -> "Split":
        """The same samples on `device`; of mapped ones the labels only."""
        images = self.images if self.is_mapped else self.images.to(device)
        return Split(images, self.labels.to(device), self.is_mapped)


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
            _check_alike(self.name, name, split, self.train)
            _check_finite(self.name, name, split)
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
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample: channels, height and width; channels and length; or features."""
        *sizes, channels = self.train.images.shape[1:]
        return channels, *sizes

    @property
    def scale(self) -> float:
        """What the stored values are multiplied by before `normalisation`: 1 / 255, or 1 for float32."""
        return 1.0 if self.train.images.is_floating_point() else 1 / 255

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all samples, labels and splits: two data sets with one digest train alike."""
        digest = hashlib.sha256()
        for name, split in self.splits.items():
            digest.update(f"{name}{tuple(split.images.shape)}".encode())
            for images in _pieces(split.images):
                digest.update(images.contiguous().numpy().data)
            digest.update(split.labels.contiguous().numpy().data)
        return digest.hexdigest()

    @cached_property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel, or feature of vectors, of the training samples.

        They are of values in `[0, 1]` for uint8, of the raw values for float32; see `scale`. A constant channel gets
        deviation 1.
        """
        images = self.train.images
        if images.is_floating_point():
            means, deviations = zip(*map(_float_moments, images.unbind(-1)), strict=True)
            return means, tuple(value if value > _SMALLEST_DEVIATION else 1.0 for value in deviations)
        return byte_normalisation(byte_counts(images))

    def subset(self, n: int) -> "Dataset":
        """The same task with `n` of its training samples, drawn at random from a fixed seed."""
        if not 0 < n <= len(self.train):
            raise InputError(f"data {self.name}: a subset must be 1..{len(self.train)} samples, but got {n}.")
        kept, _ = hold_out(self.train, len(self.train) - n)
        return replace(self, train=kept)


class _Samples(Protocol):
    """What samples can be held out of."""

    def __len__(self) -> int: ...

    def take(self, indices: Tensor) -> Self: ...


Samples = TypeVar("Samples", bound=_Samples)


def hold_out(split: Samples, n: int) -> tuple[Samples, Samples]:
    """`split` without `n` random samples, and those `n` samples; always the same ones for the same sizes."""
    if not 0 <= n < len(split):
        raise InputError(f"cannot hold out {n} of {len(split)} samples: it must be 0..{len(split) - 1}.")
    generator = torch.Generator().manual_seed(derive("hold out", len(split), n))
    order = torch.randperm(len(split), generator=generator)
    return split.take(order[n:].sort().values), split.take(order[:n].sort().values)


def complete_splits(splits: Mapping[str, Samples], validation: int | None = None) -> dict[str, Samples]:
    """All three splits: one that is not there is held out of the training samples at random.

    Args:
        splits: `train` and, as far as there are, `validation` and `test`.
        validation: Size of the validation split where it has to be made, else a tenth; the test split gets a tenth.
    """
    complete = dict(splits)
    for part, size in (("test", None), ("validation", validation)):
        if part not in complete:
            n = max(1, int(len(complete["train"]) * HELD_OUT)) if size is None else size
            complete["train"], complete[part] = hold_out(complete["train"], n)
    return complete


def numbered_classes(splits: Iterable[Split]) -> tuple[str, ...]:
    """Names of classes that are nothing but their numbers, up to the highest label."""
    return tuple(str(label) for label in range(max(int(split.labels.max()) for split in splits) + 1))


def byte_counts(images: Tensor) -> Tensor:
    """How often each of the 256 values is in each channel of uint8 samples: int64, `channels x 256`."""
    counts = torch.zeros(images.shape[-1], 256, dtype=torch.int64)
    for piece in _pieces(images):
        counts += torch.stack([torch.bincount(x.reshape(-1).long(), minlength=256) for x in piece.unbind(-1)])
    return counts


def byte_normalisation(counts: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """`Dataset.normalisation` of samples with these `byte_counts`."""
    values = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for count in counts.double():
        mean = (count * values).sum() / count.sum()
        deviation = float(((count * (values - mean) ** 2).sum() / count.sum()).sqrt())
        means.append(float(mean))
        deviations.append(deviation if deviation > _SMALLEST_DEVIATION else 1.0)
    return tuple(means), tuple(deviations)


def _pieces(images: Tensor) -> tuple[Tensor, ...]:
    """The samples, some megabytes at a time."""
    return torch.split(images, max(1, PIECE_BYTES // (images[0].numel() * images.element_size())))


def _check_form(samples: Tensor) -> None:
    """Raise if the samples are none of the table above."""
    if samples.ndim == 4:
        rule, types = "images must be uint8 of n x height x width x channels", {torch.uint8}
    else:
        rule = "signals and vectors must be uint8 or float32 of n x length x channels and n x features"
        types = {torch.uint8, torch.float32}
    if samples.ndim - 1 not in KINDS or samples.dtype not in types:
        raise InputError(f"{rule}, but got {samples.dtype} of {tuple(samples.shape)}.")
    if 0 in samples.shape[1:]:
        raise InputError(f"samples must hold values, but got {tuple(samples.shape)}.")


def _check_alike(data: str, name: str, split: Split, train: Split) -> None:
    """Raise if samples of a split have another shape or type than the training samples."""
    shape, wanted = tuple(split.images.shape[1:]), tuple(train.images.shape[1:])
    if shape != wanted:
        raise InputError(
            f"data {data}: {name} {split.kind} are {shape}, but training {train.kind} are {wanted} "
            f"({_AXES[len(wanted)]})."
        )
    if split.images.dtype != train.images.dtype:
        raise InputError(
            f"data {data}: {name} {split.kind} are {split.images.dtype}, but training ones are {train.images.dtype}."
        )


def _check_finite(data: str, name: str, split: Split) -> None:
    """Raise if a sample holds NaN or infinity."""
    if split.images.is_floating_point():
        finite = int(split.images.isfinite().flatten(1).all(1).sum())
        if finite < len(split):
            raise InputError(
                f"data {data}: {name} {split.kind} must be finite, but {len(split) - finite} of {len(split)} "
                "hold NaN or infinity."
            )


def _float_moments(channel: Tensor) -> tuple[float, float]:
    """Mean and deviation of the values, in two passes.

    In float64 a sum of equal float32 numbers is exact, so a constant channel has a deviation of 0.
    """
    values = channel.reshape(-1).double()
    mean = values.mean()
    return float(mean), float(((values - mean) ** 2).mean().sqrt())
