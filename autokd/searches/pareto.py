"""The students that are best for their size: no other one, trained for as long, is as accurate and as small."""

from collections.abc import Iterable, Sequence

import numpy as np

from autokd.config.objectives import Against
from autokd.optimizers.hypervolume import front
from autokd.searches.students import TrainedStudent

__all__ = ["pareto_fronts"]


def pareto_fronts(students: Iterable[TrainedStudent], *against: Against) -> list[TrainedStudent]:
    """Non-dominated students of the highest rung and of the trainings at full length, by validation accuracy and cost.

    Only students that were trained for the same number of epochs are compared, so that there is a front for each
    length. The front of the longest trainings comes first; in each, the student of the smallest cost.

    Args:
        students: The candidates, references among them.
        against: Costs that are to be small; the parameters if there is none.
    """
    groups: dict[tuple[bool, float], list[TrainedStudent]] = {}
    for student in students:
        groups.setdefault((student.is_final, student.evaluation.epochs), []).append(student)
    highest = max((length for is_final, length in groups if not is_final), default=0.0)
    kept = sorted(group for group in groups if group[0] or group[1] == highest)
    return [student for group in reversed(kept) for student in _front(groups[group], against or ("params",))]


def _front(students: Sequence[TrainedStudent], against: Sequence[Against]) -> list[TrainedStudent]:
    costs = {student.row.id: [student.cost(name) for name in against] for student in students}
    ordered = sorted(students, key=lambda student: (costs[student.row.id], -student.metrics["accuracy"]))
    rows = [(student.metrics["accuracy"], *(-cost for cost in costs[student.row.id])) for student in ordered]
    values = np.array(rows, dtype=np.float64).reshape(len(rows), 1 + len(against))
    return [student for student, is_best in zip(ordered, front(values), strict=True) if is_best]
