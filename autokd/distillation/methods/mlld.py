"""Multi-level logit distillation (MLLD): losses of samples, classes and batches, at several temperatures.

Jin et al. 2023,
https://openaccess.thecvf.com/content/CVPR2023/html/Jin_Multi-Level_Logit_Distillation_CVPR_2023_paper.html; public
code: https://github.com/Jin-Ying/Multi-Level-Logit-Distillation, mdistiller/distillers/KD_ours.py.
"""

from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, LogitMethod
from autokd.distillation.checks import non_negative, positive, share
from autokd.distillation.methods.kd import kd_loss

__all__ = ["MLLD", "batch_correlation_loss", "class_correlation_loss", "mlld_loss"]

_RELATIVE_TEMPERATURES = (0.5, 0.75, 1.0, 1.25, 1.5)  # 2, 3, 4, 5 and 6 around the paper's 4
_BATCH = 64  # of the public code on CIFAR-100


def class_correlation_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float | Tensor) -> Tensor:
    """`||P_T' P_T - P_S' P_S||_F^2 / classes`: difference of the two networks' correlations between classes.

    `P = softmax(z / t)`, `batch x classes`. The order of the samples does not matter. For a batch that is repeated k
    times the loss is `k^2` times as large.

    Args:
        student_logits: `batch x classes`.
        teacher_logits: `batch x classes`; no gradient flows into it.
        temperature: `t > 0`: one for all samples, or one for each as `batch x 1`.
    """
    student = F.softmax(student_logits / temperature, dim=1)
    teacher = F.softmax(teacher_logits.detach() / temperature, dim=1)
    return (teacher.T @ teacher - student.T @ student).square().sum() / student.shape[1]


def batch_correlation_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float | Tensor) -> Tensor:
    """`||P_T P_T' - P_S P_S'||_F^2 / batch`: difference of the two networks' correlations between samples.

    `P = softmax(z / t)`, `batch x classes`. The order of the classes does not matter. For a batch that is repeated k
    times the loss is `k` times as large.

    Args:
        student_logits: `batch x classes`.
        teacher_logits: `batch x classes`; no gradient flows into it.
        temperature: `t > 0`: one for all samples, or one for each as `batch x 1`.
    """
    student = F.softmax(student_logits / temperature, dim=1)
    teacher = F.softmax(teacher_logits.detach() / temperature, dim=1)
    return (teacher @ teacher.T - student @ student.T).square().sum() / len(student)


def mlld_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float | Tensor = 4.0, correlation: float = 1.0
) -> Tensor:
    """`KD + correlation (class + batch correlation)`, summed over five temperatures, 2 to 6 by default.

    Only KD has the factor `t^2`, as in the public code. Unlike in that code, there is a single view of the samples, and
    no samples or classes are masked by the teacher's confidence.

    The correlation losses relate the samples of a batch, so they are not means over it, and in the paper they grow with
    the batch size. Here the loss of the classes is multiplied by `(64 / batch)^2` and that of the batch by `64 / batch`
    [ours]. With 64 samples, the public code's batch size for CIFAR-100, they are the paper's; with any size, a batch
    that is repeated as a whole has the same loss.

    Args:
        student_logits: `batch x classes`.
        teacher_logits: `batch x classes`; no gradient flows into it.
        temperature: `t > 0`, the middle temperature: one for all samples, or one for each as `batch x 1`. The five
            temperatures are 0.5, 0.75, 1, 1.25 and 1.5 times `t` [ours; with 4 they are the paper's].
        correlation: Weight of the correlation losses; 1 in the paper.
    """
    networks, scale = (student_logits, teacher_logits), _BATCH / len(student_logits)
    loss = student_logits.new_zeros(())
    for level in (factor * temperature for factor in _RELATIVE_TEMPERATURES):
        classes, samples = class_correlation_loss(*networks, level), batch_correlation_loss(*networks, level)
        loss = loss + kd_loss(*networks, level) + correlation * (scale**2 * classes + scale * samples)
    return loss


class MLLD(LogitMethod):
    """`(1 - weight) CE + weight (KD + correlation (class + batch correlation))`, summed over five temperatures.

    The defaults are the public code's. The ranges are ours: temperature 1 to 10 (log), weight 0 to 1, correlation
    0.001 to 10 (log). With few classes the correlation losses are large, since a batch has many samples of each class.

    Args:
        temperature: The middle one of the five temperatures, positive and finite.
        weight: Share of the teacher's term, in `[0, 1]`.
        correlation: Weight of the correlation losses relative to KD, at least 0.
    """

    name = "mlld"

    def __init__(self, temperature: float = 4.0, weight: float = 0.9, correlation: float = 1.0) -> None:
        super().__init__()
        self.temperature = positive(temperature=temperature)
        self.weight = share(weight=weight)
        self.correlation = non_negative(correlation=correlation)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of temperature, weight and correlation."""
        return {
            "temperature": FloatDistribution(1.0, 10.0, log=True),
            "weight": FloatDistribution(0.0, 1.0),
            "correlation": FloatDistribution(1e-3, 10.0, log=True),
        }

    def label_weight(self, context: BatchContext) -> float:
        """Weight `1 - weight`."""
        return 1 - self.weight

    def logit_loss(
        self, student: Tensor, teacher: Tensor, context: BatchContext, temperature: float | Tensor
    ) -> Tensor:
        """`weight (KD + correlation (class + batch correlation))`, summed over the temperatures."""
        return self.weight * mlld_loss(student, teacher, temperature, self.correlation)
