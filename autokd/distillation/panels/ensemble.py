"""One teacher from the weighted mean of all (arXiv 2206.12005, whose weights differential evolution finds).

    w_k  weight of teacher k, at least 0; they add to 1
    z_k  its logits
    t    temperature at which the means are taken
    q    sum_k w_k softmax(z_k / t)

The full text was not available: the objective of the weights and their form are our interpretation [ours].
"""

from collections.abc import Mapping, Sequence

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution
from torch import Tensor

from autokd.distillation.base import BatchContext, LogitMethod, Method, Outputs, Wrapper
from autokd.distillation.checks import one_of
from autokd.distillation.panels.base import PanelWrapper
from autokd.errors import InputError

__all__ = ["Ensemble"]

_RULES = ("de", "uniform", "nll")


class Ensemble(PanelWrapper):
    """The inner method with the logits `t log q`, whose softmax at temperature `t` is the weighted mean `q`.

    `t` is the inner method's temperature if that is fixed, else 1.

    Args:
        inner: A method that compares logits.
        weights: "uniform", the same for all; or a rule whose weights `weigh` must tell, without which all weigh the
            same, too: "de" for those of the highest accuracy on validation samples, or "nll" for weights proportional
            to the mean probability, geometric, of the right class; see `panel_weights`.
    """

    name = "ensemble"
    weighs_panel = True

    weights: Tensor

    def __init__(self, inner: Method, weights: str = "de") -> None:
        super().__init__(inner)
        self.rule = one_of(_RULES, weights=weights)
        self._temperature = _fixed_temperature(self.inner)
        self._found: Sequence[float] | None = None

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distribution of the rule of the weights."""
        return {"weights": CategoricalDistribution(_RULES)}

    def weigh(self, weights: Mapping[str, Sequence[float]]) -> None:
        """Take the weights of the own rule."""
        self._found = weights.get(self.rule)

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Prepare the inner method and hold the weights.

        Raises:
            InputError: If the teacher has no assistants, or there are not as many weights as teachers.
        """
        super().prepare(student, teacher, labels)
        n = 1 + len(teacher.others)
        found = self._found or [1 / n] * n
        if len(found) != n:
            raise InputError(f"teacher and assistants need {n} weights, but got {len(found)}.")
        self.register_buffer("weights", teacher.logits.new_tensor(found))

    def teachers(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Sequence[Outputs]:
        """The one teacher that all make together."""
        t = self._temperature
        logits = torch.stack([teacher.logits, *(other.logits for other in teacher.others)])
        shares = self.weights.log()[:, None, None] + (logits / t).log_softmax(2)
        return [Outputs(t * shares.logsumexp(0))]


def _fixed_temperature(method: Method) -> float:
    """The temperature at which a method compares logits; 1 if a wrapper puts another in its place."""
    while isinstance(method, Wrapper):
        if "temperature" in method.overridden:
            return 1.0
        method = method.inner
    return method.temperature if isinstance(method, LogitMethod) else 1.0
