"""Relational distillation: distances and angles between samples (Park et al. 2019, https://arxiv.org/abs/1904.05068)."""

import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, Method, Outputs
from autokd.distillation.checks import non_negative
from autokd.distillation.maps import embeddings, unit

__all__ = ["RKD", "angle_loss", "angles", "distance_loss", "relative_distances"]

# As a share of the mean distance. Between nearer samples the direction is a rounding error with a huge gradient.
_NEAR = 1e-5


def relative_distances(points: Tensor) -> Tensor:
    """Euclidean distances between all samples divided by the mean distance of two different samples, `batch x batch`.

    Park et al. 2019, section 3.2.1. All are 0 if no two samples differ. Distances between equal samples have no
    gradient.

    Args:
        points: Embeddings, `batch x width`.
    """
    distances: Tensor = torch.linalg.vector_norm(_differences(points), dim=2)
    total = distances.sum()
    n_pairs = len(points) * (len(points) - 1)
    return n_pairs * distances / total.masked_fill(total == 0, torch.inf)


def angles(points: Tensor) -> Tensor:
    """Cosines of the angles between samples j and k at the vertex i, `batch x batch x batch` in the order i, j, k.

    Park et al. 2019, section 3.2.2. A cosine is 0, without gradient, if j or k is the vertex i or nearly equals it. The
    computation needs memory for `batch^2 x width` numbers.

    Args:
        points: Embeddings, `batch x width`.
    """
    differences = _differences(points)
    mean = torch.linalg.vector_norm(differences.detach(), dim=2).mean()
    directions = unit(differences, dim=2, least=_NEAR * mean)
    return directions @ directions.mT


def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth L1 loss (Huber with delta 1) of the relative distances in two sets of embeddings.

    Park et al. 2019, section 3.2.1, with the mean over all `batch^2` pairs, including a sample with itself, instead of
    the sum, as in the authors' code, for which the weights are chosen. The loss is 0 for a batch of one.

    Args:
        student: Embeddings, `batch x width`.
        teacher: Embeddings of the same samples; the width may differ.
    """
    return F.smooth_l1_loss(relative_distances(student), relative_distances(teacher.detach()))


def angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth L1 loss of the angles in two sets of embeddings.

    Park et al. 2019, section 3.2.2, with the mean over all `batch^3` triples instead of the sum, as in the authors'
    code. The loss is 0 for a batch of one or two.

    Args:
        student: Embeddings, `batch x width`.
        teacher: Embeddings of the same samples; the width may differ.
    """
    return F.smooth_l1_loss(angles(student), angles(teacher.detach()))


class RKD(Method):
    """`CE + distance_weight` times the distance loss `+ angle_weight` times the angle loss, both of embeddings.

    Args:
        distance_weight: At least 0; 25 in the paper for classification. The ranges are ours.
        angle_weight: At least 0; 50 in the paper for classification.
    """

    name = "rkd"
    needs = frozenset({"embedding"})

    def __init__(self, distance_weight: float = 25.0, angle_weight: float = 50.0) -> None:
        super().__init__()
        self.distance_weight = non_negative(distance_weight=distance_weight)
        self.angle_weight = non_negative(angle_weight=angle_weight)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of both weights."""
        return {
            "distance_weight": FloatDistribution(1.0, 100.0, log=True),
            "angle_weight": FloatDistribution(1.0, 100.0, log=True),
        }

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Raise `InputError` if a network has no embedding; there is nothing to create."""
        embeddings(student, teacher)

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """Weighted sum of both losses."""
        pair = embeddings(student, teacher)
        return self.distance_weight * distance_loss(*pair) + self.angle_weight * angle_loss(*pair)


def _differences(points: Tensor) -> Tensor:
    return points.unsqueeze(0) - points.unsqueeze(1)  # [i, j] is the vector from i to j
