"""Swapped logit distillation (SLD): the label and the wrong prediction exchange their logits (Limantoro et al. 2025).

"Swapped Logit Distillation via Bi-level Teacher Alignment", https://arxiv.org/abs/2504.20108; public code:
https://github.com/StephenEkaputra/Swapped-Logit-Distillation, mdistiller/distillers/SLD.py.
"""

import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, LogitMethod
from autokd.distillation.checks import positive, share
from autokd.distillation.methods.kd import kd_loss

__all__ = ["SLD", "self_swap_loss", "sld_loss", "swapped"]

_RELATIVE_TEMPERATURES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)  # 1 to 6 around KD's usual 4


def swapped(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits in which those of the label and of the largest class are exchanged, so that all predictions are right.

    Args:
        logits: `batch x classes`.
        labels: int64, `batch`, in `[0, classes)`.
    """
    pairs = torch.stack([labels, logits.argmax(1)], dim=1)
    return logits.scatter(1, pairs, logits.gather(1, pairs.flip(1)))


def self_swap_loss(student_logits: Tensor, labels: Tensor, temperature: float | Tensor) -> Tensor:
    """`t^2 KL(p_S'^t || p_S^t)`, in nats, averaged over the batch: KD of the student from its own swapped logits `S'`.

    The two distributions differ in the label `y` and the prediction `m` alone, so the divergence is
    `(p_m - p_y) (log p_m - log p_y)`, which is 0 where the student is right. As in the public code, the gradient flows
    through both distributions.

    Args:
        student_logits: `batch x classes`.
        labels: int64, `batch`, in `[0, classes)`.
        temperature: `t > 0`: one for all samples, or one for each as `batch x 1`.
    """
    log_probabilities = F.log_softmax(student_logits / temperature, dim=1)
    largest, target = log_probabilities.amax(1, keepdim=True), log_probabilities.gather(1, labels.unsqueeze(1))
    return (temperature**2 * (largest.exp() - target.exp()) * (largest - target)).mean()


def sld_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temperature: float | Tensor = 4.0,
    with_self: bool = True,
) -> Tensor:
    """KD from the swapped teacher and `self_swap_loss`, summed over six temperatures, 1 to 6 by default.

    Unlike in the public code, there is a single view of the samples.

    Args:
        student_logits: `batch x classes`.
        teacher_logits: `batch x classes`; no gradient flows into it.
        labels: int64, `batch`, in `[0, classes)`.
        temperature: `t > 0`: one for all samples, or one for each as `batch x 1`. The six temperatures are 0.25, 0.5,
            0.75, 1, 1.25 and 1.5 times `t` [ours; with 4 they are the public code's].
        with_self: Whether the student's own swapped logits teach, too.
    """
    right_teacher, loss = swapped(teacher_logits, labels), student_logits.new_zeros(())
    for level in (factor * temperature for factor in _RELATIVE_TEMPERATURES):
        loss = loss + kd_loss(student_logits, right_teacher, level)
        if with_self:
            loss = loss + self_swap_loss(student_logits, labels, level)
    return loss


class SLD(LogitMethod):
    """`(1 - weight) CE + weight SLD`, where the student's own swapped logits teach in the last part of training alone.

    The defaults are the public code's. There the student's own logits begin after epoch 150 of 240, with the first fall
    of the learning rate; here they begin after that share of the training [ours]. The ranges are ours: temperature 1 to
    10 (log), weight 0 to 1, since 0 to 1. The label of a mixed sample is the one of larger weight [ours].

    Args:
        temperature: `t` of `sld_loss`, positive and finite.
        weight: Share of the teacher's term, in `[0, 1]`.
        since: Share of training after which the student's own swapped logits teach, too, in `[0, 1]`; 1 for never.
    """

    name = "sld"

    def __init__(self, temperature: float = 4.0, weight: float = 0.9, since: float = 0.625) -> None:
        super().__init__()
        self.temperature = positive(temperature=temperature)
        self.weight = share(weight=weight)
        self.since = share(since=since)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of temperature, weight and the beginning of the self-distillation."""
        return {
            "temperature": FloatDistribution(1.0, 10.0, log=True),
            "weight": FloatDistribution(0.0, 1.0),
            "since": FloatDistribution(0.0, 1.0),
        }

    def label_weight(self, context: BatchContext) -> float:
        """Weight `1 - weight`."""
        return 1 - self.weight

    def logit_loss(
        self, student: Tensor, teacher: Tensor, context: BatchContext, temperature: float | Tensor
    ) -> Tensor:
        """`weight SLD`."""
        with_self = context.progress >= self.since
        return self.weight * sld_loss(student, teacher, context.labels, temperature, with_self)
