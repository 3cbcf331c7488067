"""Refined logit distillation (RLD): a teacher's errors are masked, not corrected (Sun et al. 2024).

"Knowledge Distillation with Refined Logits", https://arxiv.org/abs/2408.07703; public code:
https://github.com/zju-SWJ/RLD, mdistiller/distillers/RLD.py.
"""

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from torch import Tensor
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, LogitMethod
from autokd.distillation.checks import non_negative, positive
from autokd.distillation.methods.dkd import target_and_rest, warmup_factor
from autokd.distillation.methods.kd import kd_loss

__all__ = ["RLD", "confidence_loss", "masked_loss"]

_MASKED = -1e9  # a logit of no weight; finite, so that a sample all of whose classes are masked has a loss of 0


def confidence_loss(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float | Tensor
) -> Tensor:
    """`t^2 KL(b_T || b_S)`, in nats, averaged over the batch: be as sure of the label as the teacher of its prediction.

    Sample confidence distillation, equations 4 to 6: `b_T = [p, 1 - p]` with the largest probability `p` of the
    teacher, right or wrong, and `b_S = [p_y, 1 - p_y]` with the student's probability of the label `y`, both at
    temperature `t`. The public code takes logarithms of these probabilities; here log probabilities are used
    throughout, so that a confident network's `1 - p` is not rounded to 0.

    Args:
        student_logits: `batch x classes`, at least two classes.
        teacher_logits: `batch x classes`; no gradient flows into it.
        labels: int64, `batch`, in `[0, classes)`.
        temperature: `t > 0`: one for all samples, or one for each as `batch x 1`.
    """
    teacher_logits = teacher_logits.detach()
    log_student = target_and_rest(F.log_softmax(student_logits / temperature, dim=1), labels)
    log_teacher = target_and_rest(F.log_softmax(teacher_logits / temperature, dim=1), teacher_logits.argmax(1))
    divergence = F.kl_div(log_student, log_teacher, reduction="none", log_target=True)
    return (temperature**2 * divergence).sum(1).mean()


def masked_loss(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float | Tensor) -> Tensor:
    """`t^2 KL(q_T || q_S)`, in nats, averaged over the batch: the classes that the teacher ranks below the label.

    Masked correlation distillation, equations 8 to 10: `q` is the softmax of `z / t` over the classes whose logit of
    the teacher is smaller than that of the label. So neither the label is among them, nor a class that the teacher
    falsely prefers to it. With less than two such classes, the loss of a sample is 0.

    Args:
        student_logits: `batch x classes`.
        teacher_logits: `batch x classes`; no gradient flows into it.
        labels: int64, `batch`, in `[0, classes)`.
        temperature: `t > 0`: one for all samples, or one for each as `batch x 1`.
    """
    teacher_logits = teacher_logits.detach()
    is_masked = teacher_logits >= teacher_logits.gather(1, labels.unsqueeze(1))
    student, teacher = (logits.masked_fill(is_masked, _MASKED) for logits in (student_logits, teacher_logits))
    return kd_loss(student, teacher, temperature)


class RLD(LogitMethod):
    """`CE + warm-up (alpha confidence + beta masked)`, the losses `confidence_loss` and `masked_loss`.

    The defaults are the public code's for CIFAR-100, including the warm-up, which is that of DKD. The ranges are ours:
    temperatures 1 to 10, alpha 0.1 to 10, beta 0.1 to 20 (all log), warm-up 0 to 40 epochs. The label of a mixed sample
    is the one of larger weight [ours].

    Args:
        temperature: `t` of the masked loss, positive and finite. It is the one that wrappers such as "ctkd" replace.
        confidence_temperature: `t` of the confidence loss, positive and finite.
        alpha: Weight of the confidence loss, at least 0.
        beta: Weight of the masked loss, at least 0.
        warmup: Epochs over which the teacher's term grows to its full weight; 0 for none.
    """

    name = "rld"

    def __init__(
        self,
        temperature: float = 4.0,
        confidence_temperature: float = 1.0,
        alpha: float = 1.0,
        beta: float = 8.0,
        warmup: float = 20,
    ) -> None:
        super().__init__()
        self.temperature = positive(temperature=temperature)
        self.confidence_temperature = positive(confidence_temperature=confidence_temperature)
        self.alpha = non_negative(alpha=alpha)
        self.beta = non_negative(beta=beta)
        self.warmup = non_negative(warmup=warmup)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of both temperatures, both weights and the warm-up."""
        return {
            "temperature": FloatDistribution(1.0, 10.0, log=True),
            "confidence_temperature": FloatDistribution(1.0, 10.0, log=True),
            "alpha": FloatDistribution(0.1, 10.0, log=True),
            "beta": FloatDistribution(0.1, 20.0, log=True),
            "warmup": IntDistribution(0, 40),
        }

    def logit_loss(
        self, student: Tensor, teacher: Tensor, context: BatchContext, temperature: float | Tensor
    ) -> Tensor:
        """`warm-up (alpha confidence + beta masked)`."""
        confidence = confidence_loss(student, teacher, context.labels, self.confidence_temperature)
        masked = masked_loss(student, teacher, context.labels, temperature)
        return warmup_factor(context.epoch, self.warmup) * (self.alpha * confidence + self.beta * masked)
