"""What a user should be told without asking: trials that failed, families that hardly differ, a dubious teacher."""

from collections.abc import Mapping
from math import sqrt
from typing import TYPE_CHECKING

from autokd.data.stream import steps_per_epoch
from autokd.database.rows import SearchRow
from autokd.searches.comparison import Z
from autokd.searches.problem import Problem
from autokd.searches.progress import Progress
from autokd.searches.students import TrainedStudent
from autokd.searches.tables import counted, percent
from autokd.training.timetable import step_at

if TYPE_CHECKING:
    from autokd.optimizers.models.signal_to_noise import SignalToNoise

__all__ = [
    "beats_teacher",
    "few_samples",
    "no_mistakes",
    "prunes_early",
    "search_remarks",
    "seen_samples",
    "student_remarks",
]

SURPRISING = 2.0  # standard errors by which a student must be ahead of its teacher
EVIDENT = 3.0  # standard errors by which the teacher must be better on the validation split than on the test split
RULE_OF_THREE = 300
"""Samples without a mistake after which an error rate of 1 % is ruled out with 95 % confidence."""

FEW = 100
"""Validation samples below which the accuracy of a student that is right half the time is known to ± 10 points."""

EARLY = 100
"""Steps within which shallow networks are ahead of deep ones that they fall behind later: on Fashion-MNIST they are
after 80 and no longer after 200 (`tests/benchmarks/RESULTS.md`)."""


def search_remarks(
    progress: Progress, flatness: "SignalToNoise | None", retry: str, is_enough: bool = False
) -> list[tuple[str, str]]:
    """What is remarkable about a search: a word and a sentence each.

    They are about trials that failed, one for each reason, and which of them were a worker's fault, about trials that
    learnt nothing, about families that differ by less than the noise of a trial, and about the end of the search before
    its last trial.

    Args:
        progress: How far the search is.
        flatness: How much its families differ; None if too few trials are finished to tell.
        retry: The command that opens trials again.
        is_enough: Whether further trials would gain less than `stop.gain`.
    """
    found = [("failed", f"{number} x {reason}") for reason, number in progress.reasons.items()]
    if progress.retriable:
        blamed = f"{counted(progress.retriable, 'trial')} by a worker's fault"
        found.append(("failed", f"{blamed}: `{retry}` opens them again"))
    if progress.at_chance:
        found.append(("at chance", f"{counted(progress.at_chance, 'trial')} ended hardly better than guessing"))
    if flatness is not None and flatness.is_flat:
        found.append(("space", _flat(flatness)))
    if is_enough and progress.finished < progress.trials:
        found.append(("stop", "no further trial begins, as 20 more would gain less than `stop.gain`"))
    return found


def student_remarks(student: TrainedStudent, search: SearchRow) -> list[str]:
    """What is remarkable about a student and its teacher, one sentence each.

    Args:
        student: The student.
        search: Its search, which knows the teacher.
    """
    facts, test = student.problem.facts, search.facts.get("teacher_test_metrics") or {}
    n = facts.samples or {}
    ours, theirs, split = student.metrics.get("accuracy"), facts.teacher_metrics["accuracy"], "validation"
    if "test_accuracy" in student.metrics and test:
        ours, theirs, split = student.metrics["test_accuracy"], test["accuracy"], "test"
    found = []
    if ours is not None:
        found.append(beats_teacher(ours, theirs, split, n.get(split)))
    if test:
        found.append(seen_samples(facts.teacher_metrics, test, n.get("validation"), n.get("test")))
    return [line for line in found if line]


def beats_teacher(student: float, teacher: float, split: str, n: int | None) -> str | None:
    """Sentence about a student with a higher accuracy than its teacher; None if it is not higher.

    The teacher is suspected if the difference is more than `SURPRISING` standard errors of two independent accuracies;
    they are of the same samples, so that this is the cautious side.

    Args:
        student: Accuracy of the student.
        teacher: Accuracy of the teacher.
        split: Name of the split.
        n: Samples of the split; None if their number is not known.
    """
    if student <= teacher:
        return None
    said = f"the student beats its teacher by {100 * (student - teacher):.2f} points on the {split} split"
    error = sqrt((student * (1 - student) + teacher * (1 - teacher)) / n) if n else 0.0
    surprising = student - teacher > SURPRISING * error
    return f"{said}: the teacher may be weak or mis-prepared" if surprising else f"{said}, within its noise"


