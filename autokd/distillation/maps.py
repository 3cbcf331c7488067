"""Feature maps of two networks made comparable: matched in pairs, at the same resolution, with the same channels.

A map is `batch x channels x` resolution. The resolution has two axes for images, one for signals, none for vectors.
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
"""Selections among n pairs of maps: the pair at index n // 2, the deepest one, or all."""


def pairs(student: Outputs, teacher: Outputs, stages: str = "all") -> list[tuple[Tensor, Tensor]]:
    """Pairs of the student's and the teacher's maps, from the shallowest to the deepest, in at least float32.

    Maps are matched from the last one backwards; if one network has more maps, its shallowest ones are not used.

    Args:
        student: Outputs of the student, with features.
        teacher: Outputs of the teacher for the same batch, with features.
        stages: Selection of pairs, one of `STAGES`.

    Raises:
        InputError: If a network has no maps.
    """
    n = min(len(student.features), len(teacher.features))
    if n == 0:
        raise InputError(
            "the method compares feature maps and needs at least one from each network, but got "
            f"{len(student.features)} from the student and {len(teacher.features)} from the teacher."
        )
    matched = list(zip(student.features[-n:], teacher.features[-n:], strict=True))
    return [(_precise(own), _precise(other)) for own, other in matched[_CHOSEN[stages](n)]]


def embeddings(student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
    """Embeddings of student and teacher, in at least float32, `batch x width` each.

    Raises:
        InputError: If a network has no embedding.
    """
    if student.embedding is None or teacher.embedding is None:
        lacking = "student" if student.embedding is None else "teacher"
        raise InputError(f"the method compares embeddings, but the {lacking} has none.")
    return _precise(student.embedding), _precise(teacher.embedding)


def same_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps, pooled to the smaller of their sizes along each axis; a vector counts as a map of one position.

    Args:
        student: A map of the student.
        teacher: A map of the teacher for the same batch; its channels may differ.

    Raises:
        InputError: If one map is of images and the other of signals or tokens.
    """
    axes = {student.ndim, teacher.ndim} - {2}
    if len(axes) > 1:
        raise InputError(
            "features of images and of signals or tokens cannot be compared, but got shapes "
            f"{tuple(student.shape)} from the student and {tuple(teacher.shape)} from the teacher: name layers that "
            "return maps, batch x channels x positions."
        )
    own, other = (lifted(maps, max(student.ndim, teacher.ndim)) for maps in (student, teacher))
    size = tuple(map(min, zip(own.shape[2:], other.shape[2:], strict=True)))
    return pooled(own, size), pooled(other, size)


def lifted(maps: Tensor, ndim: int) -> Tensor:
    """The map with axes of size 1 appended, `ndim` axes in total."""
    return maps.reshape(*maps.shape, *[1] * (ndim - maps.ndim))


def pooled(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """The map at a smaller resolution, by adaptive average pooling."""
    if maps.shape[2:] == size:
        return maps
    if len(size) == 1:
        return F.adaptive_avg_pool1d(maps, size)
    return F.adaptive_avg_pool2d(maps, (size[0], size[1]))


def unit(values: Tensor, dim: int = 1, least: float | Tensor = 0.0) -> Tensor:
    """Vectors divided by their L2 norm, in `[-1, 1]`; those of norm 0 are 0.

    A vector of norm 0 gets no gradient. With the common small constant in the denominator, its gradient would be the
    inverse of that constant.

    Args:
        values: Tensor of any shape.
        dim: Axis along which the values form vectors.
        least: Norms up to this count as 0.
    """
    norms: Tensor = torch.linalg.vector_norm(values, dim=dim, keepdim=True)
    return values / norms.masked_fill(norms <= least, math.inf)


def convolution(inputs: int, outputs: int, kernel: int, rank: int, bias: bool = True) -> nn.Module:
    """Convolution that keeps the resolution; a linear layer for vectors.

    Args:
        inputs: Number of input channels.
        outputs: Number of output channels.
        kernel: Kernel size along each axis, odd; ignored for vectors.
        rank: 2 for images, 1 for signals, 0 for vectors.
        bias: Whether the layer has a bias.
    """
    if rank == 0:
        return nn.Linear(inputs, outputs, bias)
    kind = nn.Conv1d if rank == 1 else nn.Conv2d
    return kind(inputs, outputs, kernel, padding=kernel // 2, bias=bias)


class Projection(nn.Module):
    """Convolution to another number of channels, followed by batch normalisation.

    Unlike PyTorch's, the normalisation accepts a training batch with a single value per channel, whose variance is
    undefined: it uses the running statistics.

    Args:
        inputs: Number of input channels.
        outputs: Number of output channels.
        kernel: As in `convolution`.
        rank: As in `convolution`.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, rank: int) -> None:
        super().__init__()
        self.convolution = convolution(inputs, outputs, kernel, rank, bias=False)
        self.normalisation = nn.BatchNorm2d(outputs) if rank == 2 else nn.BatchNorm1d(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """Projected map, `batch x outputs x` the same resolution."""
        projected: Tensor = self.convolution(maps)
        norm = self.normalisation
        has_variance = projected.numel() > projected.shape[1]
        return F.batch_norm(
            projected, norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.training and has_variance
        )


def _precise(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
