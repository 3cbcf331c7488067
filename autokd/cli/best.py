"""The verbs `best` and `train`: the best student of a search beside its teacher and the references."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from autokd.cli.axes import axes_table
from autokd.cli.exports import exported
from autokd.cli.output import Output, show_json, show_text
from autokd.cli.within import option
from autokd.config.objectives import Against
from autokd.database.rows import SearchRow
from autokd.export.verification import Verification
from autokd.searches.axes import three_axes
from autokd.searches.comparison import Comparison, describe_references
from autokd.searches.pace import full_length
from autokd.searches.problem import Problem
from autokd.searches.progress import ReferenceProgress
from autokd.searches.remarks import student_remarks
from autokd.searches.result import SearchResult
from autokd.searches.stopping import Outlook
from autokd.searches.students import TrainedStudent
from autokd.searches.tables import (
    METRIC_HEADINGS,
    count,
    counted,
    duration,
    facts_table,
    limits_used,
    metric_cells,
    percent,
    ratio,
    table,
    teacher_cells,
    times_line,
)
from autokd.searches.times import Times
from search_spaces.design.budget import Budget

__all__ = ["best", "front_line", "full_length_lines", "student_json", "trained"]

NO_LIMITS = Budget()


def best(
    result: SearchResult,
    output: Output,
    export: tuple[Path, Verification] | None = None,
    within: Budget = NO_LIMITS,
) -> None:
    """Print the best student of a search beside its teacher and the references.

    Args:
        result: The search.
        output: What to print: text or one JSON value.
        export: Folder to which the student was exported, and the result of verifying it; None if it was not.
        within: Further limits that the student keeps.
    """
    shown = _Best.of(result, within)
    if output == "json":
        done = {} if export is None else {"exported_to": str(export[0]), "verification": asdict(export[1])}
        show_json(shown.to_json() | done)
        return
    student = shown.student
    show_text(_networks_table(shown))
    show_text(axes_table(shown.axes, shown.references))
    show_text(facts_table(_lines(shown, result.progress.references)))
    if costs := shown.problem.costs:
        show_text(front_line(result, costs))
    if export is not None:
        exported(*export, student.is_final, output)
    elif not student.is_final:
        show_text(f"\nTrain it at full length: {result.command('train')}{option(within)}")
    else:
        show_text(f"\nExport it: {result.command('export')} FOLDER{option(within)}")


def trained(
    students: Sequence[TrainedStudent], result: SearchResult, output: Output, within: Budget = NO_LIMITS
) -> None:
    """Print the students trained at full length, and the best one beside the teacher.

    Args:
        students: The students that were trained.
        result: Their search.
        output: What to print: text or one JSON value.
        within: Further limits that the best one keeps.
    """
    if output == "json":
        search = result.row
        show_json([student_json(student) | {"axes": three_axes(student, search)} for student in students])
        return
    rows = [
        (
            str(student.row.replicate),
            student.row.digest[:12],
            count(student.row.params),
            percent(student.metrics["accuracy"]),
            percent(student.metrics["test_accuracy"]),
            duration(student.evaluation.seconds),
        )
        for student in students
    ]
    show_text(table(("student", "architecture", "parameters", "validation", "test", "took"), rows, numeric=range(2, 6)))
    accuracies = [student.metrics["test_accuracy"] for student in students]
    if len(accuracies) > 1:
        mean, spread = sum(accuracies) / len(accuracies), max(accuracies) - min(accuracies)
        show_text(
            f"test accuracy: mean {percent(mean)}, spread {percent(spread)} over {len(accuracies)} students; "
            "the best is chosen by validation accuracy"
        )
    best(result, output, within=within)


def student_json(student: TrainedStudent) -> dict[str, Any]:
    """A student with its costs and metrics as plain values."""
    return {
        "trial": student.trial.number,
        "parameters": student.trial.parameters,
        "replicate": student.row.replicate,
        "digest": student.row.digest,
        "params": student.row.params,
        "macs": student.row.macs,
        "activation_bytes": student.row.activation_bytes,
        "model_bytes": student.row.model_bytes,
        "memory_bytes": student.row.cost.memory_bytes,
        "epochs": student.evaluation.epochs,
        "is_final": student.is_final,
        "metrics": student.metrics,
    }


def front_line(result: SearchResult, costs: Sequence[Against]) -> str:
    """The front of a search of several objectives in a sentence: its ends, and how to see and choose the others."""
    students = result.front
    if not students:
        return "front: no student is trained up to the highest rung yet"
    ends = " to ".join(
        f"{percent(one.metrics['accuracy'])} with {', '.join(f'{count(one.cost(name))} {name}' for name in costs)}"
        for one in (students[:1] if len(students) == 1 else (students[0], students[-1]))
    )
    return f"front: {counted(len(students), 'student')}, {ends}; `{result.command('pareto')}` lists them"


def full_length_lines(problem: Problem) -> list[str]:
    """Length of the full-length trainings with its reason, if it follows from the time that they may take."""
    length = problem.full_length
    return [] if length is None else [length.describe(problem.config.final.epochs)]


@dataclass(frozen=True)
class _Best:
    """The best student of a search with all that is shown of it, each read once."""

    student: TrainedStudent
    search: SearchRow
    references: Sequence[TrainedStudent]
    comparison: Comparison | None
    axes: Mapping[str, Mapping[str, Any]]
    search_cost: Mapping[str, float | None]
    times: Times
    outlook: Outlook | None

    @classmethod
    def of(cls, result: SearchResult, within: Budget) -> "_Best":
        student, search = result.best_within(within), result.row
        return cls(
            student=student,
            search=search,
            references=result.references,
            comparison=result.compare(student),
            axes=three_axes(student, search),
            search_cost=result.search_cost,
            times=result.times,
            outlook=result.outlook,
        )

    @property
    def problem(self) -> Problem:
        return self.student.problem

    @property
    def remarks(self) -> list[str]:
        return student_remarks(self.student, self.search)

    @property
    def distillation(self) -> dict[str, Any]:
        """The method and its settings."""
        return dict(self.problem.methods.chosen(self.student.trial.parameters))

    @property
    def limits_used(self) -> dict[str, float]:
        """Share of each limit that the student uses."""
        return self.problem.budget.utilisation(self.student.row.cost)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        teacher = {key: value for key, value in self.search.facts.items() if key.startswith("teacher")}
        return {
            **student_json(self.student),
            "search": self.search.name,
            "distillation": self.distillation,
            **teacher,
            **describe_references(self.references, self.comparison),
            "full_length": full_length(self.problem),
            "seconds": asdict(self.times),
            "axes": self.axes,
            "limits": {"allowed": self.problem.budget.limits, "used": self.limits_used},
            "search_cost": self.search_cost,
            "outlook": self.outlook and asdict(self.outlook),
            "energy": None,  # not measured
            "remarks": self.remarks,
        }


def _networks_table(shown: _Best) -> Table:
    """A row each for the teacher, the student and the references: size, and accuracy on both splits."""
    student, facts = shown.student, shown.search.facts
    teacher_test = (facts.get("teacher_test_metrics") or {}).get("accuracy")
    sizes = count(facts["teacher_params"]), count(facts["teacher_macs"])
    ratios = ratio(facts["teacher_params"], student.row.params), ratio(facts["teacher_macs"], student.row.macs)
    rows: list[tuple[str, ...]] = [
        ("teacher", *sizes, *metric_cells(facts["teacher_metrics"]), percent(teacher_test)),
        _row("student", student),
        ("times smaller", *ratios, "", "", "", "", ""),
        *(_row(_reference_name(reference, student), reference) for reference in shown.references),
    ]
    headings = ("", "parameters", "MACs", "validation", *METRIC_HEADINGS[1:], "test")
    return table(headings, rows, numeric=range(1, 8))


def _row(name: str, student: TrainedStudent) -> tuple[str, ...]:
    sizes = count(student.row.params), count(student.row.macs)
    return name, *sizes, *metric_cells(student.metrics), percent(student.metrics.get("test_accuracy"))


def _reference_name(reference: TrainedStudent, student: TrainedStudent) -> str:
    """Name of a reference, with the length of its training if the student's is another one."""
    epochs = reference.evaluation.epochs
    length = "" if epochs == student.evaluation.epochs else f", {counted(epochs, 'epoch')}"
    return f"{reference.trial.reference}{length}"


