"""Curriculum temperature (Li et al. 2023, https://arxiv.org/abs/2211.16231): the temperature learns to be hard.

    theta   what is learnt: one number, or what a small network says of each sample
    t       1 + 20 sigmoid(theta), the temperature
    lambda  (1 - cos(pi min(e, w) / w)) / 2: how much of theta's reversed gradient counts in epoch e = 1, 2, ...

Student and theta are trained by one optimiser on one loss; only the gradient that reaches theta is multiplied by
`-lambda`, so that theta climbs the loss that the student descends.
"""

import math
from typing import Any

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from torch import Tensor, nn

from autokd.distillation.base import BatchContext, LogitWrapper, Method, Outputs
from autokd.distillation.checks import one_of, positive

__all__ = ["CTKD", "curriculum", "reverse_gradient"]

_LOWEST, _SPAN = 1.0, 20.0  # of the temperature; the authors' code calls them t_start and t_end
_HIDDEN = 64


def curriculum(epoch: int, warmup: float) -> float:
    """`lambda`, the part of the reversed gradient that counts in an epoch, in `[0, 1]`.

    Li et al. 2023, "Curriculum Temperature for Knowledge Distillation", cosine curriculum:
    `(1 - cos(pi min(epoch, warmup) / warmup)) / 2`.

    Args:
        epoch: Number of the epoch, from 1.
        warmup: First epoch in which all of it counts.
    """
    return (1 - math.cos(math.pi * min(epoch / warmup, 1.0))) / 2


def reverse_gradient(tensor: Tensor, strength: float) -> Tensor:
    """The tensor as it is; what flows back into it is multiplied by `-strength`.

    Ganin and Lempitsky 2015, "Unsupervised Domain Adaptation by Backpropagation", https://arxiv.org/abs/1409.7495.
    """
    return _Reversal.apply(tensor, strength)  # type: ignore[no-any-return, no-untyped-call]


class CTKD(LogitWrapper):
    """The inner method at a temperature that is learnt against the student, in place of the inner one's own.

    At first `theta = 1` and the temperature is 15.62. Its gradient flows through all that the inner method does with
    the temperature, the factor `t^2` of KD included.

    Args:
        inner: A method that compares logits.
        form: "global", one temperature for all samples, or "instance", one for each. The paper's network for the
            latter sees both networks' predictions; ours has 64 hidden units and no batch normalisation, which fails for
            a batch of one, sees probabilities, which are bounded, and starts at the global form's temperature. No
            gradient flows through it into the student.
        warmup: Epochs until the reversed gradient counts in full, positive; 10 in the paper for 240 epochs. Its range,
            1 to 20, is ours.

    Raises:
        InputError: If there is no such form.
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
        """Form and warm-up."""
        return {"form": CategoricalDistribution(tuple(_FORMS)), "warmup": IntDistribution(1, 20)}

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Prepare the inner method and make theta."""
        super().prepare(student, teacher, labels)
        self.theta = _FORMS[self.form](student.logits, teacher.logits)

    def logit_loss(
        self, student: Tensor, teacher: Tensor, context: BatchContext, temperature: float | Tensor
    ) -> Tensor:
        """The inner method's at the learnt temperature, whatever `temperature` is."""
        return self.inner.logit_loss(student, teacher, context, self.learnt_temperature(student, teacher, context))

    def learnt_temperature(self, student: Tensor, teacher: Tensor, context: BatchContext) -> Tensor:
        """`t`, in `[1, 21]`: a scalar, or `batch x 1` in the instance-wise form."""
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
    """A number for each sample, `batch x 1`, from what both networks say of it."""

    def __init__(self, student: Tensor, teacher: Tensor) -> None:
        super().__init__()
        width = student.shape[1] + teacher.shape[1]
        self.hidden = nn.Linear(width, _HIDDEN, device=student.device, dtype=student.dtype)
        self.last = nn.Linear(_HIDDEN, 1, device=student.device, dtype=student.dtype)
        nn.init.zeros_(self.last.weight)
        nn.init.ones_(self.last.bias)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        said = torch.cat([student.softmax(1), teacher.softmax(1)], dim=1)
        theta: Tensor = self.last(self.hidden(said).relu())
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
