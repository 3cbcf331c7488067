"""Metrics by which trials can be compared below the last rung."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ACCURACY", "FIDELITY_METRICS", "FidelityMetric"]


@dataclass(frozen=True)
class FidelityMetric:
    """A metric measured at every rung.

    Attributes:
        name: Name among the metrics of an evaluation.
        sign: 1 if larger is better, -1 if smaller is better.
        needs_teacher: Whether it needs the teacher's outputs for the validation split.
    """

    name: str
    sign: int
    needs_teacher: bool = False

    def oriented(self, values: Mapping[int, float]) -> dict[int, float]:
        """Values of the metric by rung, negated if smaller is better."""
        return {rung: self.sign * value for rung, value in values.items()}


ACCURACY = FidelityMetric("accuracy", 1)

FIDELITY_METRICS = {
    each.name: each
    for each in (
        ACCURACY,
        FidelityMetric("loss", -1),
        FidelityMetric("teacher_kl", -1, needs_teacher=True),
        FidelityMetric("agreement", 1, needs_teacher=True),
        FidelityMetric("training_cross_entropy", -1),
        # Its scale depends on the method and its settings: it is comparable only if these are fixed.
        FidelityMetric("training_loss", -1),
    )
}
