"""Runs of `make search`, whose recipe is `fashion-mnist`: one line of JSON a run."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where benchmarks keep what they share

from lines import read_lines

__all__ = ["Run", "of_best", "read"]


@dataclass(frozen=True)
class Run:
    """A run and what came out. Accuracies are in percent.

    Attributes:
        date: On which it ran, as `YYYY-MM-DD`.
        recipe: What the recipe had new since the runs before it.
        seed: Of the search.
        seconds: Its wall time.
        with_installation: Whether installing is a part of that.
        processor: Name of the processor.
        epochs: Length of the training at full length.
        images_per_second: Speed at which that was planned; None if unknown.
        student: Space and ratios of the student's stages.
        weight: Of the distillation loss.
        validation: Accuracy of the student on the validation split.
        test: The same on the test split.
        teacher: Accuracy of the teacher on the test split.
        reference: Name of the best reference trained as long.
        reference_validation: Its accuracy on the validation split; None if unknown.
        reference_test: The same on the test split.
        difference: Student less reference on the test split, in points.
        margin: Half of the interval of 95 % of that.
        phases: Seconds of each part.
        remark: What else ran on the machine, and the like.
    """

    date: str
    recipe: str
    seed: int
    seconds: float
    with_installation: bool
    processor: str
    epochs: float
    images_per_second: float | None
    student: str
    weight: float
    validation: float
    test: float
    teacher: float
    reference: str
    reference_validation: float | None
    reference_test: float | None
    difference: float
    margin: float
    phases: Mapping[str, float] = field(default_factory=dict)
    remark: str = ""

    @property
    def below(self) -> float:
        """How many points the student is below the teacher on the test split."""
        return self.teacher - self.test


def read(*files: Path) -> list[Run]:
    """All runs of some files, the oldest first."""
    return [Run(**fields) for file in files for fields in read_lines(file)]


def of_best(best: Mapping[str, Any], **measured: Any) -> Run:
    """The run whose winner is this.

    Args:
        best: What `autokd best NAME -o json` prints of a search whose references were trained at full length, too.
        measured: The other fields of the run.
    """
    compared, metrics = best["comparison"], best["metrics"]
    reference = next(each for each in best["references"] if each["name"] == compared["reference"])
    return Run(
        epochs=best["epochs"],
        images_per_second=best["full_length"]["images_per_second"],
        student=_student(best["parameters"]),
        weight=round(best["distillation"]["weight"], 2),
        validation=_percent(metrics["accuracy"]),
        test=_percent(metrics["test_accuracy"]),
        teacher=_percent(best["teacher_test_metrics"]["accuracy"]),
        reference=compared["reference"],
        reference_validation=_percent(reference["metrics"]["accuracy"]),
        reference_test=_percent(reference["metrics"]["test_accuracy"]),
        difference=_percent(compared["difference"]),
        margin=_percent(compared["margin"]),
        phases=measured.pop("phases", {}) | best["seconds"],
        **measured,
    )


def _student(parameters: Mapping[str, Any]) -> str:
    """Space and values, such as `like-teacher 1, 1, 1`."""
    space = parameters["space"]
    values = [value for name, value in parameters.items() if name.startswith(f"{space}.")]
    return f"{space} {', '.join(f'{value:.3g}' if isinstance(value, float) else str(value) for value in values)}"


def _percent(share: float) -> float:
    return round(100 * share, 2)
