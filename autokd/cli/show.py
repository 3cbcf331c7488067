"""Output of the commands that only read: tables for people, or one JSON value for programs."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.table import Table

from autokd.analysis.rung_correlations import RungCorrelation, rung_correlations
from autokd.cli.axes import axes_json, axes_lines, axes_table, limits_lines
from autokd.cli.events import event_line
from autokd.cli.exports import exported
from autokd.cli.output import show_json, show_text
from autokd.config.fidelity_metrics import ACCURACY, FIDELITY_METRICS
from autokd.config.flat import flat
from autokd.database.rows import TrialRow
from autokd.errors import AutoKDError
from autokd.export.verification import Verification
from autokd.searches.comparison import Comparison, describe_references
from autokd.searches.method_choice import METHOD, TEACHER
from autokd.searches.pace import full_length
from autokd.searches.problem import Problem
from autokd.searches.progress import Progress
from autokd.searches.remarks import search_remarks
from autokd.searches.result import SearchResult
from autokd.searches.students import TrainedStudent
from autokd.searches.tables import (
    count,
    counted,
    decimal,
    duration,
    facts_table,
    moment,
    percent,
    ratio,
    reference_state,
    table,
    tightest_limit,
    times_line,
    training_state,
)
from autokd.searches.trial_record import TrialRecord
from autokd.searches.workspace import Workspace

if TYPE_CHECKING:
    from autokd.searches.families import Family

__all__ = [
    "best",
    "families",
    "recipes",
    "searches",
    "status",
    "student_json",
    "trained",
    "trial",
]

Output = Literal["text", "json"]
CALIBRATION = ("ECE", "ECE scaled")
EVENTS = 5  # number of events in `status`


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
    progress, trainings, row = result.progress, result.trainings, result.row
    problem = result.problem
    trials, rungs, metric = result.trials, problem.rungs, problem.fidelity_metric
    flatness = None
    with suppress(AutoKDError):  # the status is told even where a space of the user's own is gone
        flatness = result.flatness
    if output == "json":
        predictions = [
            one for each in FIDELITY_METRICS.values() for one in rung_correlations(trials, rungs, each) if one.n
        ]
        lists = {
            "trainings": [asdict(training) for training in trainings],
            "rung_correlations": [asdict(prediction) for prediction in predictions],
            "events": [asdict(event) for event in result.last_events(EVENTS)],
            "rungs": list(rungs),
            "seconds": asdict(result.times),
            "full_length": full_length(problem),
            "flatness": flatness and asdict(flatness) | {"is_flat": flatness.is_flat},
        }
        show_json(asdict(progress) | lists)
        return
    ended = f"{progress.complete} complete, {progress.pruned} pruned, {progress.failed} failed"
    facts = [
        ("search", f"{progress.name} ({progress.status})"),
        ("trials", f"{progress.finished} of {progress.trials}: {ended}, {progress.running} running"),
        ("best", _best_line(progress)),
        ("teacher", _teacher_line(progress)),
        *limits_lines(result.problem.budget, trials),
        *(("reference", f"{one.name}: {reference_state(one)}") for one in progress.references),
        ("time", times_line(result.times)),
        ("last change", moment(row.updated_at)),
    ]
    if progress.status == "running":
        facts += [
            ("time left", duration(progress.seconds_left)),
            ("controller", f"process {row.lease_pid} on {row.lease_host}"),
        ]
    elif progress.status != "finished":
        is_training = any(training.state == "running" for training in trainings)
        facts.append(("go on with", result.command("train" if is_training else "resume")))
    facts += [
        ("prediction", _rung_correlation_line(one, progress.pruned)) for one in rung_correlations(trials, rungs, metric)
    ]
    facts += search_remarks(progress, flatness)
    facts += [("full length", line) for line in _full_length_lines(problem)]
    facts += [("full length", f"{training.name}: {training_state(training)}") for training in trainings]
    events = result.last_events(EVENTS)
    facts += [("" if position else "last events", event_line(event)) for position, event in enumerate(events)]
    show_text(facts_table(facts))


def trial(record: TrialRecord, result: SearchResult, output: Output) -> None:
    """Print a trial or reference with its students and evaluations.

    Args:
        record: The trial or reference with its students and evaluations.
        result: Its search.
        output: What to print: text or one JSON value.
    """
    row, problem = record.trial, result.problem
    metric = problem.fidelity_metric
    comparison = None if row.reference else _comparison_of(record, result)
    if output == "json":
        show_json(
            {
                "trial": asdict(row),
                "family": problem.describe(row),
                "students": [asdict(student) for student in record.students],
                "evaluations": [asdict(evaluation) for evaluation in record.evaluations],
                "fidelity_metric": {"metric": metric.name, "values": record.means(metric.name)},
                "comparison": comparison and comparison.to_dict(),
            }
        )
        return
    facts = [
        ("reference", f"{row.reference} ({row.state})") if row.reference else ("trial", f"{row.number} ({row.state})"),
        ("value", percent(row.value)),
        ("opened", f"{moment(row.created_at)}, when {counted(row.opened_after, 'trial')} had ended"),
        ("ended", _ended(row)),
        *([] if metric == ACCURACY else [("fidelity metric", _fidelity_metric_line(record, problem))]),
        ("family", problem.describe(row)),
        *(
            (name, f"{value:.4g}" if isinstance(value, float) else str(value))
            for name, value in flat(dict(row.parameters))
        ),
        *([("compared", str(comparison))] if comparison else []),
    ]
    if workers := sorted({evaluation.worker for evaluation in record.evaluations if evaluation.worker}):
        facts.append(("workers", ", ".join(workers)))
    if row.reason:
        facts.append(("reason", row.reason))
    show_text(facts_table(facts))
    students = [
        (
            str(student.replicate),
            student.digest[:12],
            count(student.params),
            count(student.macs),
            count(student.activation_bytes),
            count(student.cost.memory_bytes),
            tightest_limit(problem.budget.utilisation(student.cost)),
        )
        for student in record.students
    ]
    columns = ("student", "architecture", "parameters", "MACs", "activations", "memory bytes", "tightest limit")
    show_text(table(columns, students, numeric=range(2, 6)))
    replicates = {student.id: student.replicate for student in record.students}
    evaluations = [
        (
            str(replicates[evaluation.student_id]),
            f"{evaluation.epochs:g}",
            evaluation.state,
            *_metric_cells(evaluation.metrics or {}),
            *_teacher_cells(evaluation.metrics or {}),
            duration(evaluation.seconds),
        )
        for evaluation in record.evaluations
    ]
    headings = ("student", "epochs", "state", "accuracy", "loss", *CALIBRATION, "agreement", "KL", "took")
    show_text(table(headings, evaluations, numeric=range(3, 10)))
    show_text("of the validation samples; ECE scaled: after temperature scaling; KL: KL(teacher || student) in nats")


def _comparison_of(record: TrialRecord, result: SearchResult) -> Comparison | None:
    """A trial's first student beside the best reference trained as long, as the search trained both."""
    searched = {student.id for student in record.students}
    mine = (student for student in result.students if student.row.id in searched)
    return result.compare(student) if (student := next(mine, None)) else None


