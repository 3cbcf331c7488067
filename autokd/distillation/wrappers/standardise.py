"""Logit standardisation (Sun et al. 2024, https://arxiv.org/abs/2403.01427): the scale of logits does not count."""

from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor

from autokd.distillation.base import BatchContext, LogitWrapper, Method, Outputs
from autokd.distillation.checks import positive
from autokd.errors import InputError

__all__ = ["Standardised", "standardised"]

_SMALL = 1e-7  # the paper's, beside the deviation of a row of equal logits


def standardised(logits: Tensor) -> Tensor:
    """`(z - mean(z)) / (std(z) + 1e-7)` of each row, `batch x classes`.

    Sun, Ren, Li, Wang and Cao 2024, "Logit Standardization in Knowledge Distillation", algorithm 1, with the unbiased
    standard deviation of the authors' code. Its gradient grows as the spread of a row shrinks, up to `1e7`.

    Args:
        logits: `batch x classes`, at least 2 classes.
    """
    centred = logits - logits.mean(1, keepdim=True)
    return centred / (logits.std(1, keepdim=True) + _SMALL)


class Standardised(LogitWrapper):
    """`scale` times the inner method's loss on standardised logits of both networks; the labels meet the raw ones.

    Standardised logits spread by 1 in every row, so the teacher's term is small, and the paper weighs it by 9 beside
    0.1 of the labels at a base temperature of 2. Around KD with its default weight of 0.9 the default scale of 10 gives
    just these two weights; the temperature is the inner method's, 4 in KD unless set.

    Args:
        inner: A method that compares logits.
        scale: Factor on the inner method's loss, positive and finite. Its range, 1 to 20, is ours.
    """

    name = "standardise"

    def __init__(self, inner: Method, scale: float = 10.0) -> None:
        super().__init__(inner)
        self.scale = positive(scale=scale)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """The scale."""
        return {"scale": FloatDistribution(1.0, 20.0, log=True)}

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Prepare the inner method.

        Raises:
            InputError: If there is one class only.
        """
        if student.logits.shape[1] < 2:
            raise InputError(f"distillation method {self.name!r} needs at least 2 classes.")
        super().prepare(student, teacher, labels)

    def logit_loss(
        self, student: Tensor, teacher: Tensor, context: BatchContext, temperature: float | Tensor
    ) -> Tensor:
        """The inner method's on standardised logits, times the scale."""
        loss = self.inner.logit_loss(standardised(student), standardised(teacher.detach()), context, temperature)
        return self.scale * loss
