"""CES-KD (Amara et al. 2022, https://arxiv.org/abs/2209.07606): one expert for each sample.

Harder samples are taught by larger networks, which join in as training goes on. This implementation follows the paper's
abstract, as the full text was not available: how hard a sample is, and how experts become eligible, is our
interpretation [ours].

    K    number of experts: the assistants and the teacher, from the smallest to the largest
    B    size of the batch
    r_i  rank of sample i in the batch by difficulty, 0 to B - 1, from the easiest; ties by position
    k_i  expert that the sample asks for, floor(K r_i / B)
    K_e  number of eligible experts, 1 + floor((K - 1) min(1, progress / pace)); expert min(k_i, K_e - 1) teaches
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from torch import Tensor

from autokd.distillation.base import BatchContext, Method, Outputs
from autokd.distillation.checks import one_of, positive, share
from autokd.distillation.panels.base import PanelWrapper

__all__ = ["CES"]

_SCORERS = ("smallest", "student", "disagreement")


class CES(PanelWrapper):
    """The inner method with one expert for each sample: a small one for easy samples, a large one for hard samples.

    With mixup the label of larger weight counts. Defaults and ranges are ours.

    Args:
        inner: A method that compares logits.
        pace: Share of training after which all experts are eligible, in `(0, 1]`; with 1, the teacher itself never is.
            Range 0.1 to 1.
        scorer: What says how hard a sample is: the cross-entropy of the "smallest" expert or of the "student", or
            "disagreement", the share of experts that are wrong.
    """

    name = "ces"

    def __init__(self, inner: Method, pace: float = 0.5, scorer: str = "smallest") -> None:
        super().__init__(inner)
        self.pace = positive(pace=share(pace=pace))
        self.scorer = one_of(_SCORERS, scorer=scorer)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of pace and scorer."""
        return {"pace": FloatDistribution(0.1, 1.0), "scorer": CategoricalDistribution(_SCORERS)}

    def teachers(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Sequence[Outputs]:
        """One teacher that says of each sample what its expert does."""
        experts = torch.stack([*(other.logits for other in reversed(teacher.others)), teacher.logits])
        n_experts, n_samples = experts.shape[:2]
        ranks = self._difficulty(student.logits, experts, context.labels).argsort(stable=True).argsort()
        n_eligible = 1 + int((n_experts - 1) * min(1.0, context.progress / self.pace))
        chosen = (n_experts * ranks // n_samples).clamp(max=n_eligible - 1)
        return [Outputs(experts[chosen, torch.arange(n_samples, device=chosen.device)])]

    def _difficulty(self, student: Tensor, experts: Tensor, labels: Tensor) -> Tensor:
        """How hard each sample is, `batch`."""
        if self.scorer == "disagreement":
            return (experts.argmax(2) != labels).double().mean(0)
        scorer = student if self.scorer == "student" else experts[0]
        return F.cross_entropy(scorer.detach(), labels, reduction="none")
