"""Relational distillation: keep how samples lie to each other (Park et al. 2019, https://arxiv.org/abs/1904.05068)."""

import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, Method, Outputs
from autokd.distillation.checks import non_negative
from autokd.distillation.maps import embeddings, unit

__all__ = ["RKD", "angle_loss", "angles", "distance_loss", "relative_distances"]

_NEAR = 1e-5  # of the mean distance: between nearer samples, rounding decides the direction, with a huge gradient


def relative_distances(points: Tensor) -> Tensor:
    """Euclidean distances between all samples over the mean distance of two different ones, `batch x batch`.

    Park et al. 2019, section 3.2.1. All are 0 where no two samples differ or there is one only, and equal samples send
    each other no gradient.

    Args:
        points: `batch x width`.
    """
    distances: Tensor = torch.linalg.vector_norm(_differences(points), dim=2)
    total = distances.sum()
    n_pairs = len(points) * (len(points) - 1)
    return n_pairs * distances / total.masked_fill(total == 0, torch.inf)


def angles(points: Tensor) -> Tensor:
    """Cosines of the angles between samples j and k as seen from i, `batch x batch x batch` in the order i, j, k.

    Park et al. 2019, section 3.2.2. A cosine is 0, without gradient, where j or k is the vertex i itself or hardly
    differs from it; takes memory for `batch^2 x width` numbers.

    Args:
        points: `batch x width`.
    """
    differences = _differences(points)
    mean = torch.linalg.vector_norm(differences.detach(), dim=2).mean()
    directions = unit(differences, dim=2, least=_NEAR * mean)
    return directions @ directions.mT


def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth L1 distance (Huber, its bend at 1) of the relative distances of two sets of points.

    Park et al. 2019, section 3.2.1, with the mean over all `batch^2` pairs, a sample with itself among them, in place
    of the sum, as in the authors' code, for which the weights are chosen. 0 for a batch of one.

    Args:
        student: `batch x width`.
        teacher: The same samples; the width may differ.
    """
    return F.smooth_l1_loss(relative_distances(student), relative_distances(teacher.detach()))


def angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth L1 distance of the angles within two sets of points.

    Park et al. 2019, section 3.2.2, with the mean over all `batch^3` triples in place of the sum, as in the authors'
    code. 0 for a batch of one or two.

    Args:
        student: `batch x width`.
        teacher: The same samples; the width may differ.
    """
    return F.smooth_l1_loss(angles(student), angles(teacher.detach()))


class RKD(Method):
    """`CE + distance_weight` times the loss on distances `+ angle_weight` times that on angles, both on embeddings.

    Args:
        distance_weight: Not negative; 25 is the paper's for classification. The ranges are ours.
        angle_weight: Not negative; 50 is the paper's for classification.
    """

    name = "rkd"
    needs = frozenset({"embedding"})

    def __init__(self, distance_weight: float = 25.0, angle_weight: float = 50.0) -> None:
        super().__init__()
        self.distance_weight = non_negative(distance_weight=distance_weight)
        self.angle_weight = non_negative(angle_weight=angle_weight)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Both weights."""
        return {
            "distance_weight": FloatDistribution(1.0, 100.0, log=True),
            "angle_weight": FloatDistribution(1.0, 100.0, log=True),
        }

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Nothing to make.

        Raises:
            InputError: If a network gives no embedding.
        """
        embeddings(student, teacher)

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """The weighted sum of both losses."""
        points = embeddings(student, teacher)
        return self.distance_weight * distance_loss(*points) + self.angle_weight * angle_loss(*points)


def _differences(points: Tensor) -> Tensor:
    return points.unsqueeze(0) - points.unsqueeze(1)  # at [i, j]: from i to j
