"""Early-stopped distillation (Cho and Hariharan 2019, https://arxiv.org/abs/1910.01348)."""

from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor

from autokd.distillation.base import BatchContext, Method, Outputs, Wrapper
from autokd.distillation.checks import share

__all__ = ["EarlyStopping"]


class EarlyStopping(Wrapper):
    """The inner method for the first part of training, then plain training with the labels.

    Cho and Hariharan 2019, "On the Efficacy of Knowledge Distillation": a teacher helps a student early and, where it
    is too large for the student, hurts later. It wraps any method and stands before all other wrappers of it. Of a sum,
    `early-stopping+kd+at`, it stops the term that it stands before, as every wrapper does.

    Args:
        inner: Any method.
        until: Part of training in which the teacher takes part, in `[0, 1]`. When to stop depends on the pair of
            networks; the default of 0.5 and the range, 0.1 to 1, are ours.
    """

    name = "early-stopping"

    def __init__(self, inner: Method, until: float = 0.5) -> None:
        super().__init__(inner)
        self.until = share(until=until)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """When to stop."""
        return {"until": FloatDistribution(0.1, 1.0)}

    def label_weight(self, context: BatchContext) -> float:
        """The inner method's, and 1 after the stop."""
        return super().label_weight(context) if self._is_on(context) else 1.0

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """The inner method's; after the stop, 0 without looking at the teacher."""
        if self._is_on(context):
            return self.inner.teacher_loss(student, teacher, context)
        return student.logits[:0].sum()  # a zero with a gradient, of zeros

    def _is_on(self, context: BatchContext) -> bool:
        return context.progress < self.until