def _ended(row: TrialRow) -> str:
    if row.finished_at is None:
        return "not yet"
    return moment(row.finished_at) + ("" if row.reference else f", as number {row.finish_order}")


def best(
    result: SearchResult, output: Output, exported_to: Path | None = None, verification: Verification | None = None
) -> None:
    """Print the best student of a search next to the teacher.

    Args:
        result: The search.
        output: What to print: text or one JSON value.
        exported_to: Folder to which the student was exported, if it was.
        verification: Result of verifying the export, if there is one.
    """
    student, facts = result.best, result.row.facts
    if output == "json":
        teacher = {key: value for key, value in facts.items() if key.startswith("teacher")}
        answer = (
            student_json(student) | {"search": result.name, "distillation": _distillation(result, student)} | teacher
        )
        answer |= describe_references(result.references, result.compare(student))
        answer |= {"full_length": full_length(result.problem), "seconds": asdict(result.times)}
        answer |= axes_json(result, student)
        if verification:
            answer |= {"exported_to": str(exported_to), "verification": asdict(verification)}
        show_json(answer)
        return
    teacher_test = facts.get("teacher_test_metrics", {}).get("accuracy")
    rows: list[tuple[str, ...]] = [
        (
            "teacher",
            count(facts["teacher_params"]),
            count(facts["teacher_macs"]),
            *_metric_cells(facts["teacher_metrics"]),
            percent(teacher_test),
        ),
        (
            "student",
            count(student.row.params),
            count(student.row.macs),
            *_metric_cells(student.metrics),
            percent(student.metrics.get("test_accuracy")),
        ),
    ]
    rows += [_reference_cells(reference, student) for reference in result.references]
    params = ratio(facts["teacher_params"], student.row.params)
    rows.append(("times smaller", params, ratio(facts["teacher_macs"], student.row.macs), "", "", "", "", ""))
    headings = ("", "parameters", "MACs", "validation", "loss", *CALIBRATION, "test")
    show_text(table(headings, rows, numeric=range(1, 8)))
    show_text(axes_table(result.axes(student), result.references))
    space, settings = result.problem.space, _distillation(result, student)
    method = settings.pop("method")
    length = counted(student.evaluation.epochs, "epoch") + ("" if student.is_final else " (search only)")
    if student.is_final and student.evaluation.epochs == result.problem.full_length_epochs:
        length = "".join(_full_length_lines(result.problem)) or length
    lines = [
        ("trial", str(student.trial.number)),
        ("family", space.describe(space.complete(result.problem.space_parameters(student.trial)))),
        ("distilled", f"by {method}" + (f": {_settings(settings)}" if settings else "")),
        ("trained", length),
    ]
    lines += _reference_lines(result, student)
    lines.append(("time", times_line(result.times)))
    if "agreement" in student.metrics:
        agreement, divergence = _teacher_cells(student.metrics)
        lines.append(("agrees", f"with the teacher on {agreement} of the validation samples, KL {divergence} nats"))
    lines += axes_lines(result, student)
    show_text(facts_table(lines))
    if verification:
        exported(exported_to or Path(), verification, student.is_final, output)
    elif not student.is_final:
        show_text(f"\nTrain it at full length: {result.command('train')}")
    else:
        show_text(f"\nExport it: {result.command('export')} FOLDER")


