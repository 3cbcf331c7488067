"""A student beside the best reference trained as long: who is better, by how much, and how sure that is.

Who leads the references after a short training need not lead them after a long one, so a result holds for those only
that were trained as long as the student.
"""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from scipy.special import stdtrit

from autokd.database.reading import Reader
from autokd.database.rows import EvaluationRow, Purpose, StudentRow
from autokd.evaluation.task import correct_file
from autokd.searches.problem import Problem
from autokd.searches.students import TrainedStudent
from autokd.searches.tables import counted

__all__ = ["Comparison", "Z", "compare", "describe_references"]

Z = 1.96  # of the 95 % interval of a normal distribution


@dataclass(frozen=True)
class Comparison:
    """A student beside the best of the references that were trained as long.

    Attributes:
        reference: Name of the reference: of those trained as long, the one of the highest validation accuracy.
        split: Samples by which they are compared: "test" after trainings at full length, else "validation".
        epochs: Length of both trainings.
        difference: Accuracy of the student minus that of the reference, in `[-1, 1]`.
        margin: Half-width of the 95 % interval of the difference; None if it is not known.
    """

    reference: str
    split: str
    epochs: float
    difference: float
    margin: float | None

    @property
    def is_better(self) -> bool:
        """Whether the student is better by more than the margin; without one, nothing tells that it is."""
        return self.margin is not None and self.difference > self.margin

    def __str__(self) -> str:
        """The result in words, in percentage points."""
        margin = "" if self.margin is None else f" ± {100 * self.margin:.2f}"
        where = f"({self.split}, {counted(self.epochs, 'epoch')})"
        rival = f"better than the best reference trained as long ({self.reference})"
        if self.is_better:
            return f"{rival} by {100 * self.difference:.2f}{margin} points {where}"
        return f"not {rival}: {100 * self.difference:+.2f}{margin} points {where}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values of all attributes."""
        return {**vars(self), "is_better": self.is_better}


def compare(problem: Problem, store: Reader, search_id: int, student: TrainedStudent) -> Comparison | None:
    """Compare a student with the best reference that was trained as long; None without one, and for references.

    They are compared after trainings at full length, or else at the highest rung that both reached, where the student
    is the one that the search trained.

    The margin has two parts. The finite number of samples is always counted, and without it there is no margin: the
    two networks answer the same samples, so that it is the standard error of the mean of their paired differences (0,
    1 or -1 each); where it is not recorded which samples both got right, it is `sqrt(p (1 - p) / n)` of each. Chance
    in training is counted where several students of the trial were trained for as long: the variance of their
    accuracies, which the reference is taken to share. As so few say little of it, the interval is that of Student's t,
    whose degrees of freedom are those of such a sum by Welch (Biometrika 34, 1947) and Satterthwaite (Biometrics
    Bulletin 2, 1946).

    Args:
        problem: What is searched.
        store: The search's database.
        search_id: Id of the search.
        student: The student.
    """
    if student.trial.reference is not None:
        return None
    runs = list(_complete_runs(store, search_id, student.trial.id))
    for purpose, replicate in _twins(student.row):
        of_purpose = [run for run in runs if run.purpose == purpose]
        family = [run for run in of_purpose if run.trial_id == student.trial.id]
        own = [run for run in family if run.replicate == replicate]
        if purpose == "final":  # not one of another length
            own = [run for run in own if run.row.id == student.evaluation.id]
        rivals = [run for run in of_purpose if run.reference is not None]
        epochs = max({run.row.epochs for run in own} & {run.row.epochs for run in rivals}, default=None)
        if epochs is not None:
            of_length = ([run for run in some if run.row.epochs == epochs] for some in (own, family, rivals))
            return _comparison(problem, *of_length)
    return None


