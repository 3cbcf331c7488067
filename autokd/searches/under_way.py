"""Trainings under way: where they are, and how far, as the checkpoints tell that their workers write."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from autokd.database.rows import SearchRow
from autokd.searches.trial_record import TrialRecord
from autokd.searches.workspace import Workspace

__all__ = ["HowFar", "RunningEvaluation", "evaluations_under_way", "how_far", "seconds_until", "with_how_far"]


@dataclass(frozen=True)
class RunningEvaluation:
    """An evaluation under way.

    Attributes:
        trial: Number of its trial; None for a reference.
        reference: Name of its reference; None for a trial.
        replicate: Number of its student within the trial.
        epochs: Epochs up to which it trains.
        worker: The worker that has it; None while it waits, or if that is not known.
        reason: Why it waits; None if it does not, or if that is not known.
        key: Its key, by which its files are named.
        epochs_done: Epochs up to its last checkpoint. This and the following are None before there is one, and where
            workers do not see the folder of searches.
        images_per_second: Speed of the epoch before that, in training samples; None if that is not known, or it waits.
        ends_at: When its last epoch ends at this speed; None if that is not known, or it waits.
    """

    trial: int | None
    reference: str | None
    replicate: int
    epochs: float
    worker: str | None
    reason: str | None
    key: str
    epochs_done: float | None = None
    images_per_second: float | None = None
    ends_at: datetime | None = None

    @property
    def name(self) -> str:
        """Name of what is trained, such as `trial 4, student 0` or `reference resnet, student 0`."""
        whose = f"trial {self.trial}" if self.reference is None else f"reference {self.reference}"
        return f"{whose}, student {self.replicate}"

    @property
    def seconds_left(self) -> float | None:
        """Estimated time from now until its last epoch ends; None if that is not known."""
        return seconds_until(self.ends_at)


@dataclass(frozen=True)
class HowFar:
    """How far a training was at its last checkpoint.

    Attributes:
        epochs_done: Epochs up to it.
        images_per_second: Speed of the epoch before it, in training samples; None if that is not known.
        ends_at: When the last epoch ends at this speed; None if that is not known.
    """

    epochs_done: float
    images_per_second: float | None = None
    ends_at: datetime | None = None

    @property
    def waiting(self) -> "HowFar":
        """The same where no worker goes on with it, so that it has no speed and no end."""
        return HowFar(self.epochs_done)


def seconds_until(moment: datetime | None) -> float | None:
    """Time from now until a moment, 0 if it has passed; None if it is not known."""
    return None if moment is None else max(0.0, (moment - datetime.now(UTC)).total_seconds())


def how_far(folder: Path, key: str, epochs: float, n_train: int | None) -> HowFar | None:
    """How far an evaluation is, as its checkpoints tell; None if there is none.

    Args:
        folder: Folder of the files of all evaluations.
        key: Its key.
        epochs: Epochs up to which it trains.
        n_train: Number of training samples, if it is known.
    """
    from autokd.evaluation.task import checkpoints  # loads torch
    from autokd.training.checkpoint import furthest

    files = checkpoints(folder, key)
    reached = furthest(files.trunk, files.branch)
    if reached is None:
        return None
    done, speed = min(epochs, reached.epochs), reached.epochs_per_second
    if not speed:
        return HowFar(done)
    ends_at = reached.at + timedelta(seconds=(epochs - done) / speed)
    return HowFar(done, n_train and round(n_train * speed, 1), ends_at)


def evaluations_under_way(record: TrialRecord) -> Iterator[RunningEvaluation]:
    """The evaluations of a trial that are under way, without how far they are."""
    trial, replicates = record.trial, {student.id: student.replicate for student in record.students}
    for row in record.running:
        yield RunningEvaluation(
            trial=None if trial.reference else trial.number,
            reference=trial.reference,
            replicate=replicates[row.student_id],
            epochs=row.epochs,
            worker=row.worker,
            reason=row.reason,
            key=row.key,
        )


def with_how_far(evaluation: RunningEvaluation, search: SearchRow, home: Workspace) -> RunningEvaluation:
    """The evaluation with how far it is, as far as its checkpoints tell.

    Args:
        evaluation: The evaluation.
        search: Its search.
        home: Where its files are.
    """
    n_train = (search.facts.get("samples") or {}).get("train")
    found = how_far(home.evaluations(search.name), evaluation.key, evaluation.epochs, n_train)
    if found is None:
        return evaluation
    return replace(evaluation, **vars(found if evaluation.reason is None else found.waiting))
