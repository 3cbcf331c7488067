"""FitNets: the student's features foretell the teacher's (Romero et al. 2015, https://arxiv.org/abs/1412.6550)."""

from collections.abc import Callable

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from torch import Tensor, nn
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, Method, Outputs
from autokd.distillation.checks import non_negative, one_of
from autokd.distillation.maps import STAGES, Projection, pairs, same_size

__all__ = ["FitNet", "hint_loss"]


def hint_loss(student: Tensor, teacher: Tensor, regressor: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean squared difference of the regressed features from the teacher's, the hint.

    Romero et al. 2015, equation 3, without its factor 1/2 and with the mean over all values in place of the sum, as
    public code has it (mdistiller). Unlike the paper, whose regressor has a kernel that makes the sizes meet, the
    larger map is pooled to the size of the smaller one first, so the two networks need not share strides.

    Args:
        student: Features, `batch x channels x` resolution.
        teacher: Features of the same batch; channels and sizes may differ.
        regressor: From the student's channels to the teacher's, at whatever size.

    Raises:
        InputError: If one is of images and the other of signals.
    """
    own, hint = same_size(student, teacher.detach())
    return F.mse_loss(regressor(own), hint)


class FitNet(Method):
    """`CE + weight MSE(r(f_S), f_T)`; r is a trained convolution of kernel 1 with batch normalisation.

    The paper's hint is a middle layer and so is public code's, hence the default; the last pair or all pairs, summed,
    are ours. As in public code the hint is followed through the whole training, next to the labels, where the paper
    trains on the hint alone first. That code ends r in a ReLU, as its features do; ours may be negative, so r has none.

    Args:
        weight: Of the hint, not negative; 100 is public code's, the paper gives none. The range is ours.
        stages: Which pairs of maps: "middle", "last" or "all".
    """

    name = "fitnet"
    needs = frozenset({"features"})

    def __init__(self, weight: float = 100.0, stages: str = "middle") -> None:
        super().__init__()
        self.weight = non_negative(weight=weight)
        self.stages = one_of(STAGES, stages=stages)
        self.regressors = nn.ModuleList()

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Weight and stages."""
        return {"weight": FloatDistribution(1.0, 1000.0, log=True), "stages": CategoricalDistribution(STAGES)}

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Make a regressor for each pair of maps."""
        shown = [same_size(*pair) for pair in pairs(student, teacher, self.stages)]
        self.regressors = nn.ModuleList(
            Projection(own.shape[1], hint.shape[1], kernel=1, rank=own.ndim - 2) for own, hint in shown
        ).to(student.logits.device)

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """`weight MSE`, summed over the pairs."""
        chosen = pairs(student, teacher, self.stages)
        losses = [hint_loss(*pair, regressor) for pair, regressor in zip(chosen, self.regressors, strict=True)]
        return self.weight * sum(losses[1:], start=losses[0])
