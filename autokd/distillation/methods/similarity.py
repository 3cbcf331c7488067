"""Similarity-preserving distillation: samples that are alike to the teacher are alike to the student.

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
    """Inner products of all samples' features, each row of L2 norm 1: `batch x batch`, in `[-1, 1]`.

    Args:
        maps: Features, `batch x` any shape.
    """
    flat = maps.flatten(1)
    return unit(flat @ flat.T)


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """`||G_T - G_S||_F^2 / batch^2` of the similarities G, in `[0, 4 / batch]`.

    Tung and Mori 2019, section 3. 0 for a batch of one.

    Args:
        student: Features, `batch x` any shape.
        teacher: Features of the same batch, of any shape.
    """
    return F.mse_loss(similarities(student), similarities(teacher.detach()))


class SP(Method):
    """`CE + weight ||G_T - G_S||_F^2 / batch^2`, summed over pairs of maps.

    Args:
        weight: Not negative; 3000 is the paper's. The range is ours.
        stages: Which pairs of maps: "middle", "last" or "all". The paper's sum is over any set of pairs; the last alone
            is what public code takes.
    """

    name = "sp"
    needs = frozenset({"features"})

    def __init__(self, weight: float = 3000.0, stages: str = "last") -> None:
        super().__init__()
        self.weight = non_negative(weight=weight)
        self.stages = one_of(STAGES, stages=stages)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Weight and stages."""
        return {"weight": FloatDistribution(30.0, 30000.0, log=True), "stages": CategoricalDistribution(STAGES)}

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Nothing to make.

        Raises:
            InputError: If a network gives no features.
        """
        pairs(student, teacher)

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """`weight` times the sum over pairs."""
        losses = [similarity_loss(*pair) for pair in pairs(student, teacher, self.stages)]
        return self.weight * sum(losses[1:], start=losses[0])
