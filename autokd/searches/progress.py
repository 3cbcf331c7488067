"""Progress of a search, computed from its rows for all interfaces."""

import statistics
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from autokd.database.rows import SearchRow, StudentRow
from autokd.searches.references import latest_references
from autokd.searches.trial_record import TrialRecord

__all__ = [
    "Progress",
    "ReferenceProgress",
    "Training",
    "best_trial_record",
    "measure_progress",
    "ranked",
    "smallest_student",
]

CHANCE_MARGIN = 1.2
"""A student with less than this many times the balanced accuracy of guessing, 1 / classes, has learnt nothing."""


@dataclass(frozen=True)
class ReferenceProgress:
    """Progress of a reference at one moment.

    Attributes:
        name: Of the reference.
        state: "running", "complete" or "failed".
        accuracy: Its validation accuracy at the highest rung that it reached; None before the first.
        epochs: Epochs trained up to that rung.
        params: Its parameters; None if it does not fit the budget.
        macs: Its multiply-accumulates.
        reason: Why it failed.
    """

    name: str
    state: str
    accuracy: float | None
    epochs: float | None
    params: int | None
    macs: int | None
    reason: str | None


@dataclass(frozen=True)
class Progress:
    """Progress of a search at one moment.

    Attributes:
        name: Of the search.
        status: Of the search.
        trials: Trials asked for.
        complete: Trials that climbed to the last rung.
        pruned: Trials stopped at an earlier rung.
        failed: Trials that could not be trained.
        running: Trials under way.
        best_trial: Number of the trial that was observed best so far; None before there is one.
        best_accuracy: Its validation accuracy.
        best_params: Parameters of its smallest student.
        best_macs: Multiply-accumulates of that student.
        best_activation_bytes: Peak size of its activations of one sample.
        teacher_accuracy: The teacher's validation accuracy.
        teacher_params: The teacher's parameters, where it has any.
        teacher_activation_bytes: Peak size of its activations, where they could be measured.
        seconds_left: Estimated time until the last trial ends; None before one ended.
        reasons: Why trials failed, with their number.
        at_chance: Complete and pruned trials whose students were hardly better than guessing when they ended.
        references: The references, in the order in which they were opened.
    """

    name: str
    status: str
    trials: int
    complete: int
    pruned: int
    failed: int
    running: int
    best_trial: int | None
    best_accuracy: float | None
    best_params: int | None
    best_macs: int | None
    best_activation_bytes: int | None
    teacher_accuracy: float
    teacher_params: int | None
    teacher_activation_bytes: int | None
    seconds_left: float | None
    reasons: dict[str, int]
    at_chance: int = 0
    references: tuple[ReferenceProgress, ...] = ()

    @property
    def finished(self) -> int:
        """Trials that ended in any way."""
        return self.complete + self.pruned + self.failed


@dataclass(frozen=True)
class Training:
    """Progress of a retraining at one moment.

    Attributes:
        replicate: Number of its student.
        reference: Name of the reference that is trained; None for a student of the best family.
        params: The student's parameters.
        state: "running", "complete" or "failed".
        epochs: Epochs asked for.
        epochs_done: Epochs whose checkpoint is on disk.
        metrics: What was measured at its end.
        reason: Why it failed.
    """

    replicate: int
    params: int
    state: str
    epochs: float
    epochs_done: float
    metrics: dict[str, float]
    reason: str | None
    reference: str | None = None

    @property
    def name(self) -> str:
        """Name of what is trained, such as `student 0` or `reference resnet`."""
        return f"student {self.replicate}" if self.reference is None else f"reference {self.reference}"


def measure_progress(
    search: SearchRow, trial_records: Collection[TrialRecord], references: Collection[TrialRecord] = ()
) -> Progress:
    """The progress of a search.

    Args:
        search: The search.
        trial_records: Its trials.
        references: Its references, in the order in which they were opened.
    """
    states = Counter(record.trial.state for record in trial_records)
    best = best_trial_record(trial_records)
    student = smallest_student(best.students) if best else None
    return Progress(
        name=search.name,
        status=search.status,
        trials=search.config["trials"],
        complete=states["complete"],
        pruned=states["pruned"],
        failed=states["failed"],
        running=states["running"],
        best_trial=best.trial.number if best else None,
        best_accuracy=best.best_value if best else None,
        best_params=student.params if student else None,
        best_macs=student.macs if student else None,
        best_activation_bytes=student.activation_bytes if student else None,
        teacher_accuracy=search.facts["teacher_metrics"]["accuracy"],
        teacher_params=search.facts["teacher_params"],
        teacher_activation_bytes=search.facts.get("teacher_activation_bytes"),
        seconds_left=_seconds_left(search, trial_records),
        reasons=dict(
            Counter(record.trial.reason or "unknown" for record in trial_records if record.trial.state == "failed")
        ),
        at_chance=sum(_is_at_chance(record, search.facts["classes"]) for record in trial_records),
        references=tuple(_reference(name, record) for name, record in latest_references(references).items()),
    )


def ranked(trial_records: Collection[TrialRecord]) -> list[TrialRecord]:
    """Trials with a value, the best first: by highest rung, then by value there, then by number."""
    valued = [record for record in trial_records if record.values and record.trial.state != "failed"]
    return sorted(valued, key=lambda record: (-max(record.values), -record.best_value, record.trial.number))


def best_trial_record(trial_records: Collection[TrialRecord]) -> TrialRecord | None:
    """The trial with the best observed value, if any; the search's model may prefer another one."""
    return next(iter(ranked(trial_records)), None)


def _is_at_chance(record: TrialRecord, classes: int) -> bool:
    """Whether an ended trial is hardly better than guessing; unknown, and so false, in trials of earlier versions."""
    balanced = record.means("balanced_accuracy")
    if record.trial.state not in ("complete", "pruned") or not balanced:
        return False
    rung = max(balanced)
    return balanced[rung] < CHANCE_MARGIN / (classes - record.means("absent_classes")[rung])


def _reference(name: str, record: TrialRecord) -> ReferenceProgress:
    student, rung = next(iter(record.students), None), max(record.values, default=None)
    return ReferenceProgress(
        name=name,
        state=record.trial.state,
        accuracy=None if rung is None else record.values[rung],
        epochs=next((row.epochs for row in record.evaluations if row.rung == rung), None),
        params=student.params if student else None,
        macs=student.macs if student else None,
        reason=record.trial.reason,
    )


def smallest_student(students: Collection[StudentRow]) -> StudentRow:
    """The one with the fewest parameters."""
    return min(students, key=lambda student: student.params)


def _seconds_left(search: SearchRow, trial_records: Collection[TrialRecord]) -> float | None:
    """Remaining trials times the mean time of an ended one, over the workers."""
    ended = [record for record in trial_records if record.trial.state in ("complete", "pruned")]
    if not ended:
        return None
    workers = int(search.config["workers"]["count"])
    mean = statistics.fmean(sum(row.seconds or 0.0 for row in record.evaluations) for record in ended)
    finished = sum(record.trial.state != "running" for record in trial_records)
    left = mean * (int(search.config["trials"]) - finished) / workers
    if limit := search.config.get("seconds"):
        spent = sum(row.seconds or 0.0 for record in trial_records for row in record.evaluations) / workers
        left = min(left, max(0.0, float(limit) - spent))
    return left
