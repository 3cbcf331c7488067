"""Logit standardisation (Sun et al. 2024, https://arxiv.org/abs/2403.01427): a loss without the logits' scale."""

from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor

from autokd.distillation.base import BatchContext, LogitWrapper, Method, Outputs
from autokd.distillation.checks import positive
from autokd.errors import InputError

__all__ = ["Standardised", "standardised"]

_SMALL = 1e-7  # the paper's; keeps rows of equal logits finite


def standardised(logits: Tensor) -> Tensor:
    """Standardised rows, `(z - mean(z)) / (std(z) + 1e-7)`, `batch x classes`.

    Sun, Ren, Li, Wang and Cao 2024, "Logit Standardization in Knowledge Distillation", algorithm 1, with the unbiased
    standard deviation of the authors' code. The gradient grows as the deviation of a row shrinks, up to `1e7`.

    Args:
        logits: `batch x classes`, at least 2 classes.
    """
    centred = logits - logits.mean(1, keepdim=True)
    return centred / (logits.std(1, keepdim=True) + _SMALL)


class Standardised(LogitWrapper):
    """`scale` times the inner method's loss of the standardised logits; the cross-entropy uses the raw logits.

    Standardised logits have a deviation of 1 in every row, so the teacher's term is small. The paper weights it by 9
    and the labels by 0.1, at a base temperature of 2. Around KD with its default weight of 0.9, the default scale of 10
    gives exactly these weights; the temperature is the inner method's, by default 4 in KD.

    Args:
        inner: A method that compares logits.
        scale: Factor on the inner method's loss, positive and finite. The range, 1 to 20, is ours.
    """

    name = "standardise"

    def __init__(self, inner: Method, scale: float = 10.0) -> None:
        super().__init__(inner)
        self.scale = positive(scale=scale)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distribution of the scale."""
        return {"scale": FloatDistribution(1.0, 20.0, log=True)}

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Prepare the inner method.

        Raises:
            InputError: If there are fewer than two classes.
        """
        if (n_classes := student.logits.shape[1]) < 2:
            raise InputError(f"distillation method {self.name!r} needs at least 2 classes, but got {n_classes}.")
        super().prepare(student, teacher, labels)

    def logit_loss(
        self, student: Tensor, teacher: Tensor, context: BatchContext, temperature: float | Tensor
    ) -> Tensor:
        """Loss of the inner method of standardised logits, times the scale."""
        loss = self.inner.logit_loss(standardised(student), standardised(teacher.detach()), context, temperature)
        return self.scale * loss
