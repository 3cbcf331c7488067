"""Continuation-KD (Jafari et al. 2022, https://arxiv.org/abs/2212.05998): from an easy objective to the labels.

i/n   progress: the share of training done so far, in [0, 1)
t     temperature, from t_max down to 1
phi   1 - (t - 1) / t_max: factor on the teacher's logits, from 1 / t_max to 1
psi   weight of the labels, from 0 to 1; that of the teacher is 1 - psi
m     margin

psi CE + (1 - psi) max(0, |S - phi T|^2 - m phi)
"""

import math
from dataclasses import dataclass

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from torch import Tensor

from autokd.distillation.base import BatchContext, LogitMethod, LogitWrapper, Method
from autokd.distillation.checks import non_negative, one_of, positive, share

__all__ = ["Continuation", "ContinuationSchedule", "margin_loss"]

_TRANSITIONS = ("linear", "step", "jump")
_UNTIL, _UNTIL_JUMP = 0.75, 2 / 3  # 150 of 200 epochs, and 20 of 30


def margin_loss(student_logits: Tensor, teacher_logits: Tensor, margin: float) -> Tensor:
    """Squared distance of the logits beyond a margin, `max(0, |S - T|^2 - margin)`, averaged over the batch.

    Jafari, Kobyzev, Rezagholizadeh, Poupart and Ghodsi 2022, "Continuation KD: Improved Knowledge Distillation through
    the Lens of Continuation Optimization", equation 4, where the teacher's logits and the margin are multiplied by
    `phi`.

    Args:
        student_logits: `batch x classes`.
        teacher_logits: `batch x classes`; no gradient flows into it.
        margin: Squared distance up to which the loss is 0.
    """
    distance = ((student_logits - teacher_logits.detach()) ** 2).sum(1)
    return (distance - margin).relu().mean()


@dataclass(frozen=True)
class ContinuationSchedule:
    """Schedule of `phi`, the factor on the teacher's logits, and `psi`, the weight of the labels.

    Attributes:
        max_temperature: `t_max`, positive.
        until: Share of training after which only the labels have a weight, in `(0, 1]`.
        transition: Transition from the teacher to the labels, "linear", "step" or "jump".
    """

    max_temperature: float
    until: float
    transition: str

    def phi(self, progress: float) -> float:
        """Factor on the teacher's logits, in `(0, 1]`.

        `t` decreases from `t_max` to 1 in steps of 1 at equal intervals of the whole training, as in algorithm 1. With
        a step of `psi`, it decreases to 1 before that step, as in Annealing-KD; otherwise `phi` would not reach 1.
        """
        part = progress / self.until if self.transition == "step" else progress
        temperature = max(1.0, self.max_temperature - math.floor(part * self.max_temperature))
        return 1 - (temperature - 1) / self.max_temperature

    def psi(self, progress: float) -> float:
        """Weight of the labels, in `[0, 1]`, by equation 6 ("step"), 7 ("linear") or 8 ("jump").

        With "jump", for text in the paper, it grows to 1/2 at `until` and is 1 from there on.
        """
        if progress >= self.until:
            return 1.0
        largest = {"step": 0.0, "linear": 1.0, "jump": 0.5}[self.transition]
        return largest * progress / self.until


class Continuation(LogitWrapper):
    """`psi CE + (1 - psi) max(0, |S - phi T|^2 - m phi)`, or the loss of an inner method of `S` and `phi T`.

    With `margin=0` and `transition="step"` this is Annealing-KD (Jafari et al. 2021, https://arxiv.org/abs/2104.07163),
    which fine-tunes the best checkpoint of its first stage, whereas this method continues from the last one [ours].

    The weight of the labels is `psi`, whatever it is in the inner method; the inner method's own weight remains on the
    teacher's term. The scale of logits has no effect on "standardise", so around it only `psi` remains of the schedule;
    let "standardise" wrap this method instead.

    Defaults are the paper's, except for the margin, which it does not give. The margin's default and all ranges are
    ours.

    Args:
        inner: A method that compares logits and replaces the paper's squared distance.
        max_temperature: `t_max`, positive; 20 for images and 10 for text in the paper.
        until: Share of training after which only the labels have a weight, in `(0, 1]`; by default 2/3 with "jump",
            else 0.75.
        margin: `m`, at least 0; without effect if there is an inner method.
        transition: "linear"; "step": only the teacher, then only the labels; or "jump": linear to equal weights, then
            only the labels.

    Raises:
        InputError: If a hyper-parameter is out of range, or the transition is unknown.
    """

    name = "continuation"
    inner_is_optional = True
    alone_only = frozenset({"margin"})

    def __init__(
        self,
        inner: Method | None = None,
        max_temperature: int = 20,
        until: float | None = None,
        margin: float = 1.0,
        transition: str = "linear",
    ) -> None:
        transition = one_of(_TRANSITIONS, transition=transition)
        if until is None:
            until = _UNTIL_JUMP if transition == "jump" else _UNTIL
        until = positive(until=share(until=until))
        schedule = ContinuationSchedule(positive(max_temperature=max_temperature), until, transition)
        margin = non_negative(margin=margin)
        super().__init__(_Margin(schedule, margin) if inner is None else inner)
        self.schedule = schedule

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of the schedule and the margin."""
        return {
            "max_temperature": IntDistribution(2, 20),
            "until": FloatDistribution(0.25, 1.0),
            "margin": FloatDistribution(0.0, 10.0),
            "transition": CategoricalDistribution(_TRANSITIONS),
        }

    def label_weight(self, context: BatchContext) -> float:
        """Weight `psi`."""
        return self.schedule.psi(context.progress)

    def logit_loss(
        self, student: Tensor, teacher: Tensor, context: BatchContext, temperature: float | Tensor
    ) -> Tensor:
        """Loss of the inner method of `S` and `phi T`, times `1 - psi`."""
        phi, psi = self.schedule.phi(context.progress), self.schedule.psi(context.progress)
        return (1 - psi) * self.inner.logit_loss(student, phi * teacher, context, temperature)


class _Margin(LogitMethod):
    """Inner method of Continuation-KD if no other is given: the squared distance beyond `m phi`."""

    name = "margin"
    temperature = 1.0

    def __init__(self, schedule: ContinuationSchedule, margin: float) -> None:
        super().__init__()
        self._schedule = schedule
        self._margin = margin

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        return {}

    def logit_loss(
        self, student: Tensor, teacher: Tensor, context: BatchContext, temperature: float | Tensor
    ) -> Tensor:
        margin = self._margin * self._schedule.phi(context.progress)
        return margin_loss(student / temperature, teacher / temperature, margin)
