"""Output of the commands that only read: tables for people, or one JSON value for programs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table

from autokd.analysis.plain_values import (
    EVENTS,
    LOG_LINES,
    comparison_of,
    estimates,
    families_json,
    status_json,
    trial_json,
)
from autokd.analysis.rung_correlations import RungCorrelation, rung_correlations
from autokd.cli.best import front_line
from autokd.cli.events import event_line
from autokd.cli.output import Output, show_json, show_text
from autokd.config.fidelity_metrics import ACCURACY
from autokd.config.flat import flat
from autokd.database.rows import TrialRow
from autokd.evaluation.log import tail
from autokd.evaluation.task import log_file
from autokd.searches.comparison import Comparison
from autokd.searches.earlier import learns_from
from autokd.searches.findings import full_length_lines
from autokd.searches.method_choice import METHOD, TEACHER
from autokd.searches.part import MOST_CLIMBED
from autokd.searches.problem import Problem
from autokd.searches.progress import Progress, smallest_student
from autokd.searches.remarks import search_remarks
from autokd.searches.result import SearchResult
from autokd.searches.tables import (
    METRIC_HEADINGS,
    count,
    counted,
    duration,
    evaluation_state,
    facts_table,
    limits_used,
    metric_cells,
    moment,
    percent,
    reference_state,
    table,
    teacher_cells,
    tightest_limit,
    times_line,
    training_state,
)
from autokd.searches.trial_record import TrialRecord
from autokd.searches.workspace import Workspace
from search_spaces.design.budget import Budget

if TYPE_CHECKING:
    from autokd.searches.families import Family

__all__ = ["families", "recipes", "searches", "status", "status_table", "trial"]

_STOPS = {"gracefully": "once the running evaluations have ended", "now": "within seconds"}


def recipes(known: Mapping[str, str], output: Output) -> None:
    """Print the recipes and their descriptions."""
    if output == "json":
        show_json([{"name": name, "description": line} for name, line in known.items()])
    else:
        show_text(table(("recipe", "what it is"), known.items()))


def searches(progresses: Sequence[Progress], home: Workspace, output: Output) -> None:
    """Print all searches, one line each.

    Args:
        progresses: Progress of each search.
        home: Workspace of the searches.
        output: What to print: text or one JSON value.
    """
    if output == "json":
        show_json([asdict(progress) for progress in progresses])
        return
    if not progresses:
        show_text(f"no search in {home.folder} yet: begin one with `autokd search`")
        return
    rows = [
        (
            progress.name,
            progress.status,
            f"{progress.finished}/{progress.trials}",
            percent(progress.best_accuracy),
            percent(progress.teacher_accuracy),
            count(progress.best_params),
        )
        for progress in progresses
    ]
    show_text(table(("search", "status", "trials", "best", "teacher", "parameters"), rows, numeric=range(2, 6)))


def status(result: SearchResult, output: Output) -> None:
    """Print the progress of a search and of its full-length trainings."""
    if output == "json":
        show_json(status_json(result))
    else:
        show_text(status_table(result))


def status_table(result: SearchResult) -> Table:
    """The progress of a search and of its full-length trainings as names and sentences."""
    return facts_table(_status_facts(result))


def _status_facts(result: SearchResult) -> list[tuple[str, str]]:
    """The progress as names and sentences."""
    progress, trainings, row = result.progress, result.trainings, result.row
    problem, (outlook, flatness) = result.problem, estimates(result)
    ended = f"{progress.complete} complete, {progress.pruned} pruned, {progress.failed} failed"
    facts = [
        ("search", f"{progress.name} ({progress.status})"),
        ("trials", f"{progress.finished} of {progress.trials}: {ended}, {progress.running} running"),
        *([("learns from", learns_from(problem.facts.earlier))] if problem.facts.earlier else []),
        *(("running", evaluation_state(one)) for one in progress.evaluations),
        ("best", _best_line(progress)),
        *([("front", front_line(result, problem.costs).removeprefix("front: "))] if problem.costs else []),
        *(outlook.facts if outlook else []),
        ("teacher", _teacher_line(progress)),
        *_limits_lines(result, progress, problem.budget),
        *(("reference", f"{one.name}: {reference_state(one)}") for one in progress.references),
        ("time", times_line(result.times)),
        ("last change", moment(row.updated_at)),
    ]
    if progress.status == "stopping":
        facts.append(("stops", _STOPS[row.stop or "now"]))
    if progress.is_running:
        facts += [
            ("time left", duration(progress.seconds_left)),
            ("controller", f"process {row.lease_pid} on {row.lease_host}"),
        ]
    elif progress.status != "finished":
        is_training = any(training.state == "running" for training in trainings)
        facts.append(("go on with", result.command("train" if is_training else "resume")))
    climbed = result.spread(MOST_CLIMBED, "complete")
    correlations = rung_correlations(climbed, problem.rungs, problem.fidelity_metric)
    facts += [("prediction", _rung_correlation_line(one, progress.pruned, progress.complete)) for one in correlations]
    facts += search_remarks(progress, flatness, outlook is not None and outlook.is_enough)
    facts += [("full length", line) for line in full_length_lines(problem)]
    facts += [("full length", f"{training.name}: {training_state(training)}") for training in trainings]
    lines = [event_line(event) for event in result.last_events(EVENTS)]
    return facts + [("" if position else "last events", line) for position, line in enumerate(lines)]


def trial(record: TrialRecord, result: SearchResult, output: Output) -> None:
    """Print a trial or reference with its students and evaluations.

    Args:
        record: The trial or reference with its students and evaluations.
        result: Its search.
        output: What to print: text or one JSON value.
    """
    if output == "json":
        show_json(trial_json(record, result))
        return
    problem, comparison = result.problem, comparison_of(record, result)
    show_text(facts_table(_trial_facts(record, problem, comparison)))
    show_text(_students_table(record, problem.budget))
    show_text(_evaluations_table(record))
    show_text("of the validation samples; ECE scaled: after temperature scaling; KL: KL(teacher || student) in nats")
    for line in _log_lines(record, problem):
        show_text(line)


def _trial_facts(record: TrialRecord, problem: Problem, comparison: Comparison | None) -> list[tuple[str, str]]:
    """Names and values: state, family, parameters, and how the trial compares with the best reference."""
    row, metric = record.trial, problem.fidelity_metric
    facts = [
        ("reference", f"{row.reference} ({row.state})") if row.reference else ("trial", f"{row.number} ({row.state})"),
        ("value", percent(row.value)),
        *((name, f"{cost:,.0f}") for name, cost in zip(problem.costs, row.costs or (), strict=False)),
        ("opened", f"{moment(row.created_at)}, when {counted(row.opened_after, 'trial')} had ended"),
        ("ended", _ended(row)),
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


def _students_table(record: TrialRecord, budget: Budget) -> Table:
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


def _evaluations_table(record: TrialRecord) -> Table:
    """A row for each evaluation with its metrics."""
    replicates = {student.id: student.replicate for student in record.students}
    rows = [
        (
            str(replicates[evaluation.student_id]),
            f"{evaluation.epochs:g}",
            evaluation.state,
            *metric_cells(evaluation.metrics or {}),
            *teacher_cells(evaluation.metrics or {}),
            duration(evaluation.seconds),
        )
        for evaluation in record.evaluations
    ]
    headings = ("student", "epochs", "state", *METRIC_HEADINGS, "agreement", "KL", "took")
    return table(headings, rows, numeric=range(3, 10))


def _log_lines(record: TrialRecord, problem: Problem) -> Iterator[str]:
    """Where evaluations that printed something have their logs, with the last lines of those that failed."""
    replicates = {student.id: student.replicate for student in record.students}
    for row in record.evaluations:
        file = log_file(problem.evaluations, row.key)
        if file.exists():
            yield f"log of student {replicates[row.student_id]} up to {counted(row.epochs, 'epoch')}: {file}"
            yield from (f"  {line}" for line in tail(file, LOG_LINES) if row.state == "failed")


def _ended(row: TrialRow) -> str:
    if row.finished_at is None:
        return "not yet"
    return moment(row.finished_at) + ("" if row.reference else f", as number {row.finish_order}")


def families(result: SearchResult, top: int, output: Output) -> None:
    """Print the families of a search, the best first, and what is remarkable about their order.

    Args:
        result: The search.
        top: How many to print at most.
        output: What to print: text or one JSON value.
    """
    if output == "json":
        show_json(families_json(result, top))
        return
    costs = result.problem.costs
    front = {student.trial.number for student in result.front} if costs else set()
    of_all, outlook = result.judgement
    ranked = of_all[:top]
    marks = {each.trial: "yes" if each.trial in front else "" for each in ranked} if costs else None
    show_text(_families_table(ranked, marks))
    if costs:
        show_text(f"front: whether a student of the highest rung is on that of accuracy and {' and '.join(costs)}")
    show_text("mean ± sd, P(best): what the model believes of the accuracy at the last rung")
    progress = result.progress
    total = progress.finished + progress.running
    if ranked and ranked[0].learnt_from < total:
        learnt = f"{ranked[0].learnt_from} of {counted(total, 'trial')}"
        show_text(f"of the {learnt} that the model learns from: the best, and others spread evenly over the search")
    if outlook:
        show_text(facts_table(outlook.facts))
    show_text("activations: bytes of the family's first student; tightest limit: the one of which it uses the most")
    for remark in result.remarks:
        show_text(remark)


def _families_table(ranked: "Sequence[Family]", marks: Mapping[int, str] | None = None) -> Table:
    """A row for each family, with the method and the teacher where the search chose among several.

    Where the search has several objectives, `marks` say which trials are on the front, and sizes are shown.
    """
    chosen = [name for name in (METHOD, TEACHER) if any(name in family.parameters for family in ranked)]
    rows = [
        (
            str(family.trial),
            percent(family.observed),
            str(family.rung),
            f"{100 * family.mean:.1f} ± {100 * family.deviation:.1f} %",
            f"{family.probability_best:.2f}",
            count(family.activation_bytes),
            *([] if marks is None else [count(family.params), count(family.macs), marks[family.trial]]),
            tightest_limit(family.limits),
            *(str(family.parameters[name]) for name in chosen),
            family.description,
        )
        for family in ranked
    ]
    sizes = () if marks is None else ("parameters", "MACs", "front")
    numbers = ("trial", "observed", "rung", "mean ± sd", "P(best)", "activations")
    headings = (*numbers, *sizes, "tightest limit", *chosen, "family")
    return table(headings, rows, numeric=range(len(numbers) + len(sizes[:2])))


def _best_line(progress: Progress) -> str:
    if progress.best_accuracy is None:
        return "-"
    size = f"{count(progress.best_params)} parameters, {count(progress.best_macs)} MACs"
    activations = f"{count(progress.best_activation_bytes)} activation bytes"
    return f"{percent(progress.best_accuracy)} by trial {progress.best_trial}, {size}, {activations}"


def _limits_lines(result: SearchResult, progress: Progress, budget: Budget) -> list[tuple[str, str]]:
    """The share of each limit that the best trial's smallest student uses; nothing before there is a best trial."""
    if progress.best_trial is None:
        return []
    best = smallest_student(result.trial(progress.best_trial).students)
    return [("limits", limits_used(budget.utilisation(best.cost)))]


