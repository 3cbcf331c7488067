"""Attention transfer (Zagoruyko and Komodakis 2017, https://arxiv.org/abs/1612.03928): match spatial attention maps."""

import math

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from torch import Tensor

from autokd.distillation.base import BatchContext, Method, Outputs
from autokd.distillation.checks import non_negative
from autokd.distillation.maps import pairs, same_size, unit
from autokd.errors import InputError

__all__ = ["AT", "attention_loss", "attention_map"]


def attention_map(maps: Tensor, power: float = 2.0) -> Tensor:
    """Attention map: strength of the features at each position, `batch x positions`, of L2 norm 1; 0 if all are 0.

    Zagoruyko and Komodakis 2017, section 3.1: the mean over channels of `|f|^power`, flattened and normalised.

    Args:
        maps: Features, `batch x channels x` resolution.
        power: Exponent, at least 1; larger values emphasise the strongest positions.
    """
    return unit(maps.abs().pow(power).mean(1).flatten(1))


def attention_loss(student: Tensor, teacher: Tensor, power: float = 2.0) -> Tensor:
    """Mean squared difference of the attention maps of two feature maps, in `[0, 2 / positions]`.

    Zagoruyko and Komodakis 2017, equation 2, with the mean over all values instead of the norm and the factor 1/2, as
    in the authors' code. Unlike in that code, the larger map is pooled to the size of the smaller one, so the two
    networks need not share strides (as in mdistiller).

    Args:
        student: Features, `batch x channels x` resolution.
        teacher: Features of the same batch; channels and sizes may differ.
        power: Exponent over channels; the paper uses 2.

    Raises:
        InputError: If one map is of images and the other of signals.
    """
    own, other = same_size(student, teacher.detach())
    return (attention_map(own, power) - attention_map(other, power)).square().mean()


class AT(Method):
    """`CE + weight` times the attention loss, summed over all pairs of maps.

    Args:
        weight: At least 0; 1000 in the paper and in public code. The range is ours.
        power: Exponent over channels, at least 1; with smaller ones, a feature of 0 would have an infinite gradient.
            The paper uses 2 and reports 1 and 4.
    """

    name = "at"
    needs = frozenset({"features"})

    def __init__(self, weight: float = 1000.0, power: float = 2.0) -> None:
        super().__init__()
        self.weight = non_negative(weight=weight)
        if not 1 <= power < math.inf:
            raise InputError(f"`1 <= power < inf` must hold, but got {power=}.")
        self.power = power

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of weight and power."""
        return {"weight": FloatDistribution(10.0, 10000.0, log=True), "power": CategoricalDistribution((1.0, 2.0, 4.0))}

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Raise `InputError` if no pair of maps has several positions, as with vectors; there is nothing to create."""
        compared = [same_size(*pair)[0] for pair in pairs(student, teacher)]
        if all(maps[0, 0].numel() == 1 for maps in compared):
            raise InputError(
                "distillation method 'at' compares attention over positions, but no pair of feature maps has more than "
                "one position in common; 'fitnet' and 'sp' work for vectors."
            )

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """`weight` times the attention loss, summed over the pairs."""
        losses = [attention_loss(*pair, self.power) for pair in pairs(student, teacher)]
        return self.weight * sum(losses[1:], start=losses[0])
