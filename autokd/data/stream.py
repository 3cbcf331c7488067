"""The training stream: which samples, in which view and order, a step sees."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from autokd.data.augmentation import Augmentation, augment, check_augmentation, pad
from autokd.data.dataset import Dataset, Split
from autokd.seeds import derive

__all__ = ["Batch", "TrainingStream", "evaluation_batches", "normalise"]


@dataclass(frozen=True)
class Batch:
    """What one step trains on.

    Attributes:
        images: The samples, float32, normalised, `batch x` the data set's `input_shape`; images are channels_last.
        labels: int64, `batch`.
        indices: int64, `batch`: positions in the training split.
        view: Which augmented view of the samples this is.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    view: int


class TrainingStream:
    """The batches of a training split, a pure function of (seed, step).

    Epoch `e` shows view `e % views` of every sample, in an order of its own. With few views a teacher's outputs are
    few too: each is computed once and used by every epoch and every student that sees it.

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
        self._padded = pad(self.split.images, augmentation)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of an epoch; what remains is left for the next epoch's order."""
        return len(self.split) // self.batch_size

    def batches(self, first_step: int, last_step: int) -> Iterator[Batch]:
        """The batches of steps `first_step <= step < last_step`, all of one epoch."""
        epoch = first_step // self.steps_per_epoch
        order = self._order(epoch)
        for step in range(first_step, last_step):
            start = (step - epoch * self.steps_per_epoch) * self.batch_size
            yield self.batch(order[start : start + self.batch_size], epoch % self.views)

    def batch(self, indices: Tensor, view: int) -> Batch:
        """The samples at `indices` in view number `view`."""
        images = augment(self._padded, indices, self.augmentation, self.seed, view)
        return Batch(normalise(images, self.normalisation), self.split.labels[indices], indices, view)

    def whole_view(self, view: int, size: int) -> Iterator[Batch]:
        """All samples in view number `view`, in order, at most `size` at a time."""
        for indices in torch.split(torch.arange(len(self.split), device=self.split.images.device), size):
            yield self.batch(indices, view)

    def _order(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(derive(self.seed, "order", epoch))
        return torch.randperm(len(self.split), generator=generator).to(self.split.images.device)


def normalise(images: Tensor, normalisation: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    """`(images / 255 - mean) / deviation`, or `(images - mean) / deviation` of float32, channels first.

    Args:
        images: Samples as a `Split` holds them.
        normalisation: Mean and deviation of each channel or feature, as a `Dataset` tells them.

    Returns:
        float32, `batch x channels x height x width` in channels_last, `batch x channels x length`, or
        `batch x features`.
    """
    mean, deviation = (torch.tensor(values, device=images.device) for values in normalisation)
    if images.is_floating_point():
        scaled = (images - mean).div_(deviation)  # the difference first: features may be far from 0
    else:
        scaled = images.float().mul_(1 / (255 * deviation)).sub_(mean / deviation)
    channels_first = scaled.movedim(-1, 1)
    return channels_first if images.ndim == 4 else channels_first.contiguous()


def evaluation_batches(
    split: Split, normalisation: tuple[tuple[float, ...], tuple[float, ...]], size: int
) -> Iterator[Tensor]:
    """The samples of a split in order, not augmented, normalised, at most `size` at a time."""
    for images in torch.split(split.images, size):
        yield normalise(images, normalisation)
