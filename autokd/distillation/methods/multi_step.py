"""Multi-step distillation: the student's embedding follows that of a teacher who is as far in training as it is.

Boutros et al. 2022, PocketNet, https://arxiv.org/abs/2108.10710. Whoever gives this method the teacher's outputs takes
them from the teacher's own checkpoint of the same epoch; with one teacher throughout it is the paper's baseline.
"""

from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor, nn
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, Method, Outputs
from autokd.distillation.checks import non_negative
from autokd.distillation.maps import embeddings, unit

__all__ = ["MultiStep", "embedding_loss"]


def embedding_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two embeddings scaled to length 1, in `[0, 4 / width]`.

    It is the mean of `(2 - 2 cos) / width`. Boutros et al. 2022 give the mean squared error; that both embeddings are
    scaled first is from the authors' code. One of zeros stays as it is, without gradient.

    Args:
        student: `batch x width`.
        teacher: `batch x width`.
    """
    return F.mse_loss(unit(student), unit(teacher.detach()))


class MultiStep(Method):
    """`CE + weight MSE` of the embeddings; where their widths differ, the student's goes through a trained linear map.

    That map is ours: the paper's networks have one width. Its cross-entropy is one with a margin, for faces; ours is
    the plain one.

    Args:
        weight: Not negative; 100 is the paper's. The range is ours.
    """

    name = "multi-step"
    needs = frozenset({"embedding"})

    def __init__(self, weight: float = 100.0) -> None:
        super().__init__()
        self.weight = non_negative(weight=weight)
        self.projection: nn.Module = nn.Identity()

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """The weight."""
        return {"weight": FloatDistribution(1.0, 1000.0, log=True)}

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Make the linear map where the widths differ."""
        own, other = (points.shape[1] for points in embeddings(student, teacher))
        projection = nn.Identity() if own == other else nn.Linear(own, other, bias=False)
        self.projection = projection.to(student.logits.device)

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """`weight MSE`."""
        own, other = embeddings(student, teacher)
        return self.weight * embedding_loss(self.projection(own), other)
