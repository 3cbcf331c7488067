"""Augmentation as a function of (seed, view, sample): the same for every student, and for the teacher that is cached.

Students compared under common random numbers differ by merit, not by luck, and a teacher's outputs for a view can be
computed once and read by everybody. So nothing here holds a generator: every random number is a hash of its counters.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from autokd.data.dataset import describe
from autokd.errors import InputError
from search_spaces.layers import KINDS

__all__ = ["Augmentation", "augment", "check_augmentation", "counter_hash", "pad"]

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
    """

    shift: int = 0
    flip: bool = False
    cutout: int = 0

    @property
    def does_nothing(self) -> bool:
        """Whether every view of a sample is the sample itself."""
        return self == Augmentation()


def check_augmentation(augmentation: Augmentation, input_shape: tuple[int, ...]) -> None:
    """Nothing, if samples of that shape can be augmented so.

    Raises:
        InputError: If something is to be done to samples that are no images.
    """
    if KINDS[len(input_shape)] != "images" and not augmentation.does_nothing:
        raise InputError(
            f"training.augmentation is for images, but the data are {describe(input_shape)}: leave the section away."
        )


def pad(images: Tensor, augmentation: Augmentation) -> Tensor:
    """The images with a margin of zeros: `n x (height + 2 shift) x (width + 2 shift) x channels`.

    Done once for a whole data set, so that a shift is only a choice of rows and columns.
    """
    margin = augmentation.shift
    if not margin:
        return images
    n, height, width, channels = images.shape
    padded = images.new_zeros(n, height + 2 * margin, width + 2 * margin, channels)
    padded[:, margin : margin + height, margin : margin + width] = images
    return padded


def augment(padded: Tensor, indices: Tensor, augmentation: Augmentation, seed: int, view: int) -> Tensor:
    """View number `view` of the samples at `indices`.

    Args:
        padded: All samples as `pad` returns them, `n x height x width x channels`; signals and vectors where there is
            nothing to do.
        indices: int64, `batch`, on the device of `padded`.
        augmentation: What to do.
        seed: Seed of the stream.
        view: Number of the view; each is another draw.

    Returns:
        The samples' own type, `batch x height x width x channels` (without the margin), contiguous.
    """
    if augmentation.does_nothing:
        return padded[indices].contiguous()  # whatever the layout of the samples
    margin = augmentation.shift
    height, width = padded.shape[1] - 2 * margin, padded.shape[2] - 2 * margin
    rows = _offsets(indices, seed, view, 0, 2 * margin + 1) + torch.arange(height, device=indices.device)
    columns = torch.arange(width, device=indices.device).expand(len(indices), width)
    if augmentation.flip:
        mirrored = _offsets(indices, seed, view, 2, 2).bool()
        columns = torch.where(mirrored, columns.flip(1), columns)
    columns = columns + _offsets(indices, seed, view, 1, 2 * margin + 1)
    images = padded[indices[:, None, None], rows[:, :, None], columns[:, None, :]]
    if augmentation.cutout:
        images = images * _outside_square(indices, seed, view, augmentation.cutout, height, width)
    return images


def counter_hash(indices: Tensor, seed: int, view: int, purpose: int) -> Tensor:
    """Non-negative 63-bit integers, one for each index: splitmix64 (Steele et al. 2014) of the counters.

    Integer arithmetic wraps alike on every device, so CPU and GPU see the same numbers.
    """
    state = indices + _signed(seed * 0x9E3779B97F4A7C15 + view * 0xD1342543DE82EF95 + purpose * 0x2545F4914F6CDD1D)
    state = state * _GOLDEN + _GOLDEN
    state = (state ^ _shift_right(state, 30)) * _MIX_1
    state = (state ^ _shift_right(state, 27)) * _MIX_2
    return (state ^ _shift_right(state, 31)) & 0x7FFFFFFFFFFFFFFF


def _offsets(indices: Tensor, seed: int, view: int, purpose: int, below: int) -> Tensor:
    """Integers in `[0, below)`, `batch x 1`."""
    return (counter_hash(indices, seed, view, purpose) % below).unsqueeze(1)


def _outside_square(indices: Tensor, seed: int, view: int, side: int, height: int, width: int) -> Tensor:
    """1 outside the cut-out square and 0 inside, uint8, `batch x height x width x 1`."""
    top = _offsets(indices, seed, view, 3, height) - side // 2
    left = _offsets(indices, seed, view, 4, width) - side // 2
    rows, columns = torch.arange(height, device=indices.device), torch.arange(width, device=indices.device)
    inside_rows = (rows >= top) & (rows < top + side)
    inside_columns = (columns >= left) & (columns < left + side)
    return (~(inside_rows[:, :, None] & inside_columns[:, None, :])).to(torch.uint8).unsqueeze(3)


def _shift_right(state: Tensor, bits: int) -> Tensor:
    """Logical shift: torch's own keeps the sign."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    """The low 64 bits of `value` as a signed integer."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
