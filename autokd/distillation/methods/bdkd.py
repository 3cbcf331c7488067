"""BD-KD: forward and reverse divergence, balanced sample by sample (Amara et al. 2022).

"BD-KD: Balancing the Divergences for Online Knowledge Distillation", https://arxiv.org/abs/2212.12965. Only the paper's
abstract and accounts of it were at hand. The two divergences, their balance by the gap of entropies and the reverse
divergence in the teacher's loss are the paper's; the coefficients, the factor `t^2` and entropies of the softened
probabilities are our interpretation [ours].
"""

import math

import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, LogitMethod
from autokd.distillation.checks import non_negative, positive
from autokd.distillation.methods.kd import kd_loss
from autokd.errors import InputError

__all__ = ["BDKD", "bdkd_loss", "bdkd_teacher_loss"]


def bdkd_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float | Tensor, delta: float = 2.0
) -> Tensor:
    """`t^2 (v KL(p_T^t || p_S^t) + w KL(p_S^t || p_T^t))`, in nats, the mean over the batch; `p^t = softmax(z / t)`.

    `(v, w)` is `(delta, 1)` for a sample of which the student is surer than the teacher, that is of a lower entropy of
    `p^t`: the forward divergence makes it cover all that the teacher holds possible. For the others it is `(1, delta)`:
    the reverse one makes it surer. So the loss jumps where the entropies cross, and is continuous for `delta = 1`, the
    plain sum.

    Args:
        student_logits: `batch x classes`.
        teacher_logits: `batch x classes`; no gradient flows into it.
        temperature: `t > 0`, one for all samples or, as `batch x 1`, one for each.
        delta: Weight of the stressed divergence, at least 1; the other one's is 1.
    """
    log_student = F.log_softmax(student_logits / temperature, dim=1)
    log_teacher = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    difference = log_teacher - log_student
    forward = (log_teacher.exp() * difference).sum(1, keepdim=True)
    reverse = -(log_student.exp() * difference).sum(1, keepdim=True)
    surer = _entropy(log_teacher) > _entropy(log_student)
    divergence = torch.where(surer, delta * forward + reverse, forward + delta * reverse)
    return (temperature**2 * divergence).mean()


def bdkd_teacher_loss(
    teacher_logits: Tensor,
    student_logits: Tensor,
    labels: Tensor,
    temperature: float | Tensor,
    weight: float = 1.0,
) -> Tensor:
    """`CE + weight t^2 KL(p_S^t || p_T^t)`, the mean over the batch: what a teacher learns that is trained beside.

    For the online form of BD-KD, in which both networks learn at once. Here the student is what does not move.

    Args:
        teacher_logits: `batch x classes`; what is trained.
        student_logits: `batch x classes`; no gradient flows into it.
        labels: int64, `batch`, in `[0, classes)`.
        temperature: `t > 0`, one for all samples or, as `batch x 1`, one for each.
        weight: Weight of the student's part.
    """
    return F.cross_entropy(teacher_logits, labels) + weight * kd_loss(teacher_logits, student_logits, temperature)


class BDKD(LogitMethod):
    """`CE + weight t^2 (v KL(p_T || p_S) + w KL(p_S || p_T))`: BD-KD from a teacher that is trained already.

    Defaults and ranges are ours: temperature 1 to 10, delta 1 to 10 and weight 0.1 to 10 (all log).

    Args:
        temperature: `t`, positive and finite.
        delta: Weight of the divergence that the sample calls for, at least 1; the other one's is 1.
        weight: Weight of both, at least 0.
    """

    name = "bd-kd"

    def __init__(self, temperature: float = 4.0, delta: float = 2.0, weight: float = 1.0) -> None:
        super().__init__()
        if not 1 <= delta < math.inf:
            raise InputError(f"`1 <= delta < inf` must hold, but got {delta=}.")
        self.temperature = positive(temperature=temperature)
        self.delta = delta
        self.weight = non_negative(weight=weight)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Temperature, balance and weight."""
        return {
            "temperature": FloatDistribution(1.0, 10.0, log=True),
            "delta": FloatDistribution(1.0, 10.0, log=True),
            "weight": FloatDistribution(0.1, 10.0, log=True),
        }

    def logit_loss(
        self, student: Tensor, teacher: Tensor, context: BatchContext, temperature: float | Tensor
    ) -> Tensor:
        """`weight t^2 (v KL(p_T || p_S) + w KL(p_S || p_T))`."""
        return self.weight * bdkd_loss(student, teacher, temperature, self.delta)


def _entropy(log_probabilities: Tensor) -> Tensor:
    """In nats, `batch x 1`."""
    return -(log_probabilities.exp() * log_probabilities).sum(1, keepdim=True)
