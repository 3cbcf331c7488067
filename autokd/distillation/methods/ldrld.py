"""Local dense relational logit distillation (LDRLD): every pair of the student's best classes (Xu et al. 2025).

"Local Dense Logit Relations for Enhanced Knowledge Distillation", https://arxiv.org/abs/2507.15911; public code:
https://github.com/yema-web/LDRLD, distiller_zoo/LDRLD.py. This implementation follows the paper's abstract and the
code, as the full text was not available.
"""

import torch
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from torch import Tensor
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, LogitMethod
from autokd.distillation.checks import non_negative, positive, whole
from autokd.distillation.methods.kd import kd_loss

__all__ = ["LDRLD", "ldrld_loss", "pair_weights"]

_DECAY = 0.05  # gamma of the public code
_SCALE, _OFFSET = 2.0, 1.5  # likewise


def pair_weights(first: Tensor, second: Tensor) -> Tensor:
    """Adaptive decay weight of pairs of ranks, `2 / (1.5 + |r - s|) exp(-0.05 (r + s))`.

    The first factor is the inverse rank weighting, which emphasises classes of similar rank; the second is the
    exponential rank decay, which emphasises the best ones.

    Args:
        first: Ranks `r` of one class of each pair, from 1 on.
        second: Ranks `s` of the other one.
    """
    return _SCALE / (_OFFSET + (first - second).abs()) * torch.exp(-_DECAY * (first + second))


def ldrld_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperature: float | Tensor = 4.0,
    depth: int = 7,
    alpha: float = 10.5,
    beta: float = 7.0,
) -> Tensor:
    """`alpha local + beta rest`: KD, with its `t^2`, of parts of the classes, in nats, averaged over the batch.

    Among the `depth` classes of the student's largest logits, local is the mean of KD of each pair, times its weight of
    `pair_weights`, and of KD of all of them together, which has a weight of 1. Rest is KD of the other classes. In each
    of these, the softmax is over the classes concerned alone; the public code subtracts 1000 from the others' logits,
    here they are omitted. The loss is discontinuous where the student's ranking changes.

    Args:
        student_logits: `batch x classes`, at least two classes.
        teacher_logits: `batch x classes`; no gradient flows into it.
        temperature: `t > 0`: one for all samples, or one for each as `batch x 1`.
        depth: Number of the best classes, at least 2. If there are not more classes, all of them are among the best,
            and rest is 0.
        alpha: Weight of local.
        beta: Weight of rest.
    """
    order = student_logits.argsort(dim=1, descending=True, stable=True)
    student, teacher = student_logits.gather(1, order), teacher_logits.detach().gather(1, order)
    depth = min(depth, student.shape[1])
    together = kd_loss(student[:, :depth], teacher[:, :depth], temperature)
    rest = kd_loss(student[:, depth:], teacher[:, depth:], temperature)
    first, second = torch.triu_indices(depth, depth, offset=1, device=student.device)
    ranks = torch.arange(1, depth + 1, dtype=student.dtype, device=student.device)
    pairs = pair_weights(ranks[first], ranks[second]) * _pair_terms(student, teacher, temperature, first, second)
    local = (pairs.sum(1).mean() + together) / (len(first) + 1)
    return alpha * local + beta * rest


class LDRLD(LogitMethod):
    """`CE + alpha local + beta rest`, see `ldrld_loss`.

    The defaults are those of the public code's example, ResNet32x4 and ResNet8x4 on CIFAR-100. The ranges are ours:
    temperature 1 to 10 (log), depth 2 to 10, alpha and beta 0.1 to 20 (log).

    Args:
        temperature: `t`, positive and finite.
        depth: Number of the best classes, at least 2.
        alpha: Weight of the relations among the best classes, at least 0.
        beta: Weight of the other classes, at least 0.
    """

    name = "ldrld"

    def __init__(self, temperature: float = 4.0, depth: int = 7, alpha: float = 10.5, beta: float = 7.0) -> None:
        super().__init__()
        self.temperature = positive(temperature=temperature)
        self.depth = whole(2, depth=depth)
        self.alpha = non_negative(alpha=alpha)
        self.beta = non_negative(beta=beta)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of temperature, depth and both weights."""
        return {
            "temperature": FloatDistribution(1.0, 10.0, log=True),
            "depth": IntDistribution(2, 10),
            "alpha": FloatDistribution(0.1, 20.0, log=True),
            "beta": FloatDistribution(0.1, 20.0, log=True),
        }

    def logit_loss(
        self, student: Tensor, teacher: Tensor, context: BatchContext, temperature: float | Tensor
    ) -> Tensor:
        """`alpha local + beta rest`."""
        return ldrld_loss(student, teacher, temperature, self.depth, self.alpha, self.beta)


def _pair_terms(student: Tensor, teacher: Tensor, temperature: float | Tensor, first: Tensor, second: Tensor) -> Tensor:
    """KD of each sample and pair of columns, `batch x pairs`; of two classes only the difference of logits matters."""
    log_student, log_teacher = (
        F.logsigmoid(torch.stack([gap, -gap]))
        for gap in ((logits[:, first] - logits[:, second]) / temperature for logits in (student, teacher))
    )
    return temperature**2 * F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(0)
