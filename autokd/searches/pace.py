"""How fast a search trains, told by its rows, and the length of its full-length trainings that follows."""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from statistics import fmean
from typing import Any

from autokd.data.stream import steps_per_epoch
from autokd.database.lease import Lease
from autokd.database.rows import EvaluationRow
from autokd.database.store import Store
from autokd.errors import InputError
from autokd.evaluation.context import TrainingContext
from autokd.searches.lengths import FullLength, affordable_epochs, scaled_rungs
from autokd.searches.problem import Problem
from autokd.searches.students import TrainedStudent
from autokd.searches.trial_record import TrialRecord
from autokd.training.timetable import step_at

__all__ = [
    "fitting_rungs",
    "full_length",
    "full_length_of",
    "seconds_per_epoch",
    "slowest_epoch",
    "with_full_length",
]


def fitting_rungs(problem: Problem) -> tuple[float, ...] | None:
    """Shorter rungs for which `min_trials` fit into `seconds` at the measured speed; None if those of the user do.

    What the teacher's outputs for the views of a trial take comes first. Rungs stay at least a step apart.
    """
    config, facts, training = problem.config, problem.facts, problem.context.training
    speeds = facts.images_per_second, facts.teacher_images_per_second
    if config.min_trials is None or config.seconds is None or facts.n_train is None or None in speeds:
        return None
    student, teacher = (facts.n_train / (speed or 1.0) for speed in speeds)  # seconds of an epoch and of a view
    views = min(training.views, problem.context.whole_epochs)
    rungs = scaled_rungs(
        training.rungs,
        problem.new_epochs,
        seconds=config.workers.count * config.seconds - views * teacher,
        seconds_per_epoch=student,
        trials=min(config.min_trials, config.trials) * config.students_per_trial,
        others=len(problem.references),
        prunes=config.optimizer.pruner != "none",
    )
    n_steps = steps_per_epoch(facts.n_train, training.batch_size)
    ends = [step_at(rung, n_steps) for rung in rungs]
    fits = rungs[0] * n_steps >= 1 and sorted(set(ends)) == ends
    return rungs if fits and rungs != training.rungs else None


def with_full_length(
    problem: Problem,
    store: Store,
    lease: Lease,
    families: Sequence[TrialRecord],
    prepare: Callable[[TrainingContext], None],
    clock: Callable[[], float] = time.monotonic,
) -> Problem:
    """The search with the length of its full-length trainings, whose missing outputs of the teacher are computed.

    The length is decided and recorded if it was not before. What was decided holds as long as `final.seconds`, the
    winner and the number of trainings stay the same. Within the time, the teacher's outputs come first; the trainings
    get the rest.

    Args:
        problem: The search.
        store: Its database.
        lease: The right to write there.
        families: The records of the families that are trained: those of the winners, the best first, of each of which
            `final.students` are, and those of references, of which one each is.
        prepare: Computes the missing outputs of the teacher.
        clock: Time in seconds.
    """
    seconds, decided = problem.config.final.seconds, problem.full_length
    trial, students = families[0].trial.number, problem.config.final.students
    trainings = sum(1 if record.trial.reference else students for record in families)
    wanted = (seconds, trial, trainings)
    if seconds is None or (decided and (decided.seconds, decided.trial, decided.trainings) == wanted):
        prepare(problem.retraining_context)
        return problem
    per_epoch = slowest_epoch(problem, store, lease.search_id, families) * _validating(problem)
    workers, n_train = problem.config.workers.count, problem.facts.n_train
    longest = FullLength(
        seconds=seconds,
        prepared_seconds=0.0,
        seconds_per_epoch=per_epoch,
        images_per_second=None if n_train is None else round(n_train / per_epoch, 1),
        trainings=trainings,
        workers=workers,
        trial=trial,
        affordable=affordable_epochs(seconds, per_epoch, trainings, workers),
    )
    context = _at(problem, longest).retraining_context
    started = clock()
    prepare(context)
    spent = round(clock() - started, 3)
    affordable = affordable_epochs(seconds - spent, per_epoch, trainings, workers)
    length = replace(longest, prepared_seconds=spent, affordable=affordable)
    store.set_status(lease, "running", {"full_length": asdict(length)})
    found = _at(problem, length)
    if not set(found.retraining_context.outputs_needed) <= set(context.outputs_needed):
        prepare(found.retraining_context)  # in a shorter training, checkpoints of the teacher teach other epochs
    return found


