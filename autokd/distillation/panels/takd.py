"""Teacher assistants (Mirzadeh et al. 2020, https://arxiv.org/abs/1902.03393): the smallest assistant teaches."""

from collections.abc import Sequence

from optuna.distributions import BaseDistribution

from autokd.distillation.base import BatchContext, Outputs
from autokd.distillation.panels.base import PanelWrapper

__all__ = ["TAKD"]


class TAKD(PanelWrapper):
    """The inner method with the smallest assistant in place of the teacher.

    It is the last step of the paper's chain, in which every network learns from the one before it; how the assistants
    were trained is up to the caller. Unlike the authors' code, `kd` averages the divergence over the batch alone, and
    not over the classes, too.

    Args:
        inner: A method that compares logits.
    """

    name = "takd"

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Empty: the inner method has hyper-parameters, the choice of the teacher has none."""
        return {}

    def teachers(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Sequence[Outputs]:
        """The smallest assistant."""
        return [teacher.others[-1]]