def _lines(shown: _Best, references: Iterable[ReferenceProgress]) -> list[tuple[str, str]]:
    """Names and sentences: where the student comes from, how it compares, and what it cost to find it."""
    student, settings = shown.student, shown.distillation
    method = settings.pop("method")
    lines = [
        ("trial", str(student.trial.number)),
        ("family", shown.problem.describe(student.trial)),
        ("distilled", f"by {method}" + (f": {_settings(settings)}" if settings else "")),
        ("trained", _length(student)),
        *(shown.outlook.facts if shown.outlook else []),
        *([("compared", str(shown.comparison))] if shown.comparison else []),
        *(("left out", f"{one.name}: {one.reason}") for one in references if one.state == "failed"),
        ("time", times_line(shown.times)),
    ]
    if "agreement" in student.metrics:
        agreement, divergence = teacher_cells(student.metrics)
        lines.append(("agrees", f"with the teacher on {agreement} of the validation samples, KL {divergence} nats"))
    if shares := _relative_accuracies(shown.axes):
        lines.append(("relative", ", ".join(shares)))
    return [
        *lines,
        ("limits", limits_used(shown.limits_used)),
        ("cost", _cost_line(shown.search_cost)),
        *(("note", line) for line in shown.remarks),
    ]


def _length(student: TrainedStudent) -> str:
    """Length of a student's training, with its reason if it follows from the time that it may take."""
    epochs, problem = student.evaluation.epochs, student.problem
    if not student.is_final:
        return f"{counted(epochs, 'epoch')} (search only)"
    decided = full_length_lines(problem) if epochs == problem.full_length_epochs else []
    return "".join(decided) or counted(epochs, "epoch")


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )


def _relative_accuracies(axes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Accuracy of the student in per cent of its teacher's, on each split on which both are known."""
    parts = {"validation": axes["effectiveness"], "test": axes.get("test_effectiveness", {})}
    relative = {split: part.get("relative_accuracy") for split, part in parts.items()}
    return [f"{share:.1f} % of the teacher's {split} accuracy" for split, share in relative.items() if share]


def _cost_line(cost: Mapping[str, float | None]) -> str:
    images, teacher_images = (_whole(cost[name]) for name in ("images", "teacher_images"))
    worked = duration(cost["worker_seconds"])
    return f"{worked} of workers, {images} training images, {teacher_images} teacher images; energy not measured"


def _whole(number: float | None) -> str:
    return count(None if number is None else int(number))
