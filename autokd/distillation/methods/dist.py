"""Distillation from a stronger teacher (DIST): correlated instead of equal probabilities (Huang et al. 2022).

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

# Far larger than rounding errors of float32 probabilities, and far smaller than the variance of 1000 softened classes.
_SMALLEST_VARIANCE = 1e-10


def correlation(x: Tensor, y: Tensor, dim: int, epsilon: float = _SMALLEST_VARIANCE) -> Tensor:
    """Pearson correlation of `x` and `y` along `dim`, in `[-1, 1]`; that axis is kept with size 1.

    The public code adds 1e-8 to the product of the two norms. Here `epsilon` is added to each variance [ours]. So a
    constant `x` has a correlation of 0 and a bounded gradient instead of one of order 1e8, and the value does not
    change if all entries are repeated.

    Args:
        x: Tensor of any shape.
        y: Tensor of the same shape.
        dim: Axis along which the two are correlated.
        epsilon: Value added to both variances. With 0 the correlation is exact, and undefined for constants.
    """
    x, y = x - x.mean(dim, keepdim=True), y - y.mean(dim, keepdim=True)
    variances = [values.square().mean(dim, keepdim=True) + epsilon for values in (x, y)]
    return (x * y).mean(dim, keepdim=True) / (variances[0] * variances[1]).sqrt()


def dist_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float | Tensor, beta: float = 2.0, gamma: float = 2.0
) -> Tensor:
    """`t^2 (beta inter + gamma intra)`: one minus the correlations of the two networks' probabilities.

    With `p^t = softmax(z / t)`, `batch x classes`, inter is the mean over samples of 1 minus the correlation of their
    rows, and intra the mean over classes of 1 minus the correlation of their columns; both are in `[0, 2]`. The paper
    weights each by 1 in a loss of weight 2; here each has a weight of 2.

    Inter is a mean over the batch. Intra relates samples to each other, so it is not, but a batch that is repeated as
    a whole has the same loss. For a batch of one, intra is 1 without a gradient.

    Args:
        student_logits: `batch x classes`.
        teacher_logits: `batch x classes`; no gradient flows into it.
        temperature: `t > 0`: one for all samples, or one for each as `batch x 1`. In the latter case intra, which does
            not belong to a single sample, is multiplied by the mean of `t^2` [ours].
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

    The defaults are the paper's, including its total weight of 2; the public code has no temperature, that is 1. The
    ranges are ours: temperature 0.5 to 10, both weights 0.1 to 10 (all log).

    Args:
        temperature: `t`, positive and finite.
        beta: Weight of inter, the correlation over the classes of a sample, at least 0.
        gamma: Weight of intra, the correlation over the samples of a class, at least 0.
    """

    name = "dist"

    def __init__(self, temperature: float = 1.0, beta: float = 2.0, gamma: float = 2.0) -> None:
        super().__init__()
        self.temperature = positive(temperature=temperature)
        self.beta = non_negative(beta=beta)
        self.gamma = non_negative(gamma=gamma)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of temperature and both weights."""
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
