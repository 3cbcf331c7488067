"""Augmentation as a function of (seed, view, sample), the same for all students and for the teacher.

With common random numbers, differences between students are not due to different augmentations, and the teacher's
outputs for a view can be computed once and shared. So there is no generator here: every random number is a hash of
counters.
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from autokd.config.compatibility import without_later_keys
from autokd.config.schema import AugmentationConfig
from autokd.data.dataset import describe
from autokd.errors import InputError
from search_spaces.architecture.layers import KINDS

__all__ = [
    "Augmentation",
    "augment",
    "check_augmentation",
    "check_extent",
    "counter_hash",
    "inside_box",
    "outside_box",
    "uniform_integers",
]

_GOLDEN = -0x61C8864680B583EB  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MIX_1 = -0x40A7B892E31B1A47  # 0xBF58476D1CE4E5B9
_MIX_2 = -0x6B2FB644ECCEEE15  # 0x94D049BB133111EB


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of training images; signals and vectors cannot be augmented.

    Attributes:
        shift: Largest translation in pixels along each axis, padded with zeros.
        flip: Whether half of the views are flipped left to right.
        cutout: Side in pixels of a square set to zero (DeVries and Taylor 2017, https://arxiv.org/abs/1708.04552),
            whose centre is uniform over the image, so that it may extend beyond the border; 0 for no cutout.
        mixup: `alpha` of the Beta distribution of mixup's weights, see `autokd.data.mixup`; 0 for no mixup.
        cutmix: `alpha` likewise for CutMix; 0 for no CutMix. If both are used, each applies to half of the samples.
    """

    shift: int = 0
    flip: bool = False
    cutout: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0

    @classmethod
    def of(cls, config: AugmentationConfig) -> "Augmentation":
        """The augmentation of a section `[training.augmentation]`."""
        return cls(**config.model_dump())

    @property
    def does_nothing(self) -> bool:
        """Whether all views of a sample equal the sample."""
        return self == Augmentation()

    @property
    def mixes(self) -> bool:
        """Whether views of a sample contain parts of another sample."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def identity(self) -> dict[str, float]:
        """Plain values for a digest, which do not change when further kinds of augmentation are added."""
        return without_later_keys(asdict(self), "training", "augmentation")


def check_augmentation(augmentation: Augmentation, input_shape: tuple[int, ...]) -> None:
    """Raise `InputError` if samples of this shape are not images but would be augmented."""
    if KINDS[len(input_shape)] != "images" and not augmentation.does_nothing:
        raise InputError(
            f"training.augmentation is for images, but the data are {describe(input_shape)}, which allow none of it: "
            "omit the section."
        )


def check_extent(augmentation: Augmentation, input_shape: tuple[int, ...]) -> None:
    """Raise `InputError` if an image of this shape could be moved by more than its size, or is always cut out whole."""
    largest = max(input_shape[1:], default=0)
    if augmentation.shift > largest:
        raise InputError(
            f"training.augmentation.shift must be at most {largest}, the images' size, but got {augmentation.shift}."
        )
    if augmentation.cutout >= 2 * largest - 1 > 0:
        raise InputError(
            f"training.augmentation.cutout must be less than {2 * largest - 1}, which blackens whole images, but got "
            f"{augmentation.cutout}."
        )


def augment(samples: Tensor, indices: Tensor, augmentation: Augmentation, seed: int, view: int) -> Tensor:
    """Augmented view of samples, without mixing, which is done by `autokd.data.mixup`.

    Args:
        samples: Images, `batch x height x width x channels`; also signals and vectors if the augmentation does nothing.
        indices: Indices of the samples in their split, int64, `batch`.
        augmentation: The augmentation.
        seed: Seed of the stream.
        view: Number of the view; each view has other random numbers.

    Returns:
        Tensor of the samples' type and shape, contiguous.
    """
    views = samples.contiguous()
    if augmentation.shift:
        views = _shifted(views, indices, augmentation.shift, seed, view)
    if augmentation.flip:
        views = _mirrored(views, uniform_integers(indices, seed, view, 2, 2))
    if augmentation.cutout:
        views = _cut_out(views, indices, augmentation.cutout, seed, view)
    return views


def counter_hash(indices: Tensor, seed: int, view: int, purpose: int) -> Tensor:
    """Non-negative 63-bit integers, one for each index: splitmix64 (Steele et al. 2014) of the counters.

    Integer overflow wraps in the same way on all devices, so the results on CPU and GPU are equal.

    Args:
        indices: int64.
        seed: Seed of the stream.
        view: Number of the view.
        purpose: Number that distinguishes independent draws.
    """
    state = indices + _signed(seed * 0x9E3779B97F4A7C15 + view * 0xD1342543DE82EF95 + purpose * 0x2545F4914F6CDD1D)
    state = state * _GOLDEN + _GOLDEN
    state = (state ^ _shift_right(state, 30)) * _MIX_1
    state = (state ^ _shift_right(state, 27)) * _MIX_2
    return (state ^ _shift_right(state, 31)) & 0x7FFFFFFFFFFFFFFF


def uniform_integers(indices: Tensor, seed: int, view: int, purpose: int, below: int) -> Tensor:
    """Uniform random integers in `[0, below)`, int64, one for each index.

    Args:
        indices: int64.
        seed: Seed of the stream.
        view: Number of the view.
        purpose: Number that distinguishes independent draws.
        below: Exclusive upper end of the range.
    """
    return counter_hash(indices, seed, view, purpose) % below


def inside_box(starts: Tensor, sizes: Tensor | int, length: int) -> Tensor:
    """Mask of the positions `[0, length)` that are in `[start, start + size)`, bool, `batch x length`.

    Args:
        starts: First position of each interval, int64, `batch`.
        sizes: Length of the intervals, or of each one, int64, `batch`.
        length: Number of positions.
    """
    positions = torch.arange(length, device=starts.device)
    return (positions >= starts[:, None]) & (positions < (starts + sizes)[:, None])


def outside_box(rows: Tensor, columns: Tensor) -> Tensor:
    """Mask that is 0 where both row and column are inside, and 1 elsewhere, uint8, `batch x height x width`."""
    return (~rows).byte()[:, :, None] | (~columns).byte()[:, None, :]  # faster with bytes than with bool


def _shifted(images: Tensor, indices: Tensor, margin: int, seed: int, view: int) -> Tensor:
    """Random window of each image padded with zeros.

    The rows of all windows are gathered at once from a strided view of the memory in which a row begins at every pixel,
    so each row is copied as consecutive bytes.
    """
    batch, height, width, channels = images.shape
    padded = images.new_zeros(batch, height + 2 * margin, width + 2 * margin, channels)
    padded[:, margin : margin + height, margin : margin + width] = images
    top, left = (uniform_integers(indices, seed, view, purpose, 2 * margin + 1) for purpose in (0, 1))
    first_rows = torch.arange(batch, device=images.device) * padded.shape[1] + top
    rows = first_rows[:, None] + torch.arange(height, device=images.device)
    pixels = rows * padded.shape[2] + left[:, None]
    row_at_pixel = padded.as_strided((padded[..., 0].numel() - width + 1, width * channels), (channels, 1))
    return row_at_pixel.index_select(0, pixels.flatten()).view(images.shape)


def _mirrored(images: Tensor, is_mirrored: Tensor) -> Tensor:
    """Images, flipped left to right where `is_mirrored` is 1, selected from all images and all flipped ones."""
    batch = len(images)
    both = torch.cat([images.flatten(1), images.flip(2).flatten(1)])
    chosen = torch.arange(batch, device=images.device) + batch * is_mirrored
    return both.index_select(0, chosen).view(images.shape)


def _cut_out(images: Tensor, indices: Tensor, side: int, seed: int, view: int) -> Tensor:
    """Images with a random square set to zero."""
    batch, height, width, channels = images.shape
    top = uniform_integers(indices, seed, view, 3, height) - side // 2
    left = uniform_integers(indices, seed, view, 4, width) - side // 2
    columns = inside_box(left, side, width).repeat_interleave(channels, 1)
    outside = outside_box(inside_box(top, side, height), columns)
    return (images.view(batch, height, width * channels) * outside).view(images.shape)


def _shift_right(state: Tensor, bits: int) -> Tensor:
    """Logical right shift; PyTorch's is arithmetic."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    """Low 64 bits of `value` as a signed integer."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
