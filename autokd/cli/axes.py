"""A student beside its teacher along three axes, as a table and as lines."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from autokd.searches.progress import best_trial_record, smallest_student
from autokd.searches.remarks import student_remarks
from autokd.searches.result import SearchResult
from autokd.searches.students import TrainedStudent
from autokd.searches.tables import count, decimal, duration, limits_used, percent, ratio, table
from autokd.searches.trial_record import TrialRecord
from search_spaces.design.budget import Budget

__all__ = ["axes_json", "axes_lines", "axes_table", "limits_lines"]

RATES = ("top5", "balanced_accuracy", "macro_f1")
SIZES = ("nonzero_params", "model_bytes", "activation_bytes", "memory_bytes")


def axes_json(result: SearchResult, student: TrainedStudent) -> dict[str, Any]:
    """Everything about the axes, the limits that the student uses, and what is remarkable, as plain values."""
    budget = result.problem.budget
    return {
        "axes": result.axes(student),
        "limits": {"allowed": budget.limits, "used": budget.utilisation(student.row.cost)},
        "search_cost": result.search_cost,
        "energy": None,  # not measured
        "remarks": student_remarks(student, result.row),
    }


def axes_table(axes: Mapping[str, Mapping[str, Any]], references: Sequence[TrainedStudent] = ()) -> Table:
    """The figures that the table of networks has no column for: student and teacher side by side, and their ratio.

    Args:
        axes: Of the student, from `SearchResult.axes`.
        references: References that stand beside it.
    """
    effectiveness, lightness = axes["effectiveness"], axes["lightness"]
    ours, theirs = effectiveness["student"], effectiveness["teacher"]
    measured = [one.metrics for one in references]
    rows = [
        (name, percent(theirs[name]), percent(ours[name]), "", *(percent(each.get(name)) for each in measured))
        for name in RATES
        if ours[name] is not None
    ]
    if ours["auroc"] is not None:
        others = (decimal(each.get("auroc")) for each in measured)
        rows.append(("auroc", decimal(theirs["auroc"]), decimal(ours["auroc"]), "", *others))
    ours, theirs = lightness["student"], lightness["teacher"]
    sizes = [vars(one.row.cost) | one.metrics | {"memory_bytes": one.row.cost.memory_bytes} for one in references]
    rows += [
        (
            name,
            count(theirs[name]),
            count(ours[name]),
            ratio(theirs[name], ours[name]),
            *(count(each.get(name)) for each in sizes),
        )
        for name in SIZES
    ]
    headings = ("", "teacher", "student", "times smaller", *(str(one.trial.reference) for one in references))
    return table(headings, rows, numeric=range(1, len(headings)))


def axes_lines(result: SearchResult, student: TrainedStudent) -> list[tuple[str, str]]:
    """Relative accuracy, the share of each limit that is used, what the search cost, and what is remarkable."""
    axes = result.axes(student)
    parts = {"validation": axes["effectiveness"], "test": axes.get("test_effectiveness", {})}
    relative = {split: part.get("relative_accuracy") for split, part in parts.items()}
    shares = [f"{share:.1f} % of the teacher's {split} accuracy" for split, share in relative.items() if share]
    return [
        *([("relative", ", ".join(shares))] if shares else []),
        ("limits", limits_used(result.problem.budget.utilisation(student.row.cost))),
        ("cost", _cost_line(result.search_cost)),
        *(("note", line) for line in student_remarks(student, result.row)),
    ]


def limits_lines(budget: Budget, trials: Sequence[TrialRecord]) -> list[tuple[str, str]]:
    """The share of each limit that the best trial's smallest student uses; nothing before there is a best trial."""
    best = best_trial_record(trials)
    if best is None:
        return []
    return [("limits", limits_used(budget.utilisation(smallest_student(best.students).cost)))]


def _cost_line(cost: Mapping[str, float | None]) -> str:
    images, teacher_images = (_whole(cost[name]) for name in ("images", "teacher_images"))
    worked = duration(cost["worker_seconds"])
    return f"{worked} of workers, {images} training images, {teacher_images} teacher images; energy not measured"


def _whole(number: float | None) -> str:
    return count(None if number is None else int(number))