def seen_samples(
    validation: Mapping[str, float], test: Mapping[str, float], n_validation: int | None, n_test: int | None
) -> str | None:
    """Sentence about a teacher that is far better on the validation split than on the test split; None if it is not.

    It is a one-sided test of two proportions with the pooled variance, at `EVIDENT` standard errors. The balanced
    accuracy, where it is known, must pass it, too, as if it were a proportion: the accuracy alone also falls where the
    test split has more samples of difficult classes.

    Args:
        validation: Metrics of the teacher on the validation split.
        test: Its metrics on the test split.
        n_validation: Samples of the validation split; None if their number is not known.
        n_test: Samples of the test split.
    """
    if not n_validation or not n_test:
        return None
    names = [name for name in ("accuracy", "balanced_accuracy") if name in validation and name in test]
    if not all(_is_evidently_less(test[name], validation[name], n_test, n_validation) for name in names):
        return None
    return (
        f"the teacher is right on {percent(validation['accuracy'])} of the validation samples, but only on "
        f"{percent(test['accuracy'])} of the test samples: the validation samples are evidently among its own training "
        "samples, and flatter it; hold out samples that it has not seen"
    )


def _is_evidently_less(lower: float, upper: float, n_lower: int, n_upper: int) -> bool:
    pooled = (lower * n_lower + upper * n_upper) / (n_lower + n_upper)
    return upper - lower > EVIDENT * sqrt(pooled * (1 - pooled) * (1 / n_lower + 1 / n_upper))


def no_mistakes(accuracy: float, n: int) -> str | None:
    """Sentence about a teacher without a mistake on many validation samples; None if there are few, or one mistake.

    Args:
        accuracy: Accuracy of the teacher on the validation split.
        n: Samples of the split.
    """
    if accuracy < 1 or n < RULE_OF_THREE:
        return None
    return (
        f"the teacher makes no mistake on {n:,} validation samples: if they are among its own training samples, its "
        "validation accuracy says nothing; hold out samples that it has not seen"
    )


def few_samples(n: int) -> str | None:
    """Sentence about a validation split that tells accuracies only roughly; None if it has `FEW` samples or more.

    Args:
        n: Samples of the validation split.
    """
    if n >= FEW:
        return None
    width = Z * sqrt(0.5 * 0.5 / n)
    return (
        f"only {counted(n, 'validation sample')}: the accuracy of a student is known to ± {100 * width:.0f} points at "
        "worst (95 %), which may hide which student is best; hold out more (data.validation)"
    )


def prunes_early(problem: Problem) -> str | None:
    """Sentence about a search whose first rung is less than `EARLY` steps away; None if it is not, or prunes nothing.

    Args:
        problem: The search.
    """
    config, rungs, n_train = problem.config, problem.rungs, problem.facts.n_train
    if config.optimizer.pruner == "none" or len(rungs) == 1 or n_train is None:
        return None
    steps = step_at(rungs[0], steps_per_epoch(n_train, config.training.batch_size))
    if steps >= EARLY:
        return None
    return (
        f"trials are pruned after {counted(steps, 'step')}, when deep networks are still behind shallow ones: the best "
        "may be among them; some 200 steps tell more (training.rungs)"
    )


def _flat(found: "SignalToNoise") -> str:
    students = f"{counted(found.n, 'trial')} at the last rung with {counted(found.observations, 'student')} each"
    spread = f"{found.ratio:g} times it, 90 %: {found.low:g} to {found.high:g}"
    return f"families differ by less than a trial's noise ({spread}; {students}): their order is mostly luck"
