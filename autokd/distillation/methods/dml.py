"""Deep mutual learning (Zhang et al. 2018, https://arxiv.org/abs/1706.00384): networks that teach each other."""

import torch
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from torch import Tensor

from autokd.distillation.base import BatchContext, Method, Outputs
from autokd.distillation.checks import non_negative, positive, whole
from autokd.distillation.methods.kd import kd_loss

__all__ = ["DML"]

OPEN = 20.0  # nats, above any cross-entropy of a network that learns


class DML(Method):
    """Student and companions of its architecture, which learn from the labels and from each other.

    Zhang et al. 2018, equations 5 and 6 for more than two networks. Each network k of N minimises

        L_k = CE_k + weight / (N - 1) sum_{l != k} KL(p_l || p_k)

    where no gradient flows into p_l, and all of them are updated at once by the sum of their losses; the paper updates
    one after the other. The teacher does not take part: `kd+dml` learns from it, too. Default and range of the weight
    are ours, 0.1 to 10 (log), and so are `gate` and `fade`: with them a network teaches only as long as it is not much
    worse than the teacher, and the less, the later it is.

    Args:
        peers: Number of companions, N - 1, at least 1; the paper has 1 to 4, the range is 1 to 3.
        weight: Weight of what networks learn from each other, at least 0.
        gate: A network teaches in batches in which its cross-entropy exceeds the teacher's by less than this, in nats;
            the default of 20 is always. Range 0.01 to 20 (log).
        fade: What networks teach each other is weighted by `1 - progress ** fade`; 0, the default, leaves the factor
            out. Range 0 to 8.
    """

    name = "dml"

    def __init__(self, peers: int = 1, weight: float = 1.0, gate: float = OPEN, fade: float = 0.0) -> None:
        super().__init__()
        self.n_companions = whole(1, peers=peers)
        self.weight = non_negative(weight=weight)
        self.gate = positive(gate=gate)
        self.fade = non_negative(fade=fade)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of number and weight of the companions, and of gate and fading."""
        return {
            "peers": IntDistribution(1, 3),
            "weight": FloatDistribution(0.1, 10.0, log=True),
            "gate": FloatDistribution(0.01, OPEN, log=True),
            "fade": FloatDistribution(0.0, 8.0),
        }

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """What the student learns from the companions, and the companions' losses."""
        networks = [student.logits, *(companion.logits for companion in context.companions)]
        losses = [context.cross_entropy(logits) for logits in networks]
        limit = context.cross_entropy(teacher.logits).detach() + self.gate
        teaches = [(loss.detach() < limit).to(loss.dtype) for loss in losses]
        strength = self.weight / self.n_companions * (1 - context.progress**self.fade if self.fade else 1.0)
        divergences = [
            strength * is_able * kd_loss(pupil, tutor, 1.0)
            for tutor, is_able in zip(networks, teaches, strict=True)
            for pupil in networks
            if pupil is not tutor
        ]
        return torch.stack([*losses[1:], *divergences]).sum()
