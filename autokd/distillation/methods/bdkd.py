"""BD-KD: forward and reverse divergence, balanced for each sample (Amara et al. 2022).

"BD-KD: Balancing the Divergences for Online Knowledge Distillation", https://arxiv.org/abs/2212.12965. This
implementation follows the paper's abstract and summaries of it, as the full text was not available. From the paper are
the two divergences, their balance by the difference of entropies, and the reverse divergence in the teacher's loss. The
coefficients, the factor `t^2` and the use of entropies of softened probabilities are our interpretation [ours].
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
    """`t^2 (v KL(p_T^t || p_S^t) + w KL(p_S^t || p_T^t))`, in nats, averaged over the batch; `p^t = softmax(z / t)`.

    `(v, w)` is `(delta, 1)` for a sample on which the student is more confident than the teacher, that is where its
    `p^t` has the lower entropy: the forward divergence makes the student cover all classes that the teacher considers.
    For the other samples it is `(1, delta)`: the reverse divergence makes the student more confident. The loss is
    discontinuous where the two entropies are equal, except for `delta = 1`, the plain sum.

    Args:
        student_logits: `batch x classes`.
        teacher_logits: `batch x classes`; no gradient flows into it.
        temperature: `t > 0`: one for all samples, or one for each as `batch x 1`.
        delta: Weight of the emphasised divergence, at least 1; the weight of the other one is 1.
    """
    log_student = F.log_softmax(student_logits / temperature, dim=1)
    log_teacher = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    difference = log_teacher - log_student
    forward = (log_teacher.exp() * difference).sum(1, keepdim=True)
    reverse = -(log_student.exp() * difference).sum(1, keepdim=True)
    more_confident = _entropy(log_teacher) > _entropy(log_student)
    divergence = torch.where(more_confident, delta * forward + reverse, forward + delta * reverse)
    return (temperature**2 * divergence).mean()


def bdkd_teacher_loss(
    teacher_logits: Tensor,
    student_logits: Tensor,
    labels: Tensor,
    temperature: float | Tensor,
    weight: float = 1.0,
) -> Tensor:
    """`CE + weight t^2 KL(p_S^t || p_T^t)`, averaged over the batch: the loss of a teacher that is trained, too.

    This is for the online form of BD-KD, in which both networks are trained at the same time.

    Args:
        teacher_logits: `batch x classes`; the gradient flows into it.
        student_logits: `batch x classes`; no gradient flows into it.
        labels: int64, `batch`, in `[0, classes)`.
        temperature: `t > 0`: one for all samples, or one for each as `batch x 1`.
        weight: Weight of the divergence from the student.
    """
    return F.cross_entropy(teacher_logits, labels) + weight * kd_loss(teacher_logits, student_logits, temperature)


class BDKD(LogitMethod):
    """`CE + weight t^2 (v KL(p_T || p_S) + w KL(p_S || p_T))`: BD-KD with a trained teacher.

    Defaults and ranges are ours: temperature 1 to 10, delta 1 to 10 and weight 0.1 to 10 (all log).

    Args:
        temperature: `t`, positive and finite.
        delta: Weight of the divergence emphasised for a sample, at least 1; the weight of the other one is 1.
        weight: Weight of both divergences, at least 0.
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
        """Distributions of temperature, delta and weight."""
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
    """Entropy in nats, `batch x 1`."""
    return -(log_probabilities.exp() * log_probabilities).sum(1, keepdim=True)
