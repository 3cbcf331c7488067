"""BD-KD with a teacher that learns at the same time (Amara et al. 2022), see `bdkd`."""

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from torch import Tensor, nn

from autokd.distillation.base import BatchContext, Method, Outputs
from autokd.distillation.checks import non_negative, one_of, share
from autokd.distillation.methods.bdkd import BDKD
from autokd.distillation.methods.kd import kd_loss
from autokd.distillation.recruits import Recruits
from autokd.distillation.teacher_copy import TeacherCopy, redraw

__all__ = ["BDKDOnline"]

STARTS = "fresh", "trained"


class BDKDOnline(Method):
    """Student S and companion A, a copy of the teacher, which learn at the same time, each from the other.

    Training minimises the sum of the student's loss, that of `bd-kd` with A as the teacher, and `bdkd_teacher_loss` of
    A, in one step for both networks; no gradient flows from one's loss into the other. The teacher itself teaches only
    by the weights with which A starts, if it does. Ranges and defaults of what `bd-kd` has, too, are the same; the
    range of `teacher_weight`, 0.1 to 10 (log), and `start = "trained"` are ours.

    Args:
        temperature: `t`, positive and finite.
        delta: Weight of the divergence emphasised for a sample, at least 1; the weight of the other one is 1.
        weight: Weight of both divergences in the student's loss, at least 0.
        start: First weights of the companion: "fresh" ones, or those of the "trained" teacher.
        teacher_weight: Weight of the divergence from the student in the companion's loss, at least 0.
        companion_rate: Factor on the learning rate of the companion, in `[0, 1]`.
    """

    name = "bd-kd-online"
    n_companions = 1
    copies_teacher = True

    def __init__(
        self,
        temperature: float = 4.0,
        delta: float = 2.0,
        weight: float = 1.0,
        start: str = "fresh",
        teacher_weight: float = 1.0,
        companion_rate: float = 1.0,
    ) -> None:
        super().__init__()
        self.divergence = BDKD(temperature, delta, weight)
        self.start = one_of(STARTS, start=start)
        self.teacher_weight = non_negative(teacher_weight=teacher_weight)
        self.companion_rate = share(companion_rate=companion_rate)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of those of `bd-kd`, and of what decides how the companion learns."""
        return BDKD.distributions() | {
            "start": CategoricalDistribution(STARTS),
            "teacher_weight": FloatDistribution(0.1, 10.0, log=True),
            "companion_rate": FloatDistribution(0.0, 1.0),
        }

    def recruit(self, recruits: Recruits) -> None:
        """Make the companion.

        Raises:
            InputError: If its weights cannot be drawn anew.
        """
        network = recruits.copied()
        names = [name for name, _ in network.named_modules()]
        if self.start == "fresh":
            redraw(network, names, 'start = "fresh"')
        self._companions = nn.ModuleList([TeacherCopy(network, names if self.companion_rate else ())])

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """What the student learns from the companion, and the companion's loss."""
        (companion,) = context.companions
        from_student = kd_loss(companion.logits, student.logits, self.divergence.temperature)
        theirs = context.cross_entropy(companion.logits) + self.teacher_weight * from_student
        return self.divergence.teacher_loss(student, companion, context) + theirs
