"""Data sets of labelled samples: the common form of all sources of data.

| kind | stored | input of a network | types |
|---|---|---|---|
| images | `n x height x width x channels` | `batch x channels x height x width` | uint8 |
| signals | `n x length x channels` | `batch x channels x length` | uint8, float32 |
| vectors | `n x features` | `batch x features` | uint8, float32 |
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from autokd.core.seeds import derive
from autokd.errors import InputError
from search_spaces.architecture.layers import KINDS

__all__ = [
    "LABEL_LIMIT",
    "Dataset",
    "Split",
    "byte_counts",
    "byte_normalisation",
    "complete_splits",
    "describe",
    "hold_out",
    "numbered_classes",
    "seems_channels_first",
]

LABEL_LIMIT = 10**6  # labels are below it; higher ones are identifiers, and classes would be as many
HELD_OUT = 0.1  # share of the training samples for a split that the source does not have
PIECE_BYTES = 2**24  # bytes of samples that are processed at a time

_AXES = {3: "height, width, channels", 2: "length, channels", 1: "features"}
_MOST_CHANNELS = 4  # of usual images
_SMALLEST_DEVIATION = torch.finfo(torch.float32).tiny  # smaller ones may round to 0 in float32


def describe(input_shape: tuple[int, ...]) -> str:
    """Description of samples of a shape, channels first: `1 x 28 x 28 images`, `3 x 128 signals`, `vectors of 64`."""
    kind = KINDS[len(input_shape)]
    sizes = " x ".join(map(str, input_shape))
    return f"vectors of {sizes}" if kind == "vectors" else f"{sizes} {kind}"


@dataclass(frozen=True)
class Split:
    """Samples with their labels.

    Attributes:
        images: The samples (images, signals or vectors), stored as in the table above. Images permuted to
            `n x channels x height x width` are channels_last without a copy.
        labels: int64, `n`, in `[0, classes)`.
        is_mapped: Whether the samples are a memory-mapped file. Then `to` does not move them; only the samples of a
            batch are read and moved to the device.
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
        """Kind of the samples: "images", "signals" or "vectors"."""
        return KINDS[self.images.ndim - 1]

    def take(self, indices: Tensor) -> "Split":
        """Split with the samples at `indices`, in that order, in memory."""
        return Split(self.images[indices], self.labels[indices])

    def to(self, device: torch.device) -> "Split":
        """Split on `device`; if it is mapped, only the labels are moved."""
        images = self.images if self.is_mapped else self.images.to(device)
        return Split(images, self.labels.to(device), self.is_mapped)