def describe_references(references: Iterable[TrainedStudent], comparison: Comparison | None) -> dict[str, Any]:
    """Plain values of references and of a student's comparison with the best of them."""
    rows = [
        {
            "name": one.trial.reference,
            "params": one.row.params,
            "macs": one.row.macs,
            "activation_bytes": one.row.activation_bytes,
            "model_bytes": one.row.model_bytes,
            "epochs": one.evaluation.epochs,
            "full_length": one.is_final,
            "metrics": one.metrics,
        }
        for one in references
    ]
    return {"references": rows, "comparison": comparison and comparison.to_dict()}


class _Run(NamedTuple):
    """A complete training of a student, or of a reference with its name."""

    trial_id: int
    purpose: Purpose
    replicate: int
    reference: str | None
    row: EvaluationRow


def _complete_runs(store: Reader, search_id: int, trial_id: int) -> Iterator[_Run]:
    """The complete trainings of a trial and of the references: of one name only the latest's, if it has not failed."""
    latest = {row.reference: row for row in store.references(search_id)}
    names = {trial_id: None} | {row.id: name for name, row in latest.items() if row.state != "failed"}
    students = {row.id: row for row in store.students(search_id, trials=list(names), architectures=False)}
    for row in store.evaluations(search_id, trials=list(names)):
        if row.state == "complete":
            student = students[row.student_id]
            yield _Run(row.trial_id, student.purpose, student.replicate, names[row.trial_id], row)


def _twins(student: StudentRow) -> list[tuple[Purpose, int]]:
    """Purpose and replicate of the student itself and, if it was retrained, of the searched one in its place."""
    own = [(student.purpose, student.replicate)]
    return own if student.purpose == "search" else [*own, ("search", 0)]


def _comparison(problem: Problem, own: Sequence[_Run], family: Sequence[_Run], rivals: Sequence[_Run]) -> Comparison:
    """Comparison of the first of `own` with the best of `rivals`; all of one purpose and length."""
    ours, rival = own[0].row, max(rivals, key=lambda run: _accuracy(run.row))
    key, split = ("test_accuracy", "test") if own[0].purpose == "final" else ("accuracy", "validation")
    spread = [_accuracy(run.row, key) for run in family]
    samples = _sampling_variance(problem, ours, rival.row, split, key)
    margin = None if samples is None else _half_width(samples, spread)
    difference = _accuracy(ours, key) - _accuracy(rival.row, key)
    return Comparison(str(rival.reference), split, ours.epochs, difference, margin)


def _half_width(samples: float, spread: Sequence[float]) -> float:
    """Half-width of the difference's 95 % interval, from its sampling variance and accuracies of alike students."""
    trainings = 2 * statistics.variance(spread) if len(spread) > 1 else 0.0
    freedom = (len(spread) - 1) * ((samples + trainings) / trainings) ** 2 if trainings else inf
    return float(stdtrit(freedom, 0.975)) * sqrt(samples + trainings)


def _sampling_variance(
    problem: Problem, own: EvaluationRow, rival: EvaluationRow, split: str, key: str
) -> float | None:
    """Variance of the difference of two accuracies over draws of the samples; None if their number is not known."""
    found = (_correct(problem.evaluations, row, split) for row in (own, rival))
    recorded = [correct for correct in found if correct is not None]
    if len(recorded) == 2:
        return float(np.var(recorded[0].astype(float) - recorded[1])) / len(recorded[0])
    n = len(recorded[0]) if recorded else (problem.facts.samples or {}).get(split)
    return sum(p * (1 - p) for p in (_accuracy(own, key), _accuracy(rival, key))) / n if n else None


def _correct(folder: Path, row: EvaluationRow, split: str) -> NDArray[np.bool_] | None:
    """Which samples the network got right; None if that was not recorded, or the file is gone."""
    try:
        return load_file(correct_file(folder, row.key)).get(split)
    except (OSError, SafetensorError):
        return None


def _accuracy(row: EvaluationRow, key: str = "accuracy") -> float:
    return float((row.metrics or {})[key])