def _distillation(result: SearchResult, student: TrainedStudent) -> dict[str, Any]:
    return dict(result.problem.methods.chosen(student.trial.parameters))


def _reference_cells(reference: TrainedStudent, student: TrainedStudent) -> tuple[str, ...]:
    """Row of a reference beside the student, with the length of its training if that is another one."""
    epochs = reference.evaluation.epochs
    length = "" if epochs == student.evaluation.epochs else f", {counted(epochs, 'epoch')}"
    return (
        f"{reference.trial.reference}{length}",
        count(reference.row.params),
        count(reference.row.macs),
        *_metric_cells(reference.metrics),
        percent(reference.metrics.get("test_accuracy")),
    )


def _reference_lines(result: SearchResult, student: TrainedStudent) -> list[tuple[str, str]]:
    """The comparison with the best reference trained as long, and why references are left out."""
    failed = [f"{one.name}: {one.reason}" for one in result.progress.references if one.state == "failed"]
    comparison = result.compare(student)
    return [
        *([("compared", str(comparison))] if comparison else []),
        *(("left out", line) for line in failed),
    ]


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )


def families(result: SearchResult, top: int, output: Output) -> None:
    """Print the families of a search, the best first, and what is remarkable about their order.

    Args:
        result: The search.
        top: How many to print at most.
        output: What to print: text or one JSON value.
    """
    ranked = result.families[:top]
    if output == "json":
        show_json([asdict(family) for family in ranked])
        return
    show_text(_families_table(ranked))
    show_text("mean ± sd, P(best): what the model believes of the accuracy at the last rung")
    show_text("activations: bytes of the family's first student; tightest limit: the one of which it uses the most")
    for remark in result.remarks:
        show_text(remark)


