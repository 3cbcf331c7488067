"""Continuation-KD (Jafari et al. 2022, https://arxiv.org/abs/2212.05998): an easy objective grows into the real one.

i/n   progress, the part of training that is done, in [0, 1)
t     temperature, from t_max down to 1
phi   1 - (t - 1) / t_max: how much of the teacher's logits is shown, from 1 / t_max to 1
psi   weight of the labels, from 0 to 1; the teacher's is 1 - psi
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

_TRANSITIONS = ("linear", "step")


def margin_loss(student_logits: Tensor, teacher_logits: Tensor, margin: float) -> Tensor:
    """`max(0, |S - T|^2 - margin)`: the sum over classes of squared differences beyond a margin; the batch's mean.

    Jafari, Kobyzev, Rezagholizadeh, Poupart and Ghodsi 2022, "Continuation KD: Improved Knowledge Distillation through
    the Lens of Continuation Optimization", equation 4, where the teacher's logits and the margin are those times `phi`.

    Args:
        student_logits: `batch x classes`.
        teacher_logits: `batch x classes`; no gradient flows into it.
        margin: Squared distance that costs nothing.
    """
    distance = ((student_logits - teacher_logits.detach()) ** 2).sum(1)
    return (distance - margin).relu().mean()


@dataclass(frozen=True)
class ContinuationSchedule:
    """When the teacher is shown in full, and when the labels take over.

    Attributes:
        max_temperature: `t_max`, positive.
        until: Part of training after which only the labels teach, in `(0, 1]`.
        transition: "linear" or "step".
    """

    max_temperature: float
    until: float
    transition: str

    def phi(self, progress: float) -> float:
        """How much of the teacher's logits is shown, in `(0, 1]`.

        `t` falls from `t_max` in equal steps of 1 and stays at 1, as in algorithm 1 over the whole training. With a
        step of `psi` it falls until that step, as in Annealing-KD, whose teacher would not be shown in full otherwise.
        """
        part = progress / self.until if self.transition == "step" else progress
        temperature = max(1.0, self.max_temperature - math.floor(part * self.max_temperature))
        return 1 - (temperature - 1) / self.max_temperature

    def psi(self, progress: float) -> float:
        """The weight of the labels, in `[0, 1]`: equations 7 (150 of 200 epochs) and 6."""
        if self.transition == "step":
            return float(progress >= self.until)
        return min(progress / self.until, 1.0)


class Continuation(LogitWrapper):
    """`psi CE + (1 - psi) max(0, |S - phi T|^2 - m phi)`; around another method, its loss of `S` and `phi T` instead.

    Annealing-KD (Jafari et al. 2021, https://arxiv.org/abs/2104.07163) is the one with `margin=0` and
    `transition="step"`; it fine-tunes the best checkpoint of its first stage, ours goes on from the last.

    The labels weigh `psi` whatever the inner method gives them; its own weight stays on the teacher's term. Around
    "standardise", which does not see the scale of logits, only `psi` is left of the schedule: wrap the other way.

    The paper says what it chose of all but the margin. The margin's default and all ranges are ours.

    Args:
        inner: A method that compares logits in place of the paper's squared distance.
        max_temperature: `t_max`, positive; 20 for images and 10 for text in the paper.
        until: Part of training after which only the labels teach, in `(0, 1]`.
        margin: `m`, at least 0; without effect around another method.
        transition: "linear", or "step": only the teacher, then only the labels.

    Raises:
        InputError: If there is no such transition.
    """

    name = "continuation"
    inner_is_optional = True
    alone_only = frozenset({"margin"})

    def __init__(
        self,
        inner: Method | None = None,
        max_temperature: int = 20,
        until: float = 0.75,
        margin: float = 1.0,
        transition: str = "linear",
    ) -> None:
        until = positive(until=share(until=until))
        schedule = ContinuationSchedule(
            positive(max_temperature=max_temperature), until, one_of(_TRANSITIONS, transition=transition)
        )
        margin = non_negative(margin=margin)
        super().__init__(_Margin(schedule, margin) if inner is None else inner)
        self.schedule = schedule

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """The schedule and the margin."""
        return {
            "max_temperature": IntDistribution(2, 20),
            "until": FloatDistribution(0.25, 1.0),
            "margin": FloatDistribution(0.0, 10.0),
            "transition": CategoricalDistribution(_TRANSITIONS),
        }

    def label_weight(self, context: BatchContext) -> float:
        """`psi`."""
        return self.schedule.psi(context.progress)

    def logit_loss(
        self, student: Tensor, teacher: Tensor, context: BatchContext, temperature: float | Tensor
    ) -> Tensor:
        """The inner method's of `S` and `phi T`, times `1 - psi`."""
        phi, psi = self.schedule.phi(context.progress), self.schedule.psi(context.progress)
        return (1 - psi) * self.inner.logit_loss(student, phi * teacher, context, temperature)


class _Margin(LogitMethod):
    """What Continuation-KD wraps where it stands alone: the squared distance beyond `m phi`."""

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
