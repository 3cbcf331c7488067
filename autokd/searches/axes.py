"""A student beside its teacher along three axes: effectiveness, lightness and computation.

The names are those of the metrics and costs wherever they are recorded or shown.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from autokd.database.rows import EvaluationTotals, SearchRow
from autokd.searches.assistants import outputs_read
from autokd.searches.problem import Problem
from autokd.searches.students import TrainedStudent

__all__ = [
    "COMPUTATION",
    "EFFECTIVENESS",
    "LIGHTNESS",
    "relative_accuracy",
    "search_cost",
    "stored_images",
    "three_axes",
]

EFFECTIVENESS = ("accuracy", "top5", "balanced_accuracy", "macro_f1", "auroc", "loss", "ece", "ece_scaled")
LIGHTNESS = ("params", "nonzero_params", "model_bytes", "activation_bytes", "memory_bytes")
COMPUTATION = ("macs",)

Figures = dict[str, float | None]


def three_axes(student: TrainedStudent, search: SearchRow) -> dict[str, dict[str, Any]]:
    """Figures of the student and of its teacher by axis, as plain values; None where they are not known.

    * `effectiveness`: `EFFECTIVENESS` on the validation split, and `relative_accuracy`.
    * `test_effectiveness`: the same on the test split; only after a training at full length.
    * `lightness`: `LIGHTNESS`; `compression` has how many times larger each is for the teacher.
    * `computation`: `COMPUTATION`; `ratio` has how many times larger each is for the teacher.

    Args:
        student: The student.
        search: Its search, which knows the teacher.
    """
    metrics, problem = student.metrics, student.problem
    test = {name: metrics.get(f"test_{name}") for name in EFFECTIVENESS}
    cost = student.row.cost
    costs = vars(cost) | {"memory_bytes": cost.memory_bytes, "nonzero_params": metrics.get("nonzero_params")}
    theirs = problem.facts.teacher_cost.to_dict()
    axes = {
        "effectiveness": _effectiveness(metrics, problem.facts.teacher_metrics),
        "lightness": _sizes(costs, theirs, LIGHTNESS, "compression"),
        "computation": _sizes(costs, theirs, COMPUTATION, "ratio"),
    }
    if test["accuracy"] is not None:
        axes["test_effectiveness"] = _effectiveness(test, search.facts.get("teacher_test_metrics") or {})
    return axes


def relative_accuracy(student: float | None, teacher: float | None) -> float | None:
    """Accuracy of the student in per cent of its teacher's."""
    share = _divided(student, teacher)
    return None if share is None else 100 * share


def search_cost(problem: Problem, totals: EvaluationTotals) -> Figures:
    """What trainings cost: `worker_seconds`, `images` trained on, and `teacher_images` that the teacher got.

    It gets those of every view and split once, and those of a training whose method runs it live. The trainings of
    pruned teachers and of assistants count like those of students. Counts are None if some trainings are of a version
    that did not record them.

    Args:
        problem: What is searched.
        totals: Sums over its trainings.
    """
    rounds = [] if problem.pruned is None else problem.pruned.results
    assistants = problem.facts.panel.assistants if problem.facts.panel else ()
    seconds = [*(each["seconds"] for each in rounds), *(each.seconds for each in assistants)]
    n_images = [*(each["images"] for each in rounds), *(each.images for each in assistants)]
    images, live, stored = totals.images, totals.live_teacher_images, stored_images(problem, totals.n_tested > 0)
    live_assistants = sum(each.live_teacher_images for each in assistants)
    return {
        "worker_seconds": totals.seconds + sum(seconds),
        "images": None if images is None else images + sum(n_images),
        "teacher_images": None if live is None or stored is None else live + live_assistants + stored,
    }


def stored_images(problem: Problem, has_final: bool) -> int | None:
    """Number of images whose teacher outputs were stored, once each; None in searches of earlier versions.

    Args:
        problem: What is searched.
        has_final: Whether those for full-length trainings were. What these once read stays counted if they are shorter,
            or of fewer views, by now.
    """
    contexts = [problem.context, *([problem.retraining_context] if has_final else [])]
    needed = {(context.digest(key.teacher), key.name) for context in contexts for key in context.outputs_needed}
    samples = problem.facts.samples
    if not samples:
        return None
    stored = sum(samples.get(name, samples["train"]) for _, name in needed | outputs_read(problem))
    return max(problem.facts.stored_images, stored)


def _effectiveness(student: Mapping[str, Any], teacher: Mapping[str, Any]) -> dict[str, Any]:
    ours, theirs = ({name: metrics.get(name) for name in EFFECTIVENESS} for metrics in (student, teacher))
    relative = relative_accuracy(ours["accuracy"], theirs["accuracy"])
    return {"student": ours, "teacher": theirs, "relative_accuracy": relative}


def _sizes(
    student: Mapping[str, float | None], teacher: Mapping[str, float | None], names: Iterable[str], ratio: str
) -> dict[str, Figures]:
    ours, theirs = ({name: figures[name] for name in names} for figures in (student, teacher))
    return {"student": ours, "teacher": theirs, ratio: {name: _divided(theirs[name], ours[name]) for name in ours}}


def _divided(dividend: float | None, divisor: float | None) -> float | None:
    """Their quotient; None where one of them is unknown or the divisor is 0."""
    return None if dividend is None or not divisor else dividend / divisor