def _validating(problem: Problem) -> float:
    """Factor on the time of an epoch where the best epoch is kept: half of the epochs end with a validation.

    A sample then takes a third of what it takes in training, whose backward pass is about twice a forward pass.
    """
    samples = problem.facts.samples
    if problem.config.final.keep != "best" or samples is None:
        return 1.0
    return 1 + samples["validation"] / samples["train"] / 6


def full_length(problem: Problem) -> dict[str, Any] | None:
    """Length of the full-length trainings and what it follows from, as plain values; None without `final.seconds`."""
    length = problem.full_length
    return None if length is None else asdict(length) | {"epochs": problem.full_length_epochs}


def full_length_of(student: TrainedStudent) -> dict[str, Any] | None:
    """`full_length` if a student was trained by it; None if what was decided last is the length of other trainings."""
    problem, length = student.problem, student.problem.full_length
    if not student.is_final or length is None or student.evaluation.epochs != problem.full_length_epochs:
        return None
    is_among_winners = student.trial.number == length.trial or problem.config.final.families > 1
    return full_length(problem) if is_among_winners else None


def slowest_epoch(problem: Problem, store: Store, search_id: int, families: Iterable[TrialRecord]) -> float:
    """Seconds of an epoch of the slowest of the families, see `seconds_per_epoch`.

    A family without an evaluation that tells it trains as slowly as the slowest evaluation of the whole search; if none
    tells it, as fast as was measured before the search.

    Args:
        problem: The search.
        store: Its database.
        search_id: Its id there.
        families: The records of the families.

    Raises:
        InputError: If that was not measured either.
    """
    starts = [event.at for event in store.outline(search_id) if event.kind == "lease_acquired"]
    own = [seconds_per_epoch(family.evaluations, problem.new_epochs, starts) for family in families]
    known = [seconds for seconds in own if seconds]
    if len(known) < len(own):
        each = (seconds_per_epoch([row], problem.new_epochs) for row in store.evaluations(search_id, "search"))
        known += [seconds for seconds in each if seconds]
    return max(known) if known else _measured_epoch(problem)


def _measured_epoch(problem: Problem) -> float:
    n_train, speed = problem.facts.n_train, problem.facts.images_per_second
    if not n_train or not speed:
        raise InputError("no training of this search tells how long an epoch takes: omit final.seconds.")
    return n_train / speed


def seconds_per_epoch(
    rows: Iterable[EvaluationRow], new_epochs: Collection[float], starts: Collection[datetime] = ()
) -> float | None:
    """Seconds of an epoch, the mean over complete evaluations; None if none can tell.

    Evaluations of earlier versions tell the time of the whole alone, with all that comes before and after the training.
    Of these, one that was interrupted and resumed recorded the time of its last part only, so it does not count.

    Args:
        rows: The evaluations.
        new_epochs: Epochs that an evaluation trains to each rung, beyond those to the rung before.
        starts: When a controller took the search.
    """
    epochs = tuple(new_epochs)
    complete = [row for row in rows if row.state == "complete" and row.seconds]
    if measured := [row.epoch_seconds for row in complete if row.epoch_seconds]:
        return fmean(measured)
    usual = [row for row in complete if not _is_resumed(row, starts)]
    if not usual:
        return None
    return sum(row.seconds or 0.0 for row in usual) / sum(epochs[row.rung] for row in usual)


def _is_resumed(row: EvaluationRow, starts: Iterable[datetime]) -> bool:
    return any(row.created_at < start <= (row.finished_at or start) for start in starts)


def _at(problem: Problem, length: FullLength) -> Problem:
    return replace(problem, facts=replace(problem.facts, full_length=length))