@dataclass(frozen=True)
class Dataset:
    """Training, validation and test samples of one task.

    A search uses `train` and `validation`; `test` is used once, for the retrained students.

    Attributes:
        name: Name of the source, for messages.
        train: Training split.
        validation: Validation split.
        test: Test split.
        class_names: Name of each class.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...] = field(repr=False)

    def __post_init__(self) -> None:
        if broken := [name for name in self.class_names if not _is_text(name)]:
            raise InputError(f"data {self.name}: the class name {broken[0]!r} is no UTF-8: rename it.")
        if self.classes == 1 and all((split.labels >= 0).all() for split in self.splits.values()):
            raise InputError(f"data {self.name}: there is one class, {self.class_names[0]}, but nothing to tell apart.")
        for name, split in self.splits.items():
            if not len(split):
                raise InputError(f"data {self.name}: the {name} split is empty.")
            _check_alike(self.name, name, split, self.train)
            _check_finite(self.name, name, split)
            low, high = int(split.labels.min()), int(split.labels.max())
            if low < 0 or high >= self.classes:
                raise InputError(
                    f"data {self.name}: {name} labels must be 0..{self.classes - 1}, but got {low}..{high}."
                )

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def splits(self) -> dict[str, Split]:
        """All three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample as input of a network: channels, height, width; channels, length; or features."""
        *sizes, channels = self.train.images.shape[1:]
        return channels, *sizes

    @property
    def scale(self) -> float:
        """Factor on the stored values before `normalisation`: 1 / 255 for uint8, 1 for float32."""
        return 1.0 if self.train.images.is_floating_point() else 1 / 255

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all samples, labels and splits; data sets with the same digest are interchangeable."""
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

        They refer to the values times `scale`: in `[0, 1]` for uint8, the raw values for float32. The deviation of a
        constant channel is set to 1.
        """
        images = self.train.images
        if images.is_floating_point():
            means, deviations = zip(*map(_float_moments, images.unbind(-1)), strict=True)
            return means, tuple(value if value > _SMALLEST_DEVIATION else 1.0 for value in deviations)
        return byte_normalisation(byte_counts(images))

    def subset(self, n: int) -> "Dataset":
        """Data set with `n` of the training samples, drawn at random with a fixed seed."""
        if not 0 < n <= len(self.train):
            raise InputError(f"data {self.name}: a subset must be 1..{len(self.train)} samples, but got {n}.")
        kept, _ = hold_out(self.train, len(self.train) - n)
        return replace(self, train=kept)


class _Samples(Protocol):
    """Samples from which some can be held out."""

    def __len__(self) -> int: ...

    def take(self, indices: Tensor) -> Self: ...


Samples = TypeVar("Samples", bound=_Samples)


def hold_out(split: Samples, n: int) -> tuple[Samples, Samples]:
    """The split without `n` random samples, and these `n` samples; deterministic for given sizes."""
    if not 0 <= n < len(split):
        most = len(split) - 1
        asked = f"{n} of the {len(split)} training samples cannot be held out for another split"
        raise InputError(f"data: {asked}: {f'at most {most} can' if most > 0 else 'more are needed'}.")
    generator = torch.Generator().manual_seed(derive("hold out", len(split), n))
    order = torch.randperm(len(split), generator=generator)
    return split.take(order[n:].sort().values), split.take(order[:n].sort().values)


def complete_splits(splits: Mapping[str, Samples], validation: int | None = None) -> dict[str, Samples]:
    """All three splits; a missing one is held out of the training samples at random.

    Args:
        splits: The split `train` and optionally `validation` and `test`.
        validation: Number of samples of a missing validation split; by default a tenth of the training samples, as for
            a missing test split.
    """
    complete = dict(splits)
    for part, size in (("test", None), ("validation", validation)):
        if part not in complete:
            n = max(1, int(len(complete["train"]) * HELD_OUT)) if size is None else size
            complete["train"], complete[part] = hold_out(complete["train"], n)
    return complete


def numbered_classes(splits: Iterable[Split], name: str) -> tuple[str, ...]:
    """Class names for classes without names: their numbers, up to the highest label.

    Raises:
        InputError: If the labels of the data set of this name are no class numbers, but identifiers.
    """
    highest = max((int(split.labels.max()) for split in splits if len(split)), default=-1)
    if highest >= LABEL_LIMIT:
        raise InputError(
            f"data {name}: labels must be 0..classes-1 and below {LABEL_LIMIT:,}, but the highest is {highest:,}: "
            "number the classes anew."
        )
    return tuple(map(str, range(highest + 1)))


def seems_channels_first(shape: Sequence[int]) -> bool:
    """Whether the shape of an image is rather `channels x height x width` than `height x width x channels`."""
    channels, height, width = shape
    return channels in (1, 3) and min(height, width) > _MOST_CHANNELS


def byte_counts(images: Tensor) -> Tensor:
    """Histogram of the values of each channel of uint8 samples, int64, `channels x 256`."""
    counts = torch.zeros(images.shape[-1], 256, dtype=torch.int64)
    for piece in _pieces(images):
        counts += torch.stack([torch.bincount(x.reshape(-1).long(), minlength=256) for x in piece.unbind(-1)])
    return counts


def byte_normalisation(counts: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel, as in `Dataset.normalisation`, from `byte_counts`."""
    values = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for count in counts.double():
        mean = (count * values).sum() / count.sum()
        deviation = float(((count * (values - mean) ** 2).sum() / count.sum()).sqrt())
        means.append(float(mean))
        deviations.append(deviation if deviation > _SMALLEST_DEVIATION else 1.0)
    return tuple(means), tuple(deviations)


def _pieces(images: Tensor) -> tuple[Tensor, ...]:
    """The samples in pieces of some megabytes."""
    return torch.split(images, max(1, PIECE_BYTES // (images[0].numel() * images.element_size())))


def _is_text(name: str) -> bool:
    """Whether a name can be written, unlike that of a folder in another encoding than the system's."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_form(samples: Tensor) -> None:
    """Raise `InputError` if the samples are of no kind in the table above."""
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
    """Raise `InputError` if the samples of a split have another shape or type than the training samples."""
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
    """Raise `InputError` if a sample contains NaN or infinity."""
    if split.images.is_floating_point():
        finite = int(split.images.isfinite().flatten(1).all(1).sum())
        if finite < len(split):
            raise InputError(
                f"data {data}: {name} {split.kind} must be finite, but {len(split) - finite} of {len(split)} "
                "hold NaN or infinity."
            )


def _float_moments(channel: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of the values, in two passes.

    A sum of equal float32 values is exact in float64, so the deviation of a constant channel is exactly 0.
    """
    values = channel.reshape(-1).double()
    mean = values.mean()
    return float(mean), float(((values - mean) ** 2).mean().sqrt())
