"""Multi-step distillation: the student's embedding follows that of a teacher at the same epoch of its training.

Boutros et al. 2022, PocketNet, https://arxiv.org/abs/2108.10710. The caller takes the teacher's outputs from the
teacher's checkpoint of the same epoch; with a single teacher throughout, this is the paper's baseline.
"""

from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor, nn
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, Method, Outputs
from autokd.distillation.checks import non_negative
from autokd.distillation.maps import embeddings, unit

__all__ = ["MultiStep", "embedding_loss"]


def embedding_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two embeddings normalised to length 1, in `[0, 4 / width]`.

    It equals the mean of `(2 - 2 cos) / width`. The mean squared error is from Boutros et al. 2022, the normalisation
    from the authors' code. An embedding of zeros is not changed and has no gradient.

    Args:
        student: `batch x width`.
        teacher: `batch x width`.
    """
    return F.mse_loss(unit(student), unit(teacher.detach()))


class MultiStep(Method):
    """`CE + weight MSE` of the embeddings; if their widths differ, a trained linear map projects the student's.

    The map is ours, as the paper's networks have the same width. The paper's cross-entropy has a margin, for face
    recognition; ours has none.

    Args:
        weight: At least 0; 100 in the paper. The range is ours.
    """

    name = "multi-step"
    needs = frozenset({"embedding"})

    def __init__(self, weight: float = 100.0) -> None:
        super().__init__()
        self.weight = non_negative(weight=weight)
        self.projection: nn.Module = nn.Identity()

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distribution of the weight."""
        return {"weight": FloatDistribution(1.0, 1000.0, log=True)}

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Create the linear map if the widths differ."""
        own, other = (vectors.shape[1] for vectors in embeddings(student, teacher))
        projection = nn.Identity() if own == other else nn.Linear(own, other, bias=False)
        self.projection = projection.to(student.logits.device)

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """`weight MSE`."""
        own, other = embeddings(student, teacher)
        return self.weight * embedding_loss(self.projection(own), other)
