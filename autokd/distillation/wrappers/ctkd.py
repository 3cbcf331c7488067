"""Curriculum temperature (Li et al. 2023, https://arxiv.org/abs/2211.16231): the temperature is learnt adversarially.

    theta   learnable: one number, or the output of a small network for each sample
    t       temperature, 1 + 20 sigmoid(theta)
    lambda  (1 - cos(pi min(e, w) / w)) / 2: strength of the gradient reversal in epoch e = 1, 2, ...

Student and theta are trained with the same optimiser and loss. The gradient of theta is multiplied by `-lambda`, so
theta maximises the loss that the student minimises.
"""

import math
from typing import Any

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from torch import Tensor, nn

from autokd.distillation.base import BatchContext, LogitWrapper, Method, Outputs
from autokd.distillation.checks import one_of, positive

__all__ = ["CTKD", "curriculum", "reverse_gradient"]

_LOWEST, _SPAN = 1.0, 20.0  # of the temperature; t_start and t_end in the authors' code
_HIDDEN = 64


def curriculum(epoch: int, warmup: float) -> float:
    """Strength `lambda` of the gradient reversal in an epoch, in `[0, 1]`.

    Li et al. 2023, "Curriculum Temperature for Knowledge Distillation", cosine curriculum:
    `(1 - cos(pi min(epoch, warmup) / warmup)) / 2`.

    Args:
        epoch: Number of the epoch, from 1.
        warmup: First epoch with the full strength.
    """
    return (1 - math.cos(math.pi * min(epoch / warmup, 1.0))) / 2


def reverse_gradient(tensor: Tensor, strength: float) -> Tensor:
    """The tensor unchanged; its gradient is multiplied by `-strength`.

    Ganin and Lempitsky 2015, "Unsupervised Domain Adaptation by Backpropagation", https://arxiv.org/abs/1409.7495.
    """
    return _Reversal.apply(tensor, strength)  # type: ignore[no-any-return, no-untyped-call]


class CTKD(LogitWrapper):
    """The inner method at a temperature that is learnt adversarially and replaces the inner method's own.

    Initially `theta = 1`, a temperature of 15.62. The gradient of theta includes every dependence of the inner method
    on the temperature, such as the factor `t^2` of KD.

    Args:
        inner: A method that compares logits.
        form: "global", one temperature for all samples, or "instance", one for each sample. As in the paper, the latter
            comes from a network of both networks' predictions. [ours] It has 64 hidden units, no batch normalisation,
            which fails for a batch of one, probabilities as inputs, which are bounded, and starts at the temperature of
            the global form. No gradient flows through it into the student.
        warmup: Epochs until the gradient reversal has its full strength, positive; 10 in the paper for 240 epochs. The
            range, 1 to 20, is ours.

    Raises:
        InputError: If the form is unknown, or `warmup` is out of range.
    """

    name = "ctkd"
    overridden = frozenset({"temperature"})

    theta: nn.Module

    def __init__(self, inner: Method, form: str = "global", warmup: int = 10) -> None:
        super().__init__(inner)
        self.form = one_of(_FORMS, form=form)
        self.warmup = positive(warmup=warmup)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of form and warm-up."""
        return {"form": CategoricalDistribution(tuple(_FORMS)), "warmup": IntDistribution(1, 20)}

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Prepare the inner method and create theta."""
        super().prepare(student, teacher, labels)
        self.theta = _FORMS[self.form](student.logits, teacher.logits)

    def logit_loss(
        self, student: Tensor, teacher: Tensor, context: BatchContext, temperature: float | Tensor
    ) -> Tensor:
        """Loss of the inner method at the learnt temperature."""
        return self.inner.logit_loss(student, teacher, context, self.learnt_temperature(student, teacher, context))

    def learnt_temperature(self, student: Tensor, teacher: Tensor, context: BatchContext) -> Tensor:
        """Learnt temperature `t`, in `[1, 21]`: a scalar, or `batch x 1` in the instance-wise form.

        Args:
            student: Logits, `batch x classes`.
            teacher: Logits, `batch x classes`.
            context: Batch context, for the epoch.
        """
        strength = curriculum(math.floor(context.epoch) + 1, self.warmup)
        theta: Tensor = self.theta(student.detach(), teacher.detach())
        return _LOWEST + _SPAN * reverse_gradient(theta, strength).sigmoid()


class _GlobalTheta(nn.Module):
    """One number for all samples."""

    def __init__(self, student: Tensor, teacher: Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(student.new_ones(()))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return self.value


class _InstanceTheta(nn.Module):
    """One number for each sample, `batch x 1`, computed from both networks' probabilities."""

    def __init__(self, student: Tensor, teacher: Tensor) -> None:
        super().__init__()
        width = student.shape[1] + teacher.shape[1]
        self.hidden = nn.Linear(width, _HIDDEN, device=student.device, dtype=student.dtype)
        self.last = nn.Linear(_HIDDEN, 1, device=student.device, dtype=student.dtype)
        nn.init.zeros_(self.last.weight)
        nn.init.ones_(self.last.bias)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        probabilities = torch.cat([student.softmax(1), teacher.softmax(1)], dim=1)
        theta: Tensor = self.last(self.hidden(probabilities).relu())
        return theta


_FORMS: dict[str, type[_GlobalTheta] | type[_InstanceTheta]] = {"global": _GlobalTheta, "instance": _InstanceTheta}


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None
