"""Similarity-preserving distillation: samples with similar features in the teacher get similar ones in the student.

Tung and Mori 2019, https://arxiv.org/abs/1907.09682.
"""

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from torch import Tensor
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, Method, Outputs
from autokd.distillation.checks import non_negative, one_of
from autokd.distillation.maps import STAGES, pairs, unit

__all__ = ["SP", "similarities", "similarity_loss"]


def similarities(maps: Tensor) -> Tensor:
    """Inner products of the features of all pairs of samples, with rows of L2 norm 1, `batch x batch`, in `[-1, 1]`.

    Args:
        maps: Features, `batch x` any shape.
    """
    flat = maps.flatten(1)
    return unit(flat @ flat.T)


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """`||G_T - G_S||_F^2 / batch^2` of the similarities G, in `[0, 4 / batch]`.

    Tung and Mori 2019, section 3. The loss is 0 for a batch of one.

    Args:
        student: Features, `batch x` any shape.
        teacher: Features of the same batch, of any shape.
    """
    return F.mse_loss(similarities(student), similarities(teacher.detach()))


class SP(Method):
    """`CE + weight ||G_T - G_S||_F^2 / batch^2`, summed over pairs of maps.

    Args:
        weight: At least 0; 3000 in the paper. The range is ours.
        stages: Pairs of maps to use: "middle", "last" or "all". The paper sums over any set of pairs; public code uses
            the last one.
    """

    name = "sp"
    needs = frozenset({"features"})

    def __init__(self, weight: float = 3000.0, stages: str = "last") -> None:
        super().__init__()
        self.weight = non_negative(weight=weight)
        self.stages = one_of(STAGES, stages=stages)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of weight and stages."""
        return {"weight": FloatDistribution(30.0, 30000.0, log=True), "stages": CategoricalDistribution(STAGES)}

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Raise `InputError` if a network has no features; there is nothing to create."""
        pairs(student, teacher)

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """`weight` times the similarity loss, summed over the pairs."""
        losses = [similarity_loss(*pair) for pair in pairs(student, teacher, self.stages)]
        return self.weight * sum(losses[1:], start=losses[0])
