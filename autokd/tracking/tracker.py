"""What a tracker is told of a search."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from autokd.database.rows import EvaluationRow, SearchRow, StudentRow, TrialRow

__all__ = ["Measurement", "Tracker", "name_of"]


@dataclass(frozen=True)
class Measurement:
    """An evaluation that ended well.

    Attributes:
        trial: Its trial or reference.
        student: Its student.
        row: The evaluation, with metrics.
    """

    trial: TrialRow
    student: StudentRow
    row: EvaluationRow

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics by the names under which they are tracked.

        Those of full-length trainings stand behind `final/`, those of the second and further students of a trial
        behind `student1/` and so on. `epochs` is the length of the training.
        """
        prefix = "final/" if self.student.purpose == "final" else ""
        prefix += f"student{self.student.replicate}/" if self.student.replicate else ""
        named = {"epochs": self.row.epochs, **(self.row.metrics or {})}
        return {f"{prefix}{name}": float(value) for name, value in named.items()}


class Tracker(Protocol):
    """Keeps a copy of what happens to one search. Each method may be called again with the same: nothing is lost then.

    Any exception ends the tracking of the session, not the search.
    """

    @property
    def seen(self) -> int:
        """Id of the newest event that an earlier session tracked; 0 if there was none."""

    def opened(self, trial: TrialRow) -> None:
        """A trial or reference was opened."""

    def measured(self, measured: Measurement) -> None:
        """An evaluation ended well."""

    def ended(self, trial: TrialRow, students: Sequence[StudentRow]) -> None:
        """A trial or reference ended; its students are those of the search."""

    def changed(self, search: SearchRow) -> None:
        """The status of the search changed."""

    def saw(self, event: int) -> None:
        """All events up to this id were told."""

    def close(self) -> None:
        """Write what is not written yet."""


def name_of(trial: TrialRow) -> str:
    """Name of a trial or reference, such as `trial-0007`; names of trials sort by number.

    References that train the student of a trial again are named by it, too, such as `no-teacher-0007`: a search that
    goes on to another best student has several.
    """
    if trial.reference is None:
        return f"trial-{trial.number:04}"
    return f"{trial.reference}-{trial.parameters['trial']:04}" if "trial" in trial.parameters else trial.reference
