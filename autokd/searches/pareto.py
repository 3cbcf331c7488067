"""The students that are best for their size: no other one, trained for as long, is as accurate and as small."""

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import numpy as np

from autokd.optimizers.hypervolume import front
from autokd.searches.students import TrainedStudent

__all__ = ["AGAINST", "Against", "pareto_fronts"]

Against = Literal["params", "macs", "activation_bytes", "memory_bytes"]
AGAINST: tuple[Against, ...] = get_args(Against)
"""Costs that the accuracy can be set against."""


def pareto_fronts(students: Iterable[TrainedStudent], against: Against = "params") -> list[TrainedStudent]:
    """Non-dominated students of the highest rung and of the trainings at full length, by validation accuracy and cost.

    Only students that were trained for the same number of epochs are compared, so that there is a front for each
    length. The front of the longest trainings comes first; in each, the smallest student.

    Args:
        students: The candidates, references among them.
        against: Cost that is to be small.
    """
    groups: dict[tuple[bool, float], list[TrainedStudent]] = {}
    for student in students:
        groups.setdefault((student.is_final, student.evaluation.epochs), []).append(student)
    highest = max((length for is_final, length in groups if not is_final), default=0.0)
    kept = sorted(group for group in groups if group[0] or group[1] == highest)
    return [student for group in reversed(kept) for student in _front(groups[group], against)]


def _front(students: Sequence[TrainedStudent], against: Against) -> list[TrainedStudent]:
    ordered = sorted(students, key=lambda student: (student.cost(against), -student.metrics["accuracy"]))
    values = np.array([(student.metrics["accuracy"], -student.cost(against)) for student in ordered], dtype=np.float64)
    return [student for student, is_best in zip(ordered, front(values), strict=True) if is_best]
