"""Normalised knowledge distillation (NKD): a soft target and normalised non-targets (Yang et al. 2023).

"From Knowledge Distillation to Self-Knowledge Distillation: A Unified Approach with Normalized Loss and Customized Soft
Labels", https://arxiv.org/abs/2303.13005; public code: https://github.com/yzd-v/cls_KD,
mmcls/distillation/losses/nkd.py.
"""

from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, LogitMethod
from autokd.distillation.checks import non_negative, positive
from autokd.distillation.methods.dkd import other_classes

__all__ = ["NKD", "nkd_loss"]


def nkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temperature: float | Tensor,
    gamma: float = 1.5,
) -> Tensor:
    """`-p_T,y log p_S,y - gamma t^2 sum_{k != y} q_T,k log q_S,k`, in nats, averaged over the batch.

    `p = softmax(z)`, without a temperature, and `q` is the softmax of `z / t` over the classes other than the label
    `y`. The first term is the cross-entropy with the labels, where each sample is weighted by the teacher's confidence
    in its label. The second differs from NCKD of `dkd_terms` only by the entropy of `q_T`, which does not affect the
    student's gradient. Both terms are cross-entropies: if the student equals the teacher, the second one is stationary
    but not 0, and the gradient of the first one still points towards the label.

    Args:
        student_logits: `batch x classes`, at least two classes; with two, the second term is 0.
        teacher_logits: `batch x classes`; no gradient flows into it.
        labels: int64, `batch`, in `[0, classes)`.
        temperature: `t > 0` of the second term: one for all samples, or one for each as `batch x 1`.
        gamma: Weight of the second term.
    """
    target, teacher_logits = labels.unsqueeze(1), teacher_logits.detach()
    confidence = F.softmax(teacher_logits, dim=1).gather(1, target)
    on_target = -confidence * F.log_softmax(student_logits, dim=1).gather(1, target)
    log_student = F.log_softmax(other_classes(student_logits, labels) / temperature, dim=1)
    teacher = F.softmax(other_classes(teacher_logits, labels) / temperature, dim=1)
    on_others = -(temperature**2 * teacher * log_student).sum(1)
    return on_target.mean() + gamma * on_others.mean()


class NKD(LogitMethod):
    """`CE + NKD`.

    The defaults are the public code's, which has temperature 3 and gamma 3.5 for one pair of networks on CIFAR-100.
    The ranges are ours: temperature 0.5 to 10, gamma 0.1 to 10 (both log). The label of a mixed sample is the one of
    larger weight [ours].

    Args:
        temperature: `t` of the classes other than the label, positive and finite.
        gamma: Weight of the term of these classes, at least 0.
    """

    name = "nkd"

    def __init__(self, temperature: float = 1.0, gamma: float = 1.5) -> None:
        super().__init__()
        self.temperature = positive(temperature=temperature)
        self.gamma = non_negative(gamma=gamma)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of temperature and gamma."""
        return {
            "temperature": FloatDistribution(0.5, 10.0, log=True),
            "gamma": FloatDistribution(0.1, 10.0, log=True),
        }

    def logit_loss(
        self, student: Tensor, teacher: Tensor, context: BatchContext, temperature: float | Tensor
    ) -> Tensor:
        """Sum of both terms of `nkd_loss`."""
        return nkd_loss(student, teacher, context.labels, temperature, self.gamma)
