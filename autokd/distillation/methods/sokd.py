"""Semi-online distillation: a part of the teacher learns beside the student (Liu et al. 2021).

"Semi-Online Knowledge Distillation", https://arxiv.org/abs/2111.11747.
"""

from collections.abc import Sequence

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from torch import Tensor, nn

from autokd.distillation.base import BatchContext, Method, Outputs, Wrapper
from autokd.distillation.checks import non_negative, one_of, positive, share, whole
from autokd.distillation.feature_extractor import FeatureExtractor
from autokd.distillation.layers import default_layers, has_weights
from autokd.distillation.methods.kd import kd_loss
from autokd.distillation.recruits import Recruits
from autokd.distillation.teacher_copy import TeacherCopy, modules_after, redraw
from autokd.errors import InputError

__all__ = ["SOKD"]

BRIDGES = "teacher", "random"
TRUNK_NORMS = "frozen", "drifting"


class SOKD(Wrapper):
    """Student S and companion A, a copy of the teacher T whose last part, the bridge, learns with the student.

    With `KD(a <- b) = t^2 KL(p_b || p_a)`, through which no gradient flows into b, training minimises the sum of

        L_S = CE(S) + weight KD(S <- A)
        L_A = CE(A) + weight (KD(A <- T) + KD(A <- S))

    in one step for both networks. The part of A before the bridge, the trunk, keeps the teacher's weights. Departures
    from the authors' code: where the bridge begins is counted in layers, and both `bridge = "teacher"` and
    `trunk_norm = "frozen"` are ours. There, the bridge's first weights are effectively random, and batch norms of the
    trunk drift. Ranges are ours, too: temperature 1 to 10 and weight 0.1 to 10 (both log).

    With an inner method, as in `sokd+at`, the student's loss has that method's, too, with A's feature maps in place of
    the teacher's, whose shapes are the same.

    Args:
        inner: A method that compares feature maps, for one view of the samples, and does not choose layers.
        temperature: `t`, positive and finite; 4 in the paper.
        weight: Weight of each divergence, at least 0; 1 in the paper.
        bridge: First weights of the bridge: those of the "teacher", or "random" ones.
        bridge_from: The bridge is what runs after this one of the teacher's layers, counted from the end, at least 1;
            the layers are those that `teacher.layers` names, by default the last module of each resolution. 2 is the
            end of the last but one resolution; 1 leaves only what follows the last one. The range is 1 to 2.
        trunk_norm: Whether batch norms of the trunk are "frozen", or "drifting": they then normalise by the batch.
        companion_rate: Factor on the learning rate of the companion, in `[0, 1]`.

    Raises:
        InputError: If a hyper-parameter is out of range, or the inner method is not one of those.
    """

    name = "sokd"
    inner_is_optional = True
    inner_needs = frozenset({"features"})

    def __init__(
        self,
        inner: Method | None = None,
        temperature: float = 4.0,
        weight: float = 1.0,
        bridge: str = "teacher",
        bridge_from: int = 2,
        trunk_norm: str = "frozen",
        companion_rate: float = 1.0,
    ) -> None:
        if inner is not None and not _can_be_inner(inner):
            raise InputError(
                f"distillation method {self.name!r} wraps one that compares feature maps of one view at layers that it "
                f"does not choose, but {inner.name!r} does not."
            )
        super().__init__(_LogitsOnly() if inner is None else inner)
        self.n_companions, self.copies_teacher = 1, True
        self.temperature = positive(temperature=temperature)
        self.weight = non_negative(weight=weight)
        self.bridge = one_of(BRIDGES, bridge=bridge)
        self.bridge_from = whole(1, bridge_from=bridge_from)
        self.trunk_norm = one_of(TRUNK_NORMS, trunk_norm=trunk_norm)
        self.companion_rate = share(companion_rate=companion_rate)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of temperature and weight, and of what decides how the companion learns."""
        return {
            "temperature": FloatDistribution(1.0, 10.0, log=True),
            "weight": FloatDistribution(0.1, 10.0, log=True),
            "bridge": CategoricalDistribution(BRIDGES),
            "bridge_from": IntDistribution(1, 2),
            "trunk_norm": CategoricalDistribution(TRUNK_NORMS),
            "companion_rate": FloatDistribution(0.0, 1.0),
        }

    def recruit(self, recruits: Recruits) -> None:
        """Make the companion.

        Raises:
            InputError: If the teacher has too few layers, no weights run after the one where the trunk ends, or those
                of the bridge cannot be drawn again.
        """
        network = recruits.copied()
        layers = recruits.layers or default_layers(network, recruits.samples)
        end = self._end_of_trunk(layers)
        bridge = modules_after(network, end, recruits.samples)
        if not any(has_weights(network.get_submodule(name)) for name in bridge):
            raise InputError(
                f"`bridge_from` = {self.bridge_from} is the teacher's layer {end!r}, after which no weights can learn."
            )
        if self.bridge == "random":
            redraw(network, bridge, 'bridge = "random"')
        learns, drifts = self.companion_rate > 0, self.trunk_norm == "drifting"
        self._companions = nn.ModuleList([TeacherCopy(network, bridge if learns else (), learns and drifts)])
        self._feature_extractor = FeatureExtractor(network, self.needs, layers)

    def companion_outputs(self, samples: Tensor) -> tuple[Outputs, ...]:
        """Outputs of the companion, with the feature maps that an inner method compares."""
        (companion,) = self.companions
        return (self._feature_extractor.outputs(companion(samples)),)

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """What the student learns from the companion, and the companion's loss."""
        (companion,) = context.companions
        pairs = (student, companion), (companion, teacher), (companion, student)  # pupil, tutor
        divergences = [kd_loss(pupil.logits, tutor.logits, self.temperature) for pupil, tutor in pairs]
        losses = context.cross_entropy(companion.logits) + self.weight * torch.stack(divergences).sum()
        return losses + self.inner.teacher_loss(student, companion, context)

    def _end_of_trunk(self, layers: Sequence[str]) -> str:
        """The layer after which the bridge begins."""
        if len(layers) < self.bridge_from:
            raise InputError(
                f"`bridge_from` = {self.bridge_from} wants as many of the teacher's layers, but it has "
                f"{', '.join(map(repr, layers)) or 'none'}: lower `bridge_from`, or name layers in `teacher.layers`."
            )
        return layers[-self.bridge_from]


class _LogitsOnly(Method):
    """Inner method if no other is given: nothing is compared beyond the logits."""

    name = "logits-only"

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        return {}

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        return student.logits.new_zeros(())


def _can_be_inner(method: Method) -> bool:
    is_plain = method.n_views == 1 and not (method.chooses_layers or method.n_companions)
    return is_plain and SOKD.inner_needs <= method.needs
