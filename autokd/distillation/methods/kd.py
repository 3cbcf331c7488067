"""Knowledge distillation by softened outputs (Hinton et al. 2015, https://arxiv.org/abs/1503.02531)."""

from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, LogitMethod
from autokd.distillation.checks import positive, share

__all__ = ["KD", "kd_loss", "kd_terms"]


def kd_terms(student_logits: Tensor, teacher_logits: Tensor, temperature: float | Tensor) -> Tensor:
    """KD loss of each sample, `t^2 KL(p_T^t || p_S^t)`, in nats, `batch`; `p^t = softmax(logits / t)`.

    Args:
        student_logits: `batch x classes`.
        teacher_logits: `batch x classes`; no gradient flows into it.
        temperature: `t > 0`: one for all samples, or one for each as `batch x 1`.
    """
    log_student = F.log_softmax(student_logits / temperature, dim=1)
    log_teacher = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    divergence = F.kl_div(log_student, log_teacher, reduction="none", log_target=True)
    return (temperature**2 * divergence).sum(1)


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float | Tensor) -> Tensor:
    """`t^2 KL(p_T^t || p_S^t)`, in nats, averaged over the batch; `p^t = softmax(logits / t)`.

    Hinton et al. 2015, section 2. Because of the factor `t^2`, the gradient keeps the scale of the cross-entropy's as
    `t` grows; with respect to the student's logits it is `t (p_S^t - p_T^t) / batch`.

    Args:
        student_logits: `batch x classes`.
        teacher_logits: `batch x classes`; no gradient flows into it.
        temperature: `t > 0`: one for all samples, or one for each as `batch x 1`.
    """
    return kd_terms(student_logits, teacher_logits, temperature).mean()


class KD(LogitMethod):
    """`(1 - weight) CE + weight t^2 KL`, whose two hyper-parameters AutoKD (Eyono et al. 2021) searches.

    The paper gives no ranges; ours are: temperature 1 to 10 (log), weight 0 to 1.

    Args:
        temperature: `t`, positive and finite.
        weight: Share of the teacher's term, in `[0, 1]`.
    """

    name = "kd"

    def __init__(self, temperature: float = 4.0, weight: float = 0.9) -> None:
        super().__init__()
        self.temperature = positive(temperature=temperature)
        self.weight = share(weight=weight)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of temperature and weight."""
        return {"temperature": FloatDistribution(1.0, 10.0, log=True), "weight": FloatDistribution(0.0, 1.0)}

    def label_weight(self, context: BatchContext) -> float:
        """Weight `1 - weight`."""
        return 1 - self.weight

    def logit_loss(
        self, student: Tensor, teacher: Tensor, context: BatchContext, temperature: float | Tensor
    ) -> Tensor:
        """`weight t^2 KL`."""
        return self.weight * kd_loss(student, teacher, temperature)
