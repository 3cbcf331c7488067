"""Early-stopped distillation (Cho and Hariharan 2019, https://arxiv.org/abs/1910.01348)."""

from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor

from autokd.distillation.base import BatchContext, Method, Outputs, Wrapper
from autokd.distillation.checks import share

__all__ = ["EarlyStopping"]


class EarlyStopping(Wrapper):
    """The inner method for the first part of training, then training with the labels only.

    Cho and Hariharan 2019, "On the Efficacy of Knowledge Distillation": a teacher helps a student early in training
    and, if it is much larger than the student, harms it later. Any method can be wrapped, and this wrapper precedes all
    others. In a sum such as `early-stopping+kd+at` it stops only the method that follows it, like every wrapper.

    Args:
        inner: Any method.
        until: Share of training during which the teacher is used, in `[0, 1]`. The best value depends on the networks;
            the default of 0.5 and the range, 0.1 to 1, are ours.
    """

    name = "early-stopping"

    def __init__(self, inner: Method, until: float = 0.5) -> None:
        super().__init__(inner)
        self.until = share(until=until)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distribution of the share of training with the teacher."""
        return {"until": FloatDistribution(0.1, 1.0)}

    def label_weight(self, context: BatchContext) -> float:
        """Weight of the inner method; 1 after the stop."""
        return super().label_weight(context) if self._is_on(context) else 1.0

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """Teacher loss of the inner method; 0 after the stop."""
        if self._is_on(context):
            return self.inner.teacher_loss(student, teacher, context)
        return student.logits[:0].sum()  # 0 with a gradient of zeros

    def _is_on(self, context: BatchContext) -> bool:
        return context.progress < self.until
