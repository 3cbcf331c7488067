"""The verbs `best` and `train`: the best student of a search beside its teacher and the references."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from autokd.analysis.status_facts import front_line
from autokd.cli.axes import axes_table
from autokd.cli.exports import exported
from autokd.cli.output import Output, show_json, show_text
from autokd.cli.within import call_to_train, option
from autokd.export.verification import Verification
from autokd.searches.axes import three_axes
from autokd.searches.findings import Findings, student_json
from autokd.searches.references import reference_title
from autokd.searches.result import SearchResult
from autokd.searches.students import TrainedStudent
from autokd.searches.tables import (
    METRIC_HEADINGS,
    count,
    counted,
    duration,
    facts_table,
    metric_cells,
    percent,
    ratio,
    table,
)
from search_spaces.design.budget import Budget

__all__ = ["best", "trained"]

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
    shown = Findings.of(result, within)
    if output == "json":
        done = {} if export is None else {"exported_to": str(export[0]), "verification": asdict(export[1])}
        show_json(shown.to_json() | done)
        return
    student = shown.student
    show_text(_networks_table(shown))
    show_text(axes_table(shown.axes, shown.references))
    show_text(facts_table(shown.facts))
    if costs := shown.problem.costs:
        show_text(f"front: {front_line(result, costs)}")
    training = call_to_train(result, student, within)
    if export is not None:
        exported(*export, training, output)
    elif training is not None:
        show_text(f"\nTrain it at full length: {training}")
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
            str(student.trial.number),
            str(student.row.replicate),
            student.row.digest[:12],
            count(student.row.params),
            percent(student.metrics["accuracy"]),
            percent(student.metrics["test_accuracy"]),
            f"{student.evaluation.epochs:g}",
            duration(student.evaluation.seconds),
        )
        for student in students
    ]
    headings = ("trial", "student", "architecture", "parameters", "validation", "test", "epochs", "took")
    show_text(table(headings, rows, numeric=range(3, 8)))
    for line in _test_accuracies(students):
        show_text(line)
    if len(students) > 1:
        show_text("the best is chosen by validation accuracy")
    best(result, output, within=within)


def _test_accuracies(students: Sequence[TrainedStudent]) -> Iterator[str]:
    """Mean and spread over the students of each trial that has several, in the order of their best ones."""
    accuracies: dict[int, list[float]] = {}
    for student in students:
        accuracies.setdefault(student.trial.number, []).append(student.metrics["test_accuracy"])
    for trial, of_trial in accuracies.items():
        if len(of_trial) > 1:
            mean, spread = sum(of_trial) / len(of_trial), max(of_trial) - min(of_trial)
            yield (
                f"test accuracy of trial {trial}: mean {percent(mean)}, spread {percent(spread)} "
                f"over {len(of_trial)} students"
            )


def _networks_table(shown: Findings) -> Table:
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
    return f"{reference_title(reference.trial, student.trial.number)}{length}"
