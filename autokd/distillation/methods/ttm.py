"""Transformed teacher matching (TTM) and its weighted form (WTTM): only the teacher has a temperature.

Zheng and Yang 2024, "Knowledge Distillation Based on Transformed Teacher Matching",
https://arxiv.org/abs/2402.11148; public code: https://github.com/zkxufo/TTM, distiller_zoo/ttm.py and wttm.py.
"""

from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, LogitMethod
from autokd.distillation.checks import non_negative, positive

__all__ = ["TTM", "WTTM", "power_sum", "ttm_loss", "wttm_loss"]


def ttm_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float | Tensor) -> Tensor:
    """`KL(p_T^t || p_S)`, in nats, averaged over the batch, with `p_T^t = softmax(z_T / t)` and `p_S = softmax(z_S)`.

    A temperature is a power transform: `p^t` is `p^(1/t)`, normalised. The loss is that of KD without its `t^2`,
    `t KL(p_T^t || p_S^t)`, minus `(t - 1)` times the Renyi entropy of order `1/t` of `p_S`, up to a constant of the
    teacher, so that for `t > 1` the student is also kept from being overconfident. The gradient with respect to the
    student's logits is `(p_S - p_T^t) / batch`, whatever `t`.

    Args:
        student_logits: `batch x classes`.
        teacher_logits: `batch x classes`; no gradient flows into it.
        temperature: `t > 0`, `1 / gamma` in the paper: one for all samples, or one for each as `batch x 1`.
    """
    return _ttm_terms(student_logits, teacher_logits, temperature).mean()


def wttm_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float | Tensor) -> Tensor:
    """`U(p_T) KL(p_T^t || p_S)`, in nats, averaged over the batch, with `U` of `power_sum`; equation 22 of the paper.

    For `t > 1`, samples on which the teacher is less certain have larger weights.

    Args:
        student_logits: `batch x classes`.
        teacher_logits: `batch x classes`; no gradient flows into it.
        temperature: `t > 0`, `1 / gamma` in the paper: one for all samples, or one for each as `batch x 1`.
    """
    terms = _ttm_terms(student_logits, teacher_logits, temperature)
    return (power_sum(teacher_logits.detach(), temperature) * terms).mean()


def power_sum(logits: Tensor, temperature: float | Tensor) -> Tensor:
    """`U(p) = sum_k p_k^(1/t)` of `p = softmax(z)`, `batch`: 1 if `p` is certain, `classes^(1 - 1/t)` if uniform.

    Args:
        logits: `batch x classes`.
        temperature: `t > 0`: one for all samples, or one for each as `batch x 1`.
    """
    return (F.log_softmax(logits, dim=1) / temperature).logsumexp(1).exp()


class TTM(LogitMethod):
    """`CE + weight KL(p_T^t || p_S)`.

    The defaults are those of the public code's example, VGG13 and VGG8 on CIFAR-100, where `gamma = 0.1`. The ranges
    are ours: temperature 1 to 20, weight 0.5 to 100 (both log).

    Args:
        temperature: `t` of the teacher's logits, positive and finite.
        weight: Weight of the teacher's term, at least 0.
    """

    name = "ttm"

    def __init__(self, temperature: float = 10.0, weight: float = 45.0) -> None:
        super().__init__()
        self.temperature = positive(temperature=temperature)
        self.weight = non_negative(weight=weight)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of temperature and weight."""
        return {
            "temperature": FloatDistribution(1.0, 20.0, log=True),
            "weight": FloatDistribution(0.5, 100.0, log=True),
        }

    def logit_loss(
        self, student: Tensor, teacher: Tensor, context: BatchContext, temperature: float | Tensor
    ) -> Tensor:
        """`weight KL(p_T^t || p_S)`."""
        return self.weight * ttm_loss(student, teacher, temperature)


class WTTM(TTM):
    """`CE + weight U(p_T) KL(p_T^t || p_S)`.

    The defaults are those of the public code's example, where `gamma = 0.2` and WTTM is added to CRD; it has none of
    WTTM alone. The ranges are those of TTM.

    Args:
        temperature: `t` of the teacher's logits, positive and finite.
        weight: Weight of the teacher's term, at least 0.
    """

    name = "wttm"

    def __init__(self, temperature: float = 5.0, weight: float = 4.0) -> None:
        super().__init__(temperature, weight)

    def logit_loss(
        self, student: Tensor, teacher: Tensor, context: BatchContext, temperature: float | Tensor
    ) -> Tensor:
        """`weight U(p_T) KL(p_T^t || p_S)`."""
        return self.weight * wttm_loss(student, teacher, temperature)


def _ttm_terms(student_logits: Tensor, teacher_logits: Tensor, temperature: float | Tensor) -> Tensor:
    """TTM loss of each sample, `batch`."""
    log_student = F.log_softmax(student_logits, dim=1)
    log_teacher = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    return F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(1)