def _teacher_line(progress: Progress) -> str:
    size = f"{percent(progress.teacher_accuracy)}, {count(progress.teacher_params)} parameters"
    activations = progress.teacher_activation_bytes
    return size if activations is None else f"{size}, {count(activations)} activation bytes"


def _fidelity_metric_line(record: TrialRecord, problem: Problem) -> str:
    """Values of the metric by which the trial was compared, at each rung."""
    metric, rungs = problem.fidelity_metric, problem.rungs
    values = [f"{value:.4f} after {counted(rungs[rung], 'epoch')}" for rung, value in record.means(metric.name).items()]
    return f"{metric.name} {', '.join(values) or '-'}"


def _rung_correlation_line(rung_correlation: RungCorrelation, pruned: int, complete: int) -> str:
    """Correlation of a rung with the last one, with what is missing from the sample.

    Args:
        rung_correlation: The correlation.
        pruned: Number of trials that were pruned.
        complete: Number of trials that reached the last rung.
    """
    what = f"{rung_correlation.metric} after {counted(rung_correlation.epochs, 'epoch')}"
    n = counted(rung_correlation.n, "trial")
    if complete > MOST_CLIMBED:
        n = f"{rung_correlation.n} of {counted(complete, 'trial')}"
    if rung_correlation.rho is None:
        return f"{what}: too little to tell, {n} reached the last rung"
    spread = (
        "" if rung_correlation.low is None else f" (90 %: {rung_correlation.low:.2f} to {rung_correlation.high:.2f})"
    )
    selected = "; pruned ones are missing, which lowers it" if pruned else ""
    return f"{what}: rank correlation {rung_correlation.rho:.2f}{spread} with the last rung, {n}{selected}"
