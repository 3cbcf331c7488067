"""The training stream: the samples of each step, their order and their augmented views."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import torch
from torch import Tensor

from autokd.core.seeds import derive
from autokd.data.augmentation import Augmentation, augment, check_augmentation
from autokd.data.dataset import Dataset, Split
from autokd.data.mixup import Mixture, mix, partners_of
from autokd.data.prefetch import prefetch

__all__ = ["Batch", "TrainingStream", "evaluation_batches", "normalise"]

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]

N_PREFETCHED = 4  # batches of mapped samples that are read in advance


@dataclass(frozen=True)
class Batch:
    """A batch of augmented, normalised samples.

    Attributes:
        images: The samples, float32, normalised, `batch x` the data set's `input_shape`; images are channels_last.
        labels: int64, `batch`.
        indices: Indices of the samples in the training split, int64, `batch`.
        view: Number of the augmented view.
        mixture: Labels and weights of the other samples with mixup or CutMix; None without.
        all_channels: The samples for the teacher if `images` has only the student's channels; None if both are the
            same.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    view: int
    mixture: Mixture | None = None
    all_channels: Tensor | None = None


class _Read(NamedTuple):
    """Stored samples of a batch, in pinned memory if the device needs it.

    Attributes:
        samples: The samples at `rows`.
        rows: `indices`, followed by the indices of the samples to mix in, if any, int64.
        indices: Indices of the samples, int64, `batch`.
        view: Number of the view.
    """

    samples: Tensor
    rows: Tensor
    indices: Tensor
    view: int


def steps_per_epoch(n_train: int, batch_size: int) -> int:
    """Batches in an epoch of so many samples; one of all samples where a batch would be larger."""
    return max(1, n_train // batch_size)


class TrainingStream:
    """Batches of the training split, a pure function of (seed, step).

    Epoch `e` has view `e % views` of every sample, in an order of its own. With a small number of views, the teacher's
    outputs for all of them can be computed once and reused by all epochs and students.

    Samples in memory are moved to the device once. Mapped samples are not; a thread reads the next batches in advance.

    Args:
        dataset: The data set, of which the training split is used.
        augmentation: Augmentation of the samples.
        batch_size: Samples of a batch; at most all training samples.
        views: Number of augmented views of each sample.
        seed: Seed of order and augmentation.
        device: Device of the batches.

    Raises:
        InputError: If samples that are not images are to be augmented.
    """

    def __init__(
        self, dataset: Dataset, augmentation: Augmentation, batch_size: int, views: int, seed: int, device: torch.device
    ) -> None:
        check_augmentation(augmentation, dataset.input_shape)
        self.split = dataset.train.to(device)
        self.normalisation = dataset.normalisation
        self.augmentation = augmentation
        self.batch_size = min(batch_size, len(self.split))
        self.views = views
        self.seed = seed
        self._stored = self.split.images.contiguous().flatten(1)
        self._device = device

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in an epoch, all of full size; the remaining samples are not used in that epoch."""
        return steps_per_epoch(len(self.split), self.batch_size)

    def batches(self, first_step: int, last_step: int) -> Iterator[Batch]:
        """Batches of the steps `first_step <= step < last_step`, all of the same epoch."""
        epoch = first_step // self.steps_per_epoch
        order = self._order(epoch)[(first_step - epoch * self.steps_per_epoch) * self.batch_size :]
        parts = torch.split(order[: (last_step - first_step) * self.batch_size], self.batch_size)
        read = partial(self._read, view=epoch % self.views)
        stored = prefetch(read, parts, N_PREFETCHED) if self.split.is_mapped else map(read, parts)
        yield from map(self._augmented, stored)

    def batch(self, indices: Tensor, view: int) -> Batch:
        """Batch of the samples at `indices` in view number `view`."""
        return self._augmented(self._read(indices, view))

    def _read(self, indices: Tensor, view: int) -> _Read:
        rows = indices = indices.to(self._stored.device)
        if self.augmentation.mixes:
            rows = torch.cat([indices, partners_of(indices, len(self.split), self.seed, view)])
        samples = self._stored.index_select(0, rows).view(-1, *self.split.images.shape[1:])
        if self.split.is_mapped and self._device.type == "cuda":
            return _Read(samples.pin_memory(), rows.pin_memory(), indices.pin_memory(), view)
        return _Read(samples, rows, indices, view)

    def _augmented(self, read: _Read) -> Batch:
        samples, rows, indices = (
            tensor.to(self._device, non_blocking=True) for tensor in (read.samples, read.rows, read.indices)
        )
        views = augment(samples, rows, self.augmentation, self.seed, read.view)
        images, labels = normalise(views, self.normalisation), self.split.labels[rows]
        if not self.augmentation.mixes:
            return Batch(images, labels, indices, read.view)
        (own, other), (own_labels, other_labels) = images.chunk(2), labels.chunk(2)
        mixed, weight = mix(own, other, indices, self.augmentation, self.seed, read.view)
        return Batch(mixed, own_labels, indices, read.view, Mixture(other_labels, weight))

    def _order(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(derive(self.seed, "order", epoch))
        return torch.randperm(len(self.split), generator=generator).to(self._stored.device)


def normalise(images: Tensor, normalisation: Normalisation) -> Tensor:
    """Normalised samples, channels first: `(images / 255 - mean) / deviation`, without the 255 for float32.

    Args:
        images: Samples as stored in a `Split`.
        normalisation: Mean and deviation of each channel or feature, from `Dataset.normalisation`.

    Returns:
        float32, `batch x channels x height x width` in channels_last, `batch x channels x length`, or
        `batch x features`.
    """
    rows = images.flatten(-2) if images.ndim > 2 else images  # long rows, since broadcasting few channels is slow
    repeats = rows.shape[-1] // images.shape[-1]
    if images.is_floating_point():
        mean, deviation = _moments(normalisation, repeats, images.device)
        scaled = (rows - mean).div_(deviation)  # subtract first, since features may be far from 0
    else:
        scale, offset = _byte_scale(normalisation, repeats, images.device)
        scaled = rows.float().mul_(scale).sub_(offset)
    channels_first = scaled.view(images.shape).movedim(-1, 1)
    return channels_first if images.ndim == 4 else channels_first.contiguous()


def evaluation_batches(split: Split, normalisation: Normalisation, size: int) -> Iterator[Tensor]:
    """Normalised samples of a split in order, without augmentation, in batches of at most `size`.

    Args:
        split: The split; batches are on the device of its labels.
        normalisation: Mean and deviation of each channel or feature.
        size: Largest number of samples in a batch.
    """
    parts: Iterator[Tensor] = iter(torch.split(split.images, size))
    if split.is_mapped:
        parts = prefetch(torch.clone, parts, N_PREFETCHED)
    for images in parts:
        yield normalise(images.to(split.labels.device, non_blocking=True), normalisation)


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # the cached tensors may be created in inference mode and used outside of it
def _moments(normalisation: Normalisation, repeats: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each value of a row; cached on the device, since copying them would synchronise a GPU."""
    mean, deviation = (torch.tensor(values, device=device).repeat(repeats) for values in normalisation)
    return mean, deviation


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _byte_scale(normalisation: Normalisation, repeats: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Factor on the bytes of a row, and the offset that is subtracted afterwards."""
    mean, deviation = _moments(normalisation, repeats, device)
    return 1 / (255 * deviation), mean / deviation
