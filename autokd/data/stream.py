"""The training stream: which samples, in which view and order, a step sees."""

from collections.abc import Iterable, Iterator
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

N_PREFETCHED = 4  # read from disk before they are needed


@dataclass(frozen=True)
class Batch:
    """What one step trains on.

    Attributes:
        images: The samples, float32, normalised, `batch x` the data set's `input_shape`; images are channels_last.
        labels: int64, `batch`.
        indices: int64, `batch`: positions in the training split.
        view: Which augmented view of the samples this is.
        mixture: What the samples are mixed with, where they are.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    view: int
    mixture: Mixture | None = None


class _Read(NamedTuple):
    """The samples of a batch as they are stored, in the memory from which the device takes them.

    Attributes:
        samples: Those at `rows`.
        rows: int64: `indices`, and after them those of the samples that they are mixed with, if they are.
        indices: int64, `batch`.
        view: Number of the view.
    """

    samples: Tensor
    rows: Tensor
    indices: Tensor
    view: int


class TrainingStream:
    """The batches of a training split, a pure function of (seed, step).

    Epoch `e` shows view `e % views` of every sample, in an order of its own. With few views a teacher's outputs are
    few too: each is computed once and used by every epoch and every student that sees it.

    Samples in memory are moved to the device once. Mapped ones stay where they are, and a thread reads the next batches
    while one is trained on.

    Raises:
        InputError: If samples that are no images are to be augmented.
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
        """Whole batches of an epoch; what remains is left for the next epoch's order."""
        return len(self.split) // self.batch_size

    def batches(self, first_step: int, last_step: int) -> Iterator[Batch]:
        """The batches of steps `first_step <= step < last_step`, all of one epoch."""
        epoch = first_step // self.steps_per_epoch
        order = self._order(epoch)[(first_step - epoch * self.steps_per_epoch) * self.batch_size :]
        parts = torch.split(order[: (last_step - first_step) * self.batch_size], self.batch_size)
        yield from self._shown(parts, epoch % self.views)

    def batch(self, indices: Tensor, view: int) -> Batch:
        """The samples at `indices` in view number `view`."""
        return self._made(self._read(indices, view))

    def whole_view(self, view: int, size: int) -> Iterator[Batch]:
        """All samples in view number `view`, in order, at most `size` at a time."""
        everything = torch.arange(len(self.split), device=self._stored.device)
        yield from self._shown(torch.split(everything, size), view)

    def _shown(self, parts: Iterable[Tensor], view: int) -> Iterator[Batch]:
        """A batch for each of the `parts`, which are indices."""
        read = partial(self._read, view=view)
        yield from map(self._made, prefetch(read, parts, N_PREFETCHED) if self.split.is_mapped else map(read, parts))

    def _read(self, indices: Tensor, view: int) -> _Read:
        rows = indices = indices.to(self._stored.device)
        if self.augmentation.mixes:
            rows = torch.cat([indices, partners_of(indices, len(self.split), self.seed, view)])
        samples = self._stored.index_select(0, rows).view(-1, *self.split.images.shape[1:])
        if self.split.is_mapped and self._device.type == "cuda":
            return _Read(samples.pin_memory(), rows.pin_memory(), indices.pin_memory(), view)
        return _Read(samples, rows, indices, view)

    def _made(self, read: _Read) -> Batch:
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
    """`(images / 255 - mean) / deviation`, or `(images - mean) / deviation` of float32, channels first.

    Args:
        images: Samples as a `Split` holds them.
        normalisation: Mean and deviation of each channel or feature, as a `Dataset` tells them.

    Returns:
        float32, `batch x channels x height x width` in channels_last, `batch x channels x length`, or
        `batch x features`.
    """
    rows = images.flatten(-2) if images.ndim > 2 else images  # long ones: few channels at a time are slow
    repeats = rows.shape[-1] // images.shape[-1]
    if images.is_floating_point():
        mean, deviation = _moments(normalisation, repeats, images.device)
        scaled = (rows - mean).div_(deviation)  # the difference first: features may be far from 0
    else:
        scale, offset = _byte_scale(normalisation, repeats, images.device)
        scaled = rows.float().mul_(scale).sub_(offset)
    channels_first = scaled.view(images.shape).movedim(-1, 1)
    return channels_first if images.ndim == 4 else channels_first.contiguous()


def evaluation_batches(split: Split, normalisation: Normalisation, size: int) -> Iterator[Tensor]:
    """The samples of a split in order, not augmented, normalised, on its labels' device, at most `size` at a time."""
    parts: Iterator[Tensor] = iter(torch.split(split.images, size))
    if split.is_mapped:
        parts = prefetch(torch.clone, parts, N_PREFETCHED)
    for images in parts:
        yield normalise(images.to(split.labels.device, non_blocking=True), normalisation)


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # they outlive the mode in which they happen to be asked for
def _moments(normalisation: Normalisation, repeats: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each value of a row; kept on the device, for copying them there makes a GPU wait."""
    mean, deviation = (torch.tensor(values, device=device).repeat(repeats) for values in normalisation)
    return mean, deviation


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _byte_scale(normalisation: Normalisation, repeats: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """What bytes of a row are multiplied by, and what is then subtracted."""
    mean, deviation = _moments(normalisation, repeats, device)
    return 1 / (255 * deviation), mean / deviation
