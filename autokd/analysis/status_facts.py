"""How far a search is, as words and sentences: for the command line and for the page."""

from collections.abc import Sequence

from autokd.analysis.plain_values import EVENTS, estimates, limits_used_so_far
from autokd.analysis.rung_correlations import RungCorrelation, rung_correlations
from autokd.config.objectives import Against
from autokd.searches.earlier import learns_from
from autokd.searches.event_lines import event_line
from autokd.searches.findings import full_length_lines
from autokd.searches.part import MOST_CLIMBED
from autokd.searches.progress import Progress, unfinished_verb
from autokd.searches.remarks import search_remarks
from autokd.searches.result import SearchResult
from autokd.searches.tables import (
    count,
    counted,
    duration,
    evaluation_state,
    limits_used,
    moment,
    panel_lines,
    percent,
    reference_state,
    times_line,
    training_state,
)

__all__ = ["front_line", "rung_correlation_line", "status_facts"]

_STOPS = {"gracefully": "once the running evaluations have ended", "now": "within seconds"}


def status_facts(result: SearchResult, asks_model: bool = True) -> list[tuple[str, str]]:
    """The progress of a search and of its full-length trainings as names and sentences.

    Args:
        result: The search.
        asks_model: Whether to say what its model believes, and what all its trials tell, which takes time from it.
    """
    progress, trainings, row, problem = result.progress, result.trainings, result.row, result.problem
    outlook, flatness = estimates(result) if asks_model else (None, None)
    ended = f"{progress.complete} complete, {progress.pruned} pruned, {progress.failed} failed"
    facts = [
        ("search", f"{progress.name} ({progress.status})"),
        ("trials", f"{progress.finished} of {progress.n_trials}: {ended}, {progress.running} running"),
        *([("learns from", learns_from(problem.facts.earlier))] if problem.facts.earlier else []),
        *(("running", f"{one.name}: {evaluation_state(one)}") for one in progress.evaluations),
        ("best", _best_line(progress)),
        *([("front", front_line(result, problem.costs))] if problem.costs and asks_model else []),
        *(outlook.facts if outlook else []),
        ("teacher", _teacher_line(progress)),
        *panel_lines(problem.facts.panel),
        *([("limits", limits_used(used))] if (used := limits_used_so_far(result, progress)) else []),
        *(("reference", f"{one.name}: {reference_state(one)}") for one in progress.references),
        ("time", times_line(result.times)),
        ("last change", moment(row.updated_at)),
    ]
    if progress.status == "stopping":
        facts.append(("stops", _STOPS[row.stop or "now"]))
    if progress.is_running:
        if progress.finished < progress.trials:  # else the last references are trained
            facts.append(("time left", duration(progress.seconds_left)))
        facts.append(("controller", f"process {row.lease_pid} on {row.lease_host}"))
    elif (verb := unfinished_verb(trainings)) == "train" or progress.status != "finished":
        facts.append(("go on with", result.way_on(verb)))
    if asks_model:
        facts += _predictions(result, progress)
    facts += search_remarks(progress, flatness, result.command("retry"), outlook is not None and outlook.is_enough)
    facts += [("full length", line) for line in full_length_lines(problem)]
    facts += [("full length", f"{training.name}: {training_state(training)}") for training in trainings]
    lines = [event_line(event, problem.costs) for event in result.last_events(EVENTS)]
    return facts + [("" if position else "last events", line) for position, line in enumerate(lines)]


def front_line(result: SearchResult, costs: Sequence[Against]) -> str:
    """The front of a search of several objectives in a sentence: its ends, and how to see and choose the others."""
    students = result.front
    if not students:
        return "no student is trained up to the highest rung yet"
    ends = " to ".join(
        f"{percent(one.metrics['accuracy'])} with {', '.join(f'{count(one.cost(name))} {name}' for name in costs)}"
        for one in (students[:1] if len(students) == 1 else (students[0], students[-1]))
    )
    return f"{counted(len(students), 'student')}, {ends}; `{result.command('pareto')}` lists them"


def _predictions(result: SearchResult, progress: Progress) -> list[tuple[str, str]]:
    """How well each rung predicts the last one."""
    problem, climbed = result.problem, result.spread(MOST_CLIMBED, "complete")
    correlations = rung_correlations(climbed, problem.rungs, problem.fidelity_metric)
    return [("prediction", rung_correlation_line(one, progress.pruned, progress.complete)) for one in correlations]


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


def rung_correlation_line(rung_correlation: RungCorrelation, pruned: int, complete: int) -> str:
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
