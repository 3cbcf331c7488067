"""Progress of a search, computed from its rows for all interfaces."""

from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from typing import Literal, Self

from autokd.database.errors import UnknownSearch
from autokd.database.lease import is_owned
from autokd.database.reading import Reader
from autokd.database.rows import SearchRow, StudentRow, TrialTotals
from autokd.database.summaries import trial_totals
from autokd.searches.times import prepared_seconds
from autokd.searches.trial_record import TrialRecord, latest_references, reference_records, trial_records
from autokd.searches.under_way import RunningEvaluation, evaluations_under_way, seconds_until, with_how_far
from autokd.searches.workspace import Workspace

__all__ = [
    "Progress",
    "ReferenceProgress",
    "Tally",
    "Training",
    "all_progress",
    "best_trial_record",
    "current_progress",
    "is_at_chance",
    "is_running",
    "ranked",
    "read_progress",
    "smallest_student",
    "unfinished_verb",
    "up_to_date",
    "why_failed",
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
        status: Of the search; "stopping" if it runs and somebody asked it to stop.
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
        share_done: From 0 to 1: of its trials, or of its limit of time if that is more; 1 once it has finished.
        reasons: Why trials failed, with their number.
        retriable: Failed trials that failed by a worker's fault.
        at_chance: Complete and pruned trials whose students were hardly better than guessing when they ended.
        references: The references, in the order in which they were opened.
        evaluations: The evaluations under way; none if the search is not.
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
    share_done: float
    reasons: dict[str, int]
    retriable: int = 0
    at_chance: int = 0
    references: tuple[ReferenceProgress, ...] = ()
    evaluations: tuple[RunningEvaluation, ...] = ()

    @property
    def finished(self) -> int:
        """Trials that ended in any way."""
        return self.complete + self.pruned + self.failed

    @property
    def n_trials(self) -> int:
        """Trials asked for, or those that have ended if these are more, since fewer were asked for later."""
        return max(self.trials, self.finished)

    @property
    def is_running(self) -> bool:
        """Whether a process runs the search."""
        return self.status in ("running", "stopping")


@dataclass(frozen=True)
class Training:
    """Progress of a retraining at one moment.

    Attributes:
        trial: Number of the trial whose family it is of.
        replicate: Number of its student.
        reference: Name of the reference that is trained; None for a student of a winning family.
        params: The student's parameters.
        state: "running", "complete" or "failed".
        epochs: Epochs asked for.
        epochs_done: Whole epochs up to its last checkpoint.
        metrics: What was measured at its end.
        reason: Why it failed, or why it waits.
        worker: The worker that has it; None while it waits, or if that is not known.
        images_per_second: Speed of the last epoch, in training samples; None unless it runs, and if it is not known.
        ends_at: When its last epoch ends at this speed; None unless it runs, and if that is not known.
    """

    trial: int
    replicate: int
    params: int
    state: str
    epochs: float
    epochs_done: float
    metrics: dict[str, float]
    reason: str | None
    reference: str | None = None
    worker: str | None = None
    images_per_second: float | None = None
    ends_at: datetime | None = None

    @property
    def seconds_left(self) -> float | None:
        """Estimated time from now until its last epoch ends; None if that is not known."""
        return seconds_until(self.ends_at)

    @property
    def name(self) -> str:
        """Name of what is trained, such as `trial 4, student 0` or `reference resnet`."""
        whose = f"trial {self.trial}, student {self.replicate}"
        return whose if self.reference is None else f"reference {self.reference}"

    @property
    def at_rest(self) -> "Training":
        """The same while the search does not run, and no worker has it."""
        if self.state != "running":
            return self
        return replace(self, worker=None, reason=None, images_per_second=None, ends_at=None)


class Tally:
    """What progress is computed from, told of trials one at a time.

    Args:
        classes: Number of classes of the data.
    """

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._running: dict[int, TrialRecord] = {}
        self._states: Counter[str] = Counter()  # of trials that ended, as what follows
        self._reasons: Counter[str] = Counter()
        self._retriable = 0
        self._at_chance = 0
        self._seconds = Fraction()  # of complete and pruned trials
        self._best_ended: TrialRecord | None = None
        self._best: TrialRecord | None = None
        self.spent = Fraction()  # seconds of all trials

    @classmethod
    def of(cls, classes: int, totals: Iterable[TrialTotals], records: Iterable[TrialRecord]) -> Self:
        """The tally of a search of whose trials few are read.

        Args:
            classes: Number of classes of the data.
            totals: Sums over its trials.
            records: The running ones, and the best of those that ended.
        """
        tally = cls(classes)
        for ended in (each for each in totals if each.state != "running"):
            tally._states[ended.state] += ended.n
            tally.spent += Fraction(ended.seconds)
            if ended.state == "failed":
                tally._reasons[ended.reason or "unknown"] += ended.n
                tally._retriable += ended.retriable
            else:
                tally._seconds += Fraction(ended.seconds)
                tally._at_chance += ended.at_chance
        for record in records:
            if record.trial.state == "running":
                tally.put(record)
            else:
                tally._best_ended, tally._best = record, best_trial_record([record, *_known(tally._best)])
        return tally

    @property
    def n_ended(self) -> int:
        """Number of trials that ended."""
        return self._states.total()

    @property
    def n_trials(self) -> int:
        """Number of trials, running ones included."""
        return self.n_ended + len(self._running)

    def put(self, record: TrialRecord) -> None:
        """Count a trial, in the place of what it was before if it ran."""
        trial, before = record.trial, self._running.pop(record.trial.number, None)
        self.spent += record.seconds - (before.seconds if before else 0)
        if trial.state == "running":
            self._running[trial.number] = record
        else:
            self._add_ended(record)
        if before is not None and before is self._best:  # a trial that fails is the best no more
            self._best = best_trial_record([record, *self._running.values(), *_known(self._best_ended)])
        else:
            self._best = best_trial_record([record, *_known(self._best)])

    def progress(self, search: SearchRow, references: Iterable[TrialRecord] = (), prepared: float = 0.0) -> Progress:
        """The progress of the search.

        Args:
            search: Its row.
            references: Its references, in the order in which they were opened.
            prepared: Seconds that the teacher's outputs took before the first trial.
        """
        best, references = self._best, tuple(references)
        of_workers = float(sum((record.seconds for record in references), self.spent))
        spent = prepared + of_workers / _n_workers(search)  # as `Problem.wants_trial` counts it
        records = (*references, *self._running.values()) if search.status == "running" else ()
        student = smallest_student(best.students) if best else None
        return Progress(
            name=search.name,
            status=search.status,
            trials=search.config["trials"],
            complete=self._states["complete"],
            pruned=self._states["pruned"],
            failed=self._states["failed"],
            running=len(self._running),
            best_trial=best.trial.number if best else None,
            best_accuracy=best.best_value if best else None,
            best_params=student.params if student else None,
            best_macs=student.macs if student else None,
            best_activation_bytes=student.activation_bytes if student else None,
            teacher_accuracy=search.facts["teacher_metrics"]["accuracy"],
            teacher_params=search.facts["teacher_params"],
            teacher_activation_bytes=search.facts.get("teacher_activation_bytes"),
            seconds_left=self._seconds_left(search, spent),
            share_done=self._share_done(search, spent),
            reasons=dict(self._reasons),
            retriable=self._retriable,
            at_chance=self._at_chance,
            references=tuple(_reference(name, record) for name, record in latest_references(references).items()),
            evaluations=tuple(evaluation for record in records for evaluation in evaluations_under_way(record)),
        )

    def _add_ended(self, record: TrialRecord) -> None:
        self._states[record.trial.state] += 1
        if record.trial.state == "failed":
            self._reasons[record.trial.reason or "unknown"] += 1
            self._retriable += record.is_workers_fault
            return
        self._seconds += record.seconds
        self._at_chance += bool(is_at_chance(record, self._classes))
        self._best_ended = best_trial_record([record, *_known(self._best_ended)])

    def _seconds_left(self, search: SearchRow, spent: float) -> float | None:
        """Remaining trials times the mean time of an ended one, over the workers, or what is left of its time."""
        ended = self._states["complete"] + self._states["pruned"]
        if not ended:
            return None
        mean = float(self._seconds) / ended
        left = mean * max(0, int(search.config["trials"]) - self._states.total()) / _n_workers(search)
        if limit := search.config.get("seconds"):
            left = min(left, max(0.0, float(limit) - spent))
        return left

    def _share_done(self, search: SearchRow, spent: float) -> float:
        """The share of its trials that ended, or of its limit of time that they took; 1 once it has finished."""
        if search.status == "finished":
            return 1.0
        of_trials, limit = self._states.total() / int(search.config["trials"]), search.config.get("seconds")
        of_time = spent / float(limit) if limit else 0.0
        return min(1.0, max(of_trials, of_time))


def _n_workers(search: SearchRow) -> int:
    return int(search.config["workers"]["count"])


def read_progress(store: Reader, search: SearchRow) -> Progress:
    """The progress of a search, from sums over its trials and a few of them.

    Args:
        store: The search's database.
        search: The search.
    """
    best = store.trial_ids(search.id, numbers=store.best_trials(search.id, 1))
    ids = [*store.trial_ids(search.id, "running"), *best]
    records = trial_records(store, search.id, ids, architectures=False).values()
    tally = Tally.of(search.facts["classes"], trial_totals(store, search.id), records)
    prepared = prepared_seconds(store.outline(search.id)) if search.config.get("seconds") else 0.0
    return tally.progress(search, reference_records(store, search.id), prepared)


def current_progress(store: Reader, search: SearchRow, home: Workspace) -> Progress:
    """The progress of a search as somebody else sees it, who knows of its process by its lease alone.

    How far its evaluations are is read from their checkpoints.

    Args:
        store: The search's database.
        search: The search.
        home: Where its files are.
    """
    progress = read_progress(store, search)
    if progress.status != "running":
        return progress
    if not is_running(store, search):
        return replace(progress, status="interrupted", evaluations=())
    return replace(up_to_date(progress, search, home), status="stopping" if search.stop else "running")


def all_progress(home: Workspace) -> list[Progress]:
    """The progress of all searches, the oldest first; none where there is no database yet."""
    if not home.exists:
        return []
    found = list[Progress]()
    with home.open() as store:
        for search in store.searches():
            with suppress(UnknownSearch):  # it has been deleted since
                found.append(current_progress(store, search, home))
    return found


def up_to_date(progress: Progress, search: SearchRow, home: Workspace, most: int | None = None) -> Progress:
    """The progress with how far its evaluations are, which their checkpoints tell.

    Args:
        progress: The progress as the rows tell it.
        search: Its search.
        home: Where its files are.
        most: Of how many evaluations it is read, the first ones; None of all.
    """
    first = tuple(with_how_far(each, search, home) for each in progress.evaluations[:most])
    return replace(progress, evaluations=first + progress.evaluations[len(first) :])


def unfinished_verb(trainings: Iterable[Training]) -> Literal["resume", "train"]:
    """The verb that goes on with a search: "train" while one of its trainings at full length is under way."""
    return "train" if any(training.state == "running" for training in trainings) else "resume"


def is_running(store: Reader, search: SearchRow) -> bool:
    """Whether a process runs the search; one that was killed has left it as it was."""
    return search.status == "running" and is_owned(store, search.name)


def why_failed(progress: Progress) -> str:
    """Why a search failed, as far as its trials tell: the reason for which most of them did."""
    if progress.best_trial is not None or not progress.reasons:
        return f"search {progress.name!r} failed: the process that ran it has said why."
    reason, number = max(progress.reasons.items(), key=lambda item: item[1])
    return f"no trial could be trained; {number} of {progress.failed} failed with: {reason}"


def ranked(trial_records: Collection[TrialRecord]) -> list[TrialRecord]:
    """Trials with a value, the best first: by highest rung, then by value there, then by number."""
    valued = [record for record in trial_records if record.values and record.trial.state != "failed"]
    return sorted(valued, key=lambda record: (-max(record.values), -record.best_value, record.trial.number))


def best_trial_record(trial_records: Collection[TrialRecord]) -> TrialRecord | None:
    """The trial with the best observed value, if any; the search's model may prefer another one."""
    return next(iter(ranked(trial_records)), None)


def is_at_chance(record: TrialRecord, classes: int) -> bool | None:
    """Whether a trial is hardly better than guessing; None where that is not known, as in trials of earlier versions.

    Args:
        record: The trial.
        classes: Number of classes of the data.
    """
    balanced = record.means("balanced_accuracy")
    if not balanced:
        return None
    rung = max(balanced)
    return balanced[rung] < CHANCE_MARGIN / (classes - record.means("absent_classes").get(rung, 0))


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


def _known(record: TrialRecord | None) -> list[TrialRecord]:
    return [] if record is None else [record]
