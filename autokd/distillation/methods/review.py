"""Knowledge review: the teacher's shallow levels also supervise all deeper levels of the student.

Chen et al. 2021, https://arxiv.org/abs/2104.09044. The review path, with f the student's features of a level and r the
result that is compared with the teacher's features of that level:

    shallowest   f --- 1x1 --- fusion --- 3x3 --- r
                                 ^
    next         f --- 1x1 --- fusion --- 3x3 --- r
                                 ^
    deepest      f --- 1x1 ------+------- 3x3 --- r
"""

import torch
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from torch import Tensor, nn
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, Method, Outputs
from autokd.distillation.checks import non_negative
from autokd.distillation.maps import Projection, convolution, embeddings, lifted, pairs, pooled
from autokd.distillation.methods.dkd import warmup_factor

__all__ = ["AttentionFusion", "ReviewKD", "ReviewPath", "context_loss"]

_POOLED_SIZES = (4, 2, 1)
_MOST_CHANNELS = 512  # of the review path, as in the authors' code


def context_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two maps, averaged over their own resolution and those of 4, 2 and 1 positions.

    Chen et al. 2021, hierarchical context loss (section 3). As in the authors' code, the maps' own resolution has a
    weight of 1, each smaller one half the weight of the one before, and the weights are normalised to the sum 1.

    Args:
        student: `batch x channels x` resolution.
        teacher: Map of the same shape.
    """
    total, weights = F.mse_loss(student, teacher.detach()), 1.0
    for level, size in enumerate(_smaller_sizes(student.shape[2:]), start=1):
        total = total + 0.5**level * F.mse_loss(pooled(student, size), pooled(teacher.detach(), size))
        weights += 0.5**level
    return total / weights


class AttentionFusion(nn.Module):
    """Weighted sum of two maps of the same shape, with weights in `(0, 1)` for each position computed from both.

    Chen et al. 2021, attention based fusion (section 3).

    Args:
        channels: Number of channels of each map.
        rank: 2 for images, 1 for signals, 0 for vectors.
    """

    def __init__(self, channels: int, rank: int) -> None:
        super().__init__()
        self.attention = convolution(2 * channels, 2, kernel=1, rank=rank)

    def forward(self, own: Tensor, deeper: Tensor) -> Tensor:
        """Fused map of the same shape."""
        weights: Tensor = self.attention(torch.cat((own, deeper), dim=1)).sigmoid()
        return own * weights[:, :1] + deeper * weights[:, 1:]


class ReviewPath(nn.Module):
    """Review path from the student's levels to maps that are compared with the teacher's, starting at the deepest.

    Args:
        student: The student's maps, from the shallowest to the deepest, all of the same rank.
        teacher: The teacher's maps, as many.
    """

    def __init__(self, student: list[Tensor], teacher: list[Tensor]) -> None:
        super().__init__()
        rank, channels = student[-1].ndim - 2, min(_MOST_CHANNELS, student[-1].shape[1])
        self.entrances = nn.ModuleList(Projection(maps.shape[1], channels, kernel=1, rank=rank) for maps in student)
        self.fusions = nn.ModuleList(AttentionFusion(channels, rank) for _ in student[1:])
        self.exits = nn.ModuleList(Projection(channels, maps.shape[1], kernel=3, rank=rank) for maps in teacher)

    def forward(self, student: list[Tensor], sizes: list[torch.Size]) -> list[Tensor]:
        """Maps with the teacher's channels and resolutions, from the shallowest to the deepest.

        Args:
            student: The student's maps, from the shallowest to the deepest.
            sizes: Resolutions of the teacher's maps.
        """
        *shallower, deepest = [enter(maps) for enter, maps in zip(self.entrances, student, strict=True)]
        path = [_resized(deepest, sizes[-1])]
        for own, fuse, size in reversed(list(zip(shallower, self.fusions, sizes[:-1], strict=True))):
            path.insert(0, _resized(fuse(own, _resized(path[0], own.shape[2:])), size))
        return [leave(maps) for leave, maps in zip(self.exits, path, strict=True)]


class ReviewKD(Method):
    """`CE + warm-up weight` times the sum of the context losses over all levels.

    The levels are the pairs of maps and, as the deepest level, the embeddings as maps of one position, as in the
    authors' code. So are the warm-up and the resizing to the nearest position. That code uses the teacher's maps before
    their ReLU; ours are used as the teacher returns them. Trained layers have PyTorch's default initialisation.

    Args:
        weight: At least 0; 1 by default in the authors' code, 5 in mdistiller for one pair of networks. The ranges are
            ours.
        warmup: Epochs over which the weight grows to its full value, as in DKD; 20 in the authors' code, for 240
            epochs; 0 for none.
    """

    name = "reviewkd"
    needs = frozenset({"features", "embedding"})

    def __init__(self, weight: float = 1.0, warmup: float = 20) -> None:
        super().__init__()
        self.weight = non_negative(weight=weight)
        self.warmup = non_negative(warmup=warmup)
        self.path: nn.Module = nn.Identity()

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of weight and warm-up."""
        return {"weight": FloatDistribution(0.1, 10.0, log=True), "warmup": IntDistribution(0, 40)}

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Create the review path."""
        self.path = ReviewPath(*_levels(student, teacher)).to(student.logits.device)

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """Context losses, summed over the levels, times the weight at this epoch."""
        own, others = _levels(student, teacher)
        reviewed = self.path(own, [maps.shape[2:] for maps in others])
        losses = [context_loss(*pair) for pair in zip(reviewed, others, strict=True)]
        return self.weight * warmup_factor(context.epoch, self.warmup) * sum(losses[1:], start=losses[0])


def _levels(student: Outputs, teacher: Outputs) -> tuple[list[Tensor], list[Tensor]]:
    """Maps of student and teacher, with the embedding as the deepest level, all with the same number of axes."""
    levels = [*pairs(student, teacher), embeddings(student, teacher)]
    ndim = max(maps.ndim for level in levels for maps in level)
    own, others = ([lifted(maps, ndim) for maps in side] for side in zip(*levels, strict=True))
    return own, others


def _smaller_sizes(size: torch.Size) -> list[tuple[int, ...]]:
    """Resolutions of at most 4, 2 and 1 positions along each axis, without those that are not smaller than `size`."""
    most = max(size, default=1)
    return [tuple(min(pooled_size, axis) for axis in size) for pooled_size in _POOLED_SIZES if pooled_size < most]


def _resized(maps: Tensor, size: torch.Size) -> Tensor:
    """The map at another resolution, by nearest-neighbour interpolation."""
    return maps if maps.shape[2:] == size else F.interpolate(maps, size=tuple(size), mode="nearest")
