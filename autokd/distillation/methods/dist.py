"""Distillation from a stronger teacher (DIST): correlations instead of equal probabilities (Huang et al. 2022).

"Knowledge Distillation from A Stronger Teacher", https://arxiv.org/abs/2205.10536; public code:
https://github.com/hunto/image_classification_sota, lib/models/losses/dist_kd.py.
"""

import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, LogitMethod
from autokd.distillation.checks import non_negative, positive

__all__ = ["DIST", "correlation", "dist_loss"]

_SMALLEST_VARIANCE = (
    1e-10  # far above float32's rounding of a probability, far below what 1000 softened classes vary by
)


def correlation(x: Tensor, y: Tensor, dim: int, epsilon: float = _SMALLEST_VARIANCE) -> Tensor:
    """Pearson's correlation of `x` and `y` along `dim`, which stays with size 1; in `[-1, 1]`.

    Unlike the public code, which adds 1e-8 to the product of the two norms, `epsilon` is added to each variance. So a
    constant `x` has the correlation 0 and a gradient of bounded size instead of one that grows as 1e8, and the value
    does not change when all entries are repeated.

    Args:
        x: Any shape.
        y: The same shape.
        dim: The axis along which the two are compared.
        epsilon: Added to both variances; with 0 the correlation is exact, and undefined where one is constant.
    """
    x, y = x - x.mean(dim, keepdim=True), y - y.mean(dim, keepdim=True)
    variances = [values.square().mean(dim, keepdim=True) + epsilon for values in (x, y)]
    return (x * y).mean(dim, keepdim=True) / (variances[0] * variances[1]).sqrt()


def dist_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float | Tensor, beta: float = 2.0, gamma: float = 2.0
) -> Tensor:
    """`t^2 (beta inter + gamma intra)`: how far the student's probabilities are from correlating with the teacher's.

    With `p^t = softmax(z / t)`, `batch x classes`: inter is the mean over samples of 1 minus the correlation of their
    rows, intra the mean over classes of 1 minus that of their columns; both are in `[0, 2]`. The paper weighs them by 1
    in a loss of weight 2, here by 2 each.

    Inter is a mean over the batch. Intra compares samples with each other and is not: what holds instead is that a
    batch repeated as a whole has the same loss. It is 1, without a gradient, for a batch of one.

    Args:
        student_logits: `batch x classes`.
        teacher_logits: `batch x classes`; no gradient flows into it.
        temperature: `t > 0`, one for all samples or, as `batch x 1`, one for each; then intra, which has no sample of
            its own, is scaled by the mean of `t^2` [ours].
        beta: Weight of inter.
        gamma: Weight of intra.
    """
    student = F.softmax(student_logits / temperature, dim=1)
    teacher = F.softmax(teacher_logits.detach() / temperature, dim=1)
    scale = temperature**2 * torch.ones_like(student[:, :1])
    inter = (scale * (1 - correlation(student, teacher, dim=1))).mean()
    intra = scale.mean() * (1 - correlation(student, teacher, dim=0)).mean()
    return beta * inter + gamma * intra


class DIST(LogitMethod):
    """`CE + t^2 (beta inter + gamma intra)`.

    The defaults are the paper's, its total weight of 2 included; the public code has no temperature, which is 1. The
    ranges are ours: temperature 0.5 to 10, both weights 0.1 to 10 (all log).

    Args:
        temperature: `t`, positive and finite.
        beta: Weight of the correlation between the classes of a sample, at least 0.
        gamma: Weight of the correlation between the samples of a class, at least 0.
    """

    name = "dist"

    def __init__(self, temperature: float = 1.0, beta: float = 2.0, gamma: float = 2.0) -> None:
        super().__init__()
        self.temperature = positive(temperature=temperature)
        self.beta = non_negative(beta=beta)
        self.gamma = non_negative(gamma=gamma)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Temperature and both weights."""
        return {
            "temperature": FloatDistribution(0.5, 10.0, log=True),
            "beta": FloatDistribution(0.1, 10.0, log=True),
            "gamma": FloatDistribution(0.1, 10.0, log=True),
        }

    def logit_loss(
        self, student: Tensor, teacher: Tensor, context: BatchContext, temperature: float | Tensor
    ) -> Tensor:
        """`t^2 (beta inter + gamma intra)`."""
        return dist_loss(student, teacher, temperature, self.beta, self.gamma)
