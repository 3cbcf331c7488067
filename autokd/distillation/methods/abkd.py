"""ABKD: the alpha-beta-divergence, which contains forward and reverse divergence (Wang et al. 2025).

"ABKD: Pursuing a Proper Allocation of the Probability Mass in Knowledge Distillation via alpha-beta-Divergence",
https://arxiv.org/abs/2505.04560; public code: https://github.com/ghwang-s/abkd,
standard_classification/distiller_zoo/abkl.py. The divergence is from Cichocki et al. 2011, "Generalized Alpha-Beta
Divergences and Their Application to Robust Nonnegative Matrix Factorization", https://doi.org/10.3390/e13010134.
"""

import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, LogitMethod
from autokd.distillation.checks import non_negative, positive

__all__ = ["ABKD", "abkd_loss"]


def abkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperature: float | Tensor,
    alpha: float = 0.8,
    beta: float = 0.3,
) -> Tensor:
    """`t^2 D(p_T^t || p_S^t)` with the alpha-beta-divergence `D`, averaged over the batch; `p^t = softmax(z / t)`.

    `D(p || q) = sum [alpha p^s + beta q^s - s p^alpha q^beta] / (alpha beta s)` with `s = alpha + beta`. It is the
    forward divergence `KL(p || q)` for (1, 0), the reverse one for (0, 1), half of the squared Euclidean distance for
    (1, 1), and half of that of the logarithms for (0, 0).

    Where a factor of the denominator is 0, `D` is the limit. With the logarithm `ln_r z = (z^r - 1) / r`, which is
    continuous in `r` and `ln z` for 0, it is

        `sum [ln_s q - ln_s p - p^alpha (ln_beta q - ln_beta p)] / alpha`

    and the same with `p` and `q`, `alpha` and `beta` exchanged. The one that is divided by the larger of the two is
    used, so rounding errors do not grow unless both are close to 0. For one of them 0, the public code has other
    factors than these limits, unless the other is 1; the limits here are those of Cichocki et al. The public code also
    lacks `t^2`.

    Args:
        student_logits: `batch x classes`.
        teacher_logits: `batch x classes`; no gradient flows into it.
        temperature: `t > 0`: one for all samples, or one for each as `batch x 1`.
        alpha: Exponent of the teacher's probabilities. A negative one is not bounded for certain networks.
        beta: Exponent of the student's probabilities, likewise.
    """
    log_student = F.log_softmax(student_logits / temperature, dim=1)
    log_teacher = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    if abs(alpha) >= abs(beta):
        divergence = _divergence(log_teacher, log_student, alpha, beta)
    else:
        divergence = _divergence(log_student, log_teacher, beta, alpha)
    return (temperature**2 * divergence).sum(1).mean()


class ABKD(LogitMethod):
    """`CE + weight t^2 D` with the alpha-beta-divergence `D` of `abkd_loss`.

    The defaults for alpha and beta are those of the public code's example, ResNet56 and ResNet20 on CIFAR-100. Its
    weight of 32, without `t^2`, is `2 t^2` at a temperature of 4 [ours]. In its examples alpha is 0.5 to 0.9 and
    alpha + beta 1 to 1.3. The ranges are ours: temperature 1 to 10 (log), alpha and beta 0 to 1.5, weight 0.1 to 10
    (log). With both exponents 0 it is the squared distance of log-probabilities, which nothing bounds: a training may
    diverge.

    Args:
        temperature: `t`, positive and finite.
        alpha: Exponent of the teacher's probabilities, at least 0. The smaller, the more classes with large errors
            count.
        beta: Exponent of the student's probabilities, at least 0. The larger, the more classes that the student thinks
            likely count.
        weight: Weight of the teacher's term, at least 0.
    """

    name = "abkd"

    def __init__(self, temperature: float = 4.0, alpha: float = 0.8, beta: float = 0.3, weight: float = 2.0) -> None:
        super().__init__()
        self.temperature = positive(temperature=temperature)
        self.alpha = non_negative(alpha=alpha)
        self.beta = non_negative(beta=beta)
        self.weight = non_negative(weight=weight)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of temperature, both exponents and the weight."""
        return {
            "temperature": FloatDistribution(1.0, 10.0, log=True),
            "alpha": FloatDistribution(0.0, 1.5),
            "beta": FloatDistribution(0.0, 1.5),
            "weight": FloatDistribution(0.1, 10.0, log=True),
        }

    def logit_loss(
        self, student: Tensor, teacher: Tensor, context: BatchContext, temperature: float | Tensor
    ) -> Tensor:
        """`weight t^2 D`."""
        return self.weight * abkd_loss(student, teacher, temperature, self.alpha, self.beta)


def _divergence(log_p: Tensor, log_q: Tensor, alpha: float, beta: float) -> Tensor:
    """Terms of `D(p || q)` for `|alpha| >= |beta|`."""
    if alpha == 0:
        return (log_q - log_p).square() / 2
    power = _deformed(log_q, alpha + beta) - _deformed(log_p, alpha + beta)
    return (power - torch.exp(alpha * log_p) * (_deformed(log_q, beta) - _deformed(log_p, beta))) / alpha


def _deformed(log_z: Tensor, r: float) -> Tensor:
    """`ln_r z = (z^r - 1) / r`, `ln z` for `r = 0`."""
    return torch.expm1(r * log_z) / r if r else log_z
