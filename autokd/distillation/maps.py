"""What two networks see of a batch, brought to where it can be compared: in pairs, at one size, in one width.

A map is `batch x channels x` its resolution: two sizes for images, one for signals, none for vectors.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autokd.distillation.base import Outputs
from autokd.errors import InputError

__all__ = [
    "STAGES",
    "Projection",
    "convolution",
    "embeddings",
    "lifted",
    "pairs",
    "pooled",
    "same_size",
    "unit",
]

_CHOSEN: Mapping[str, Callable[[int], slice]] = MappingProxyType(
    {
        "middle": lambda n: slice(n // 2, n // 2 + 1),
        "last": lambda n: slice(n - 1, n),
        "all": lambda n: slice(0, n),
    }
)

STAGES = tuple(_CHOSEN)
"""Which of n pairs of maps a method may look at: that at index n // 2, the deepest, or each."""


def pairs(student: Outputs, teacher: Outputs, stages: str = "all") -> list[tuple[Tensor, Tensor]]:
    """Maps of student and teacher from the shallowest pair to the deepest, at least float32.

    The last map of one belongs to the last of the other, and so on towards the first; where one network has more maps,
    its shallowest have no partner.

    Args:
        student: Features of a batch.
        teacher: Features of the same batch.
        stages: One of `STAGES`.

    Raises:
        InputError: If a network has no maps.
    """
    n = min(len(student.features), len(teacher.features))
    if n == 0:
        raise InputError(
            "the method compares feature maps and needs at least one of each network, but got "
            f"{len(student.features)} of the student and {len(teacher.features)} of the teacher."
        )
    matched = list(zip(student.features[-n:], teacher.features[-n:], strict=True))
    return [(_precise(own), _precise(other)) for own, other in matched[_CHOSEN[stages](n)]]


def embeddings(student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
    """The embeddings of student and teacher, at least float32, `batch x width` each.

    Raises:
        InputError: If a network has none.
    """
    if student.embedding is None or teacher.embedding is None:
        lacking = "student" if student.embedding is None else "teacher"
        raise InputError(f"the method compares embeddings, but the {lacking} gives none.")
    return _precise(student.embedding), _precise(teacher.embedding)


def same_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps at the smaller of their sizes along each axis; a vector is a map of one position.

    Args:
        student: A map.
        teacher: A map of the same batch; its channels may differ.

    Raises:
        InputError: If one is of images and the other of signals.
    """
    axes = {student.ndim, teacher.ndim} - {2}
    if len(axes) > 1:
        raise InputError(
            "features of images and of signals cannot be compared, but got shapes "
            f"{tuple(student.shape)} of the student and {tuple(teacher.shape)} of the teacher."
        )
    own, other = (lifted(maps, max(student.ndim, teacher.ndim)) for maps in (student, teacher))
    size = tuple(map(min, zip(own.shape[2:], other.shape[2:], strict=True)))
    return pooled(own, size), pooled(other, size)


def lifted(maps: Tensor, ndim: int) -> Tensor:
    """The same map with further axes of size 1 at the end, `ndim` axes in all."""
    return maps.reshape(*maps.shape, *[1] * (ndim - maps.ndim))


def pooled(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """The map at another resolution, each position the mean over its window (adaptive average pooling)."""
    if maps.shape[2:] == size:
        return maps
    if len(size) == 1:
        return F.adaptive_avg_pool1d(maps, size)
    return F.adaptive_avg_pool2d(maps, (size[0], size[1]))


def unit(values: Tensor, dim: int = 1, least: float | Tensor = 0.0) -> Tensor:
    """Values over their L2 norm along `dim`, in `[-1, 1]`.

    What has no direction is 0 and gets no gradient: with a small constant under the fraction instead, as is common, its
    gradient would be the inverse of that constant.

    Args:
        values: Any shape.
        dim: The axis whose values make a vector.
        least: Norms up to it count as none.
    """
    norms: Tensor = torch.linalg.vector_norm(values, dim=dim, keepdim=True)
    return values / norms.masked_fill(norms <= least, math.inf)


def convolution(inputs: int, outputs: int, kernel: int, rank: int, bias: bool = True) -> nn.Module:
    """A layer from `inputs` to `outputs` channels that keeps the resolution.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        kernel: Odd size of the window along each axis; a vector has none, and the layer is linear.
        rank: 2 for images, 1 for signals, 0 for vectors.
        bias: Whether it adds one.
    """
    if rank == 0:
        return nn.Linear(inputs, outputs, bias)
    kind = nn.Conv1d if rank == 1 else nn.Conv2d
    return kind(inputs, outputs, kernel, padding=kernel // 2, bias=bias)


class Projection(nn.Module):
    """A convolution to another number of channels, then batch normalisation.

    Unlike torch's, the normalisation also takes a batch of one value a channel, which has no spread: it uses what it
    has seen before.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        kernel: As of `convolution`.
        rank: As of `convolution`.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, rank: int) -> None:
        super().__init__()
        self.convolution = convolution(inputs, outputs, kernel, rank, bias=False)
        self.normalisation = nn.BatchNorm2d(outputs) if rank == 2 else nn.BatchNorm1d(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """A map of the same resolution."""
        projected: Tensor = self.convolution(maps)
        of = self.normalisation
        is_spread = projected.numel() > projected.shape[1]
        return F.batch_norm(projected, of.running_mean, of.running_var, of.weight, of.bias, of.training and is_spread)


def _precise(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
