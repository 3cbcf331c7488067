"""Densely guided distillation (Son et al. 2021, https://arxiv.org/abs/2009.08825): all larger networks teach."""

from collections.abc import Sequence

import torch
from optuna.distributions import BaseDistribution, IntDistribution

from autokd.distillation.base import BatchContext, Method, Outputs
from autokd.distillation.checks import whole
from autokd.distillation.panels.base import PanelWrapper

__all__ = ["DGKD"]


class DGKD(PanelWrapper):
    """Sum of the inner method's losses with respect to teacher and assistants, some of which are left out by chance.

    Each batch leaves out others: exactly `drop` of the K + 1 teachers, or all but one if there are fewer. The weight of
    the labels is the inner method's; the authors' code has none.

    Args:
        inner: A method that compares logits.
        drop: Number of teachers that a batch leaves out, at least 0; the default of 1 and the range, 0 to 3, are ours.
    """

    name = "dgkd"

    def __init__(self, inner: Method, drop: int = 1) -> None:
        super().__init__(inner)
        self.drop = whole(0, drop=drop)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distribution of the number of teachers that are left out."""
        return {"drop": IntDistribution(0, 3)}

    def teachers(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Sequence[Outputs]:
        """Those of the batch, drawn from torch's global generator."""
        panel = [teacher, *teacher.others]
        n_kept = max(1, len(panel) - self.drop)
        return [panel[place] for place in sorted(torch.randperm(len(panel))[:n_kept].tolist())]
