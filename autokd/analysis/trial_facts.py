"""A trial as words, sentences and tables: for the command line and for the page."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from autokd.analysis.plain_values import LOG_LINES, searched_student
from autokd.config.fidelity_metrics import ACCURACY
from autokd.config.flat import flat
from autokd.evaluation.log import tail
from autokd.evaluation.task import log_file
from autokd.searches.earlier import learns_from
from autokd.searches.problem import Problem
from autokd.searches.result import SearchResult
from autokd.searches.tables import (
    METRIC_HEADINGS,
    count,
    counted,
    duration,
    metric_cells,
    moment,
    percent,
    table,
    teacher_cells,
    tightest_limit,
)
from autokd.searches.trial_record import TrialRecord
from search_spaces.design.budget import Budget

__all__ = ["EvaluationLog", "evaluation_logs", "evaluations_table", "students_table", "trial_facts", "trials_table"]


@dataclass(frozen=True)
class EvaluationLog:
    """The log of an evaluation.

    Attributes:
        title: Of which evaluation it is, such as `log of student 0 up to 3 epochs`.
        key: The evaluation's key.
        file: Where it is.
        end: Its last lines, if the evaluation failed.
    """

    title: str
    key: str
    file: Path
    end: Sequence[str]


def trial_facts(record: TrialRecord, result: SearchResult) -> list[tuple[str, str]]:
    """Names and values: state, family, parameters, and how the trial compares with the best reference."""
    problem, student = result.problem, searched_student(record, result)
    row, metric, comparison = record.trial, problem.fidelity_metric, student and result.compare(student)
    facts = [
        ("reference", f"{row.reference} ({row.state})") if row.reference else ("trial", f"{row.number} ({row.state})"),
        ("value", percent(row.value)),
        *((name, f"{cost:,.0f}") for name, cost in zip(problem.costs, row.costs or (), strict=False)),
        ("opened", f"{moment(row.created_at)}, when {counted(row.opened_after, 'trial')} had ended"),
        ("ended", _ended(record)),
        *([] if metric == ACCURACY else [("fidelity metric", _fidelity_metric_line(record, problem))]),
        ("family", problem.describe(row)),
        *(
            (name, f"{value:.4g}" if isinstance(value, float) else str(value))
            for name, value in flat(dict(row.parameters))
        ),
        *([("compared", str(comparison))] if comparison else []),
        *([("learns from", learns_from(problem.facts.earlier))] if problem.facts.earlier else []),
    ]
    if workers := sorted({evaluation.worker for evaluation in record.evaluations if evaluation.worker}):
        facts.append(("workers", ", ".join(workers)))
    if row.reason:
        facts.append(("reason", row.reason))
    if row.state == "failed":
        facts.append(("fault", "of a worker" if record.is_workers_fault else "of its own"))
    return facts


def trials_table(records: Iterable[TrialRecord], problem: Problem) -> Table:
    """A row for each trial, with the size of its first student."""
    rows = [
        (
            str(record.trial.number),
            record.trial.state,
            percent(record.trial.value),
            "-" if record.trial.rung is None else f"{problem.rungs[record.trial.rung]:g}",
            *((count(record.students[0].params), count(record.students[0].macs)) if record.students else ("-", "-")),
            duration(record.trial.seconds),
            problem.describe(record.trial),
        )
        for record in records
    ]
    headings = ("trial", "state", "value", "epochs", "parameters", "MACs", "took", "family")
    return table(headings, rows, numeric=range(2, 7))


def students_table(record: TrialRecord, budget: Budget) -> Table:
    """A row for each student with its cost."""
    rows = [
        (
            str(student.replicate),
            student.digest[:12],
            count(student.params),
            count(student.macs),
            count(student.activation_bytes),
            count(student.cost.memory_bytes),
            tightest_limit(budget.utilisation(student.cost)),
        )
        for student in record.students
    ]
    columns = ("student", "architecture", "parameters", "MACs", "activations", "memory bytes", "tightest limit")
    return table(columns, rows, numeric=range(2, 6))


def evaluations_table(record: TrialRecord) -> Table:
    """A row for each evaluation with its metrics, among them the accuracies of companions if there were any."""
    replicates = {student.id: student.replicate for student in record.students}
    companions = [_companions(evaluation.metrics or {}) for evaluation in record.evaluations]
    rows = [
        (
            str(replicates[evaluation.student_id]),
            f"{evaluation.epochs:g}",
            evaluation.state,
            *metric_cells(evaluation.metrics or {}),
            *teacher_cells(evaluation.metrics or {}),
            *([theirs] if any(companions) else []),
            duration(evaluation.seconds),
        )
        for evaluation, theirs in zip(record.evaluations, companions, strict=True)
    ]
    further = ["companions"] if any(companions) else []
    headings = ("student", "epochs", "state", *METRIC_HEADINGS, "agreement", "KL", *further, "took")
    return table(headings, rows, numeric=range(3, len(headings)))


def evaluation_logs(record: TrialRecord, problem: Problem) -> Iterator[EvaluationLog]:
    """The logs of those evaluations of a trial that printed something."""
    replicates = {student.id: student.replicate for student in record.students}
    for row in record.evaluations:
        file = log_file(problem.evaluations, row.key)
        if file.exists():
            title = f"log of student {replicates[row.student_id]} up to {counted(row.epochs, 'epoch')}"
            yield EvaluationLog(title, row.key, file, tail(file, LOG_LINES) if row.state == "failed" else ())


def _companions(metrics: Mapping[str, Any]) -> str:
    """Accuracy of each network that learnt beside the student; empty if none did."""
    return ", ".join(percent(metrics[name]) for name in sorted(metrics) if name.startswith("companion"))


def _ended(record: TrialRecord) -> str:
    row = record.trial
    if row.finished_at is None:
        return "not yet"
    return moment(row.finished_at) + ("" if row.reference else f", as number {row.finish_order}")


def _fidelity_metric_line(record: TrialRecord, problem: Problem) -> str:
    """Values of the metric by which the trial was compared, at each rung."""
    metric, rungs = problem.fidelity_metric, problem.rungs
    values = [f"{value:.4f} after {counted(rungs[rung], 'epoch')}" for rung, value in record.means(metric.name).items()]
    return f"{metric.name} {', '.join(values) or '-'}"