def _families_table(ranked: "Sequence[Family]") -> Table:
    """A row for each family, with the method and the teacher where the search chose among several."""
    chosen = [name for name in (METHOD, TEACHER) if any(name in family.parameters for family in ranked)]
    rows = [
        (
            str(family.trial),
            percent(family.observed),
            str(family.rung),
            f"{100 * family.mean:.1f} ± {100 * family.deviation:.1f} %",
            f"{family.probability_best:.2f}",
            count(family.activation_bytes),
            tightest_limit(family.limits),
            *(str(family.parameters[name]) for name in chosen),
            family.description,
        )
        for family in ranked
    ]
    headings = ("trial", "observed", "rung", "mean ± sd", "P(best)", "activations", "tightest limit", *chosen, "family")
    return table(headings, rows, numeric=range(6))


def trained(students: Sequence[TrainedStudent], result: SearchResult, output: Output) -> None:
    """Print the students trained at full length, and the best one next to the teacher.

    Args:
        students: The students that were trained.
        result: Their search.
        output: What to print: text or one JSON value.
    """
    if output == "json":
        show_json([student_json(student) | {"axes": result.axes(student)} for student in students])
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
    best(result, output)


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


def _best_line(progress: Progress) -> str:
    if progress.best_accuracy is None:
        return "-"
    size = f"{count(progress.best_params)} parameters, {count(progress.best_macs)} MACs"
    activations = f"{count(progress.best_activation_bytes)} activation bytes"
    return f"{percent(progress.best_accuracy)} by trial {progress.best_trial}, {size}, {activations}"


def _teacher_line(progress: Progress) -> str:
    size = f"{percent(progress.teacher_accuracy)}, {count(progress.teacher_params)} parameters"
    activations = progress.teacher_activation_bytes
    return size if activations is None else f"{size}, {count(activations)} activation bytes"


def _fidelity_metric_line(record: TrialRecord, problem: Problem) -> str:
    """Values of the metric by which the trial was compared, at each rung."""
    metric, rungs = problem.fidelity_metric, problem.rungs
    values = [f"{value:.4f} after {counted(rungs[rung], 'epoch')}" for rung, value in record.means(metric.name).items()]
    return f"{metric.name} {', '.join(values) or '-'}"


def _rung_correlation_line(rung_correlation: RungCorrelation, pruned: int) -> str:
    """Correlation of a rung with the last one, with a remark if pruned trials are missing from the sample."""
    what = f"{rung_correlation.metric} after {counted(rung_correlation.epochs, 'epoch')}"
    n = counted(rung_correlation.n, "trial")
    if rung_correlation.rho is None:
        return f"{what}: too little to tell, {n} reached the last rung"
    spread = (
        "" if rung_correlation.low is None else f" (90 %: {rung_correlation.low:.2f} to {rung_correlation.high:.2f})"
    )
    selected = "; pruned ones are missing, which lowers it" if pruned else ""
    return f"{what}: rank correlation {rung_correlation.rho:.2f}{spread} with the last rung, {n}{selected}"


def _full_length_lines(problem: Problem) -> list[str]:
    """Length of the full-length trainings with its reason, if it follows from the time that they may take."""
    length = problem.full_length
    return [] if length is None else [length.describe(problem.config.final.epochs)]


def _metric_cells(metrics: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Accuracy, loss and calibration errors; a dash for those that were not measured."""
    loss, ece, scaled = (decimal(metrics.get(name)) for name in ("loss", "ece", "ece_scaled"))
    return percent(metrics.get("accuracy")), loss, ece, scaled


def _teacher_cells(metrics: Mapping[str, Any]) -> tuple[str, str]:
    """Agreement with the teacher, and divergence from it."""
    return percent(metrics.get("agreement")), decimal(metrics.get("teacher_kl"))
