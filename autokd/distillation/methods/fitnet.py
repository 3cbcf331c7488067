"""FitNets: the student's features predict the teacher's (Romero et al. 2015, https://arxiv.org/abs/1412.6550)."""

from collections.abc import Callable

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from torch import Tensor, nn
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, Method, Outputs
from autokd.distillation.checks import non_negative, one_of
from autokd.distillation.maps import STAGES, Projection, pairs, same_size

__all__ = ["FitNet", "hint_loss"]


def hint_loss(student: Tensor, teacher: Tensor, regressor: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean squared difference between the student's features after the regressor and the teacher's, the hint.

    Romero et al. 2015, equation 3, without its factor 1/2 and with the mean over all values instead of the sum, as in
    public code (mdistiller). In the paper, the regressor's kernel size adapts the resolution. Here the larger map is
    pooled to the size of the smaller one first, so the two networks need not share strides.

    Args:
        student: Features, `batch x channels x` resolution.
        teacher: Features of the same batch; channels and sizes may differ.
        regressor: Function from the student's channels to the teacher's, at any resolution.

    Raises:
        InputError: If one map is of images and the other of signals.
    """
    own, hint = same_size(student, teacher.detach())
    return F.mse_loss(regressor(own), hint)


class FitNet(Method):
    """`CE + weight MSE(r(f_S), f_T)`, where r is a trained convolution of kernel size 1 with batch normalisation.

    In the paper and in public code the hint is a middle layer, hence the default; the last pair, or the sum over all
    pairs, is ours. As in public code, the hint is used during the whole training together with the labels, whereas the
    paper first trains with the hint only. In public code r ends with a ReLU, as its features do; our features may be
    negative, so r has none.

    The loss has a curvature of `2 weight / channels` along the biases of r's normalisation, and SGD with a Nesterov
    momentum m diverges where that exceeds `2 (1 + m) / ((1 + 2 m) learning rate)`. With m = 0.9 and a rate of 0.05,
    a weight of 100 wants a hint of at least 8 channels.

    Args:
        weight: Weight of the hint, at least 0; 100 in public code, the paper gives none. The range is ours.
        stages: Pairs of maps to use: "middle", "last" or "all".
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
        """Distributions of weight and stages."""
        return {"weight": FloatDistribution(1.0, 1000.0, log=True), "stages": CategoricalDistribution(STAGES)}

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Create a regressor for each pair of maps."""
        chosen = [same_size(*pair) for pair in pairs(student, teacher, self.stages)]
        self.regressors = nn.ModuleList(
            Projection(own.shape[1], hint.shape[1], kernel=1, rank=own.ndim - 2) for own, hint in chosen
        ).to(student.logits.device)

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """`weight MSE`, summed over the pairs."""
        chosen = pairs(student, teacher, self.stages)
        losses = [hint_loss(*pair, regressor) for pair, regressor in zip(chosen, self.regressors, strict=True)]
        return self.weight * sum(losses[1:], start=losses[0])
