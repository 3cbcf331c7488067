"""Decoupled knowledge distillation: separate weights for the target class and the others (Zhao et al. 2022).

https://arxiv.org/abs/2203.08679; public code: https://github.com/megvii-research/mdistiller,
mdistiller/distillers/DKD.py.
"""

import math

import torch
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from torch import Tensor
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, LogitMethod
from autokd.distillation.checks import non_negative, positive

__all__ = ["DKD", "dkd_loss", "dkd_terms", "other_classes", "target_and_rest", "warmup_factor"]


def dkd_terms(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float | Tensor
) -> tuple[Tensor, Tensor]:
    """TCKD and NCKD of each sample, in nats, `batch` each: the terms of KD for the target class and for the others.

    With `p^t = softmax(z / t)`, `b = [p_y^t, 1 - p_y^t]` and `q` the softmax over the classes other than `y`,
    `TCKD = t^2 KL(b_T || b_S)` and `NCKD = t^2 KL(q_T || q_S)`. The KD loss of a sample is
    `TCKD + (1 - p_T,y^t) NCKD`. Zhao et al. 2022, section 3.

    The public code takes logarithms of probabilities and masks the target by subtracting 1000 from its logit. Here log
    probabilities are used throughout and the target is omitted, so both terms are finite for large logits, and small
    probabilities of a confident network are not rounded to 0.

    Args:
        student_logits: `batch x classes`, at least two classes; with two, NCKD is 0.
        teacher_logits: `batch x classes`; no gradient flows into it.
        labels: int64, `batch`, in `[0, classes)`.
        temperature: `t > 0`: one for all samples, or one for each as `batch x 1`.
    """
    student = _decoupled(student_logits / temperature, labels)
    teacher = _decoupled(teacher_logits.detach() / temperature, labels)
    target, others = (
        (temperature**2 * F.kl_div(log_student, log_teacher, reduction="none", log_target=True)).sum(1)
        for log_student, log_teacher in zip(student, teacher, strict=True)
    )
    return target, others


def dkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temperature: float | Tensor,
    alpha: float = 1.0,
    beta: float = 8.0,
) -> Tensor:
    """`alpha TCKD + beta NCKD` of `dkd_terms`, averaged over the batch.

    Args:
        student_logits: `batch x classes`, at least two classes.
        teacher_logits: `batch x classes`; no gradient flows into it.
        labels: int64, `batch`, in `[0, classes)`.
        temperature: `t > 0`: one for all samples, or one for each as `batch x 1`.
        alpha: Weight of TCKD.
        beta: Weight of NCKD.
    """
    target, others = dkd_terms(student_logits, teacher_logits, labels, temperature)
    return (alpha * target + beta * others).mean()


def other_classes(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits of the classes other than the label, in order, `batch x (classes - 1)`."""
    positions = torch.arange(logits.shape[1] - 1, device=logits.device)
    return logits.gather(1, positions + (positions >= labels.unsqueeze(1)))


def target_and_rest(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """`log b = [log p_y, log(1 - p_y)]`, `batch x 2`, in which even the logarithm of a tiny `1 - p_y` is exact.

    Args:
        log_probabilities: `log p`, `batch x classes`, at least two classes.
        labels: `y`, int64, `batch`, in `[0, classes)`.
    """
    target = log_probabilities.gather(1, labels.unsqueeze(1))
    rest = other_classes(log_probabilities, labels).logsumexp(1, keepdim=True)
    return torch.cat([target, rest], dim=1)


def warmup_factor(epoch: float, warmup: float) -> float:
    """`min(e / warmup, 1)`, with `e` the number of the current epoch, counted from 1; 1 without a warm-up.

    Args:
        epoch: Epochs trained so far, a real number.
        warmup: Number of epochs of the warm-up, at least 0. As in the public code, the factor changes between epochs
            only, starts at `1 / warmup`, and is 1 from the beginning of epoch number `warmup`.
    """
    return min((math.floor(epoch) + 1) / warmup, 1.0) if warmup else 1.0


class DKD(LogitMethod):
    """`CE + warm-up (alpha TCKD + beta NCKD)`.

    The defaults are the public code's for CIFAR-100; for ImageNet it has temperature 1, beta 0.5 and a warm-up of one
    epoch, which has no effect. The ranges are ours: temperature 1 to 10, alpha 0.1 to 10 and beta 0.1 to 20 (all log),
    warm-up 0 to 40 epochs. The target class of a mixed sample is the one of larger weight [ours].

    Args:
        temperature: `t`, positive and finite.
        alpha: Weight of TCKD, the term of the target class, at least 0.
        beta: Weight of NCKD, the term of the other classes, at least 0.
        warmup: Epochs over which the teacher's term grows to its full weight; 0 for none.
    """

    name = "dkd"

    def __init__(self, temperature: float = 4.0, alpha: float = 1.0, beta: float = 8.0, warmup: float = 20) -> None:
        super().__init__()
        self.temperature = positive(temperature=temperature)
        self.alpha = non_negative(alpha=alpha)
        self.beta = non_negative(beta=beta)
        self.warmup = non_negative(warmup=warmup)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of temperature, both weights and the warm-up."""
        return {
            "temperature": FloatDistribution(1.0, 10.0, log=True),
            "alpha": FloatDistribution(0.1, 10.0, log=True),
            "beta": FloatDistribution(0.1, 20.0, log=True),
            "warmup": IntDistribution(0, 40),
        }

    def logit_loss(
        self, student: Tensor, teacher: Tensor, context: BatchContext, temperature: float | Tensor
    ) -> Tensor:
        """`warm-up (alpha TCKD + beta NCKD)`."""
        loss = dkd_loss(student, teacher, context.labels, temperature, self.alpha, self.beta)
        return warmup_factor(context.epoch, self.warmup) * loss


def _decoupled(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """`log b`, `batch x 2`, and `log q`, `batch x (classes - 1)`, from logits already divided by the temperature."""
    log_target_and_rest = target_and_rest(F.log_softmax(logits, dim=1), labels)
    return log_target_and_rest, F.log_softmax(other_classes(logits, labels), dim=1)
