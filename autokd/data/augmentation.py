"""Augmentation as a function of (seed, view, sample): the same for every student, and for the teacher that is cached.

Students compared under common random numbers differ by merit, not by luck, and a teacher's outputs for a view can be
computed once and read by everybody. So nothing here holds a generator: every random number is a hash of its counters.
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from autokd.config.compatibility import without_later_keys
from autokd.data.dataset import describe
from autokd.errors import InputError
from search_spaces.architecture.layers import KINDS

__all__ = [
    "Augmentation",
    "augment",
    "check_augmentation",
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
    """What is done to a training image; signals and vectors are left as they are.

    Attributes:
        shift: The image moves by up to this many pixels in each direction; zeros come in.
        flip: Whether half of the views are mirrored left to right.
        cutout: Side in pixels of a square set to zero (DeVries and Taylor 2017, https://arxiv.org/abs/1708.04552);
            its centre is uniform over the image, so the square may stick out. 0 leaves it away.
        mixup: `alpha` of the Beta distribution of Mixup's weights, see `autokd.data.mixup`. 0 leaves it away.
        cutmix: The same of CutMix; where both are on, each gets half of the samples.
    """

    shift: int = 0
    flip: bool = False
    cutout: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def does_nothing(self) -> bool:
        """Whether every view of a sample is the sample itself."""
        return self == Augmentation()

    @property
    def mixes(self) -> bool:
        """Whether a view of a sample shows something of another one."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def identity(self) -> dict[str, float]:
        """What tells it from others, as plain values for a digest, which outlives the addition of kinds."""
        return without_later_keys(asdict(self), "training", "augmentation")


def check_augmentation(augmentation: Augmentation, input_shape: tuple[int, ...]) -> None:
    """Nothing, if samples of that shape can be augmented so.

    Raises:
        InputError: If something is to be done to samples that are no images.
    """
    if KINDS[len(input_shape)] != "images" and not augmentation.does_nothing:
        raise InputError(
            f"training.augmentation is for images, but the data are {describe(input_shape)}: leave the section away."
        )


def augment(samples: Tensor, indices: Tensor, augmentation: Augmentation, seed: int, view: int) -> Tensor:
    """View number `view` of samples, each moved, mirrored and cut out on its own; mixing is `autokd.data.mixup`'s.

    Args:
        samples: `batch x height x width x channels`; signals and vectors where there is nothing to do.
        indices: int64, `batch`: positions of the samples in their split.
        augmentation: What to do.
        seed: Seed of the stream.
        view: Number of the view; each is another draw.

    Returns:
        The samples' own type and shape, contiguous.
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

    Integer arithmetic wraps alike on every device, so CPU and GPU see the same numbers.
    """
    state = indices + _signed(seed * 0x9E3779B97F4A7C15 + view * 0xD1342543DE82EF95 + purpose * 0x2545F4914F6CDD1D)
    state = state * _GOLDEN + _GOLDEN
    state = (state ^ _shift_right(state, 30)) * _MIX_1
    state = (state ^ _shift_right(state, 27)) * _MIX_2
    return (state ^ _shift_right(state, 31)) & 0x7FFFFFFFFFFFFFFF


def uniform_integers(indices: Tensor, seed: int, view: int, purpose: int, below: int) -> Tensor:
    """int64 in `[0, below)`, one for each index; each purpose is another draw."""
    return counter_hash(indices, seed, view, purpose) % below


def inside_box(starts: Tensor, sizes: Tensor | int, length: int) -> Tensor:
    """Which of the positions `[0, length)` are in `[start, start + size)`: bool, `batch x length`."""
    positions = torch.arange(length, device=starts.device)
    return (positions >= starts[:, None]) & (positions < (starts + sizes)[:, None])


def outside_box(rows: Tensor, columns: Tensor) -> Tensor:
    """0 where both the row and the column are inside, else 1: uint8, `batch x height x width`."""
    return (~rows).byte()[:, :, None] | (~columns).byte()[:, None, :]  # of bytes, which is faster than of bool


def _shifted(images: Tensor, indices: Tensor, margin: int, seed: int, view: int) -> Tensor:
    """A window of each image with a margin of zeros.

    All rows of all windows are gathered at once, out of a view of the memory in which a row begins at every pixel:
    a row is one copy of consecutive bytes.
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
    """Each image, left to right where its number is 1: chosen among all images and all mirrored ones."""
    batch = len(images)
    both = torch.cat([images.flatten(1), images.flip(2).flatten(1)])
    chosen = torch.arange(batch, device=images.device) + batch * is_mirrored
    return both.index_select(0, chosen).view(images.shape)


def _cut_out(images: Tensor, indices: Tensor, side: int, seed: int, view: int) -> Tensor:
    """Zero inside a square of each image."""
    batch, height, width, channels = images.shape
    top = uniform_integers(indices, seed, view, 3, height) - side // 2
    left = uniform_integers(indices, seed, view, 4, width) - side // 2
    columns = inside_box(left, side, width).repeat_interleave(channels, 1)
    outside = outside_box(inside_box(top, side, height), columns)
    return (images.view(batch, height, width * channels) * outside).view(images.shape)


def _shift_right(state: Tensor, bits: int) -> Tensor:
    """Logical shift: torch's own keeps the sign."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    """The low 64 bits of `value` as a signed integer."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
