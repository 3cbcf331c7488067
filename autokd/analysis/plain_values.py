"""What the verbs that only read answer as plain values: `-o json` on the command line, and the same over HTTP."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from autokd.analysis.rung_correlations import rung_correlations
from autokd.config.fidelity_metrics import FIDELITY_METRICS
from autokd.config.objectives import Against
from autokd.errors import AutoKDError
from autokd.evaluation.log import tail
from autokd.evaluation.task import log_file
from autokd.searches.earlier import learns_from_json
from autokd.searches.findings import student_json
from autokd.searches.pace import full_length
from autokd.searches.panel_facts import panel_json
from autokd.searches.part import MOST_CLIMBED
from autokd.searches.problem import Problem
from autokd.searches.progress import Progress, smallest_student
from autokd.searches.result import SearchResult
from autokd.searches.students import TrainedStudent, trained_students
from autokd.searches.trial_record import TrialRecord

if TYPE_CHECKING:
    from autokd.optimizers.models.signal_to_noise import SignalToNoise
    from autokd.searches.stopping import Outlook

__all__ = [
    "EVENTS",
    "LOG_LINES",
    "estimates",
    "failures_json",
    "families_json",
    "limits_used_so_far",
    "pareto_json",
    "searched_student",
    "status_json",
    "student_or_reference_json",
    "trial_json",
]

EVENTS = 5  # number of events in `status`
LOG_LINES = 12  # of a failed evaluation in `show`: the end of a traceback


def status_json(result: SearchResult) -> dict[str, Any]:
    """The progress of a search and of its full-length trainings, with what its model believes."""
    problem, progress, climbed = result.problem, result.progress, result.spread(MOST_CLIMBED, "complete")
    outlook, flatness = estimates(result)
    found = (rung_correlations(climbed, problem.rungs, metric) for metric in FIDELITY_METRICS.values())
    correlations = [one for of_metric in found for one in of_metric if one.n]
    return asdict(progress) | {
        "trainings": [asdict(training) for training in result.trainings],
        "rung_correlations": [asdict(one) for one in correlations],
        "events": [asdict(event) for event in result.last_events(EVENTS)],
        "controller": _controller_json(result, progress),
        "limits": {"allowed": problem.budget.limits, "used": limits_used_so_far(result, progress)},
        "rungs": list(problem.rungs),
        "seconds": asdict(result.times),
        "full_length": full_length(problem),
        "learns_from": learns_from_json(problem.facts.earlier),
        "panel": panel_json(problem.facts.panel),
        "outlook": outlook and asdict(outlook),
        "flatness": flatness and asdict(flatness) | {"is_flat": flatness.is_flat},
        **({"front": [student_or_reference_json(student) for student in result.front]} if problem.costs else {}),
    }


def limits_used_so_far(result: SearchResult, progress: Progress) -> dict[str, float] | None:
    """The share of each limit that the best trial's smallest student uses; None before there is a best trial."""
    if progress.best_trial is None:
        return None
    best = smallest_student(result.trial(progress.best_trial).students)
    return result.problem.budget.utilisation(best.cost)


def _controller_json(result: SearchResult, progress: Progress) -> dict[str, Any] | None:
    """The process that runs the search; None if none does."""
    row = result.row
    if row.lease_host is None or not progress.is_running:
        return None
    return {"host": row.lease_host, "pid": row.lease_pid}


def estimates(result: SearchResult) -> tuple["Outlook | None", "SignalToNoise | None"]:
    """Outlook and flatness; None where a space of the user's own is gone, which the status survives."""
    with suppress(AutoKDError):
        return result.outlook, result.flatness
    return None, None


def trial_json(record: TrialRecord, result: SearchResult) -> dict[str, Any]:
    """A trial or reference with its students and evaluations.

    Args:
        record: The trial or reference.
        result: Its search.
    """
    problem, student = result.problem, searched_student(record, result)
    comparison, metric = student and result.compare(student), problem.fidelity_metric.name
    return {
        "trial": _trial_row_json(record),
        "family": problem.describe(record.trial),
        "students": [asdict(each) for each in record.students],
        "axes": student and result.axes(student),
        "evaluations": [asdict(row) | _log_json(row.key, problem) for row in record.evaluations],
        "fidelity_metric": {"metric": metric, "values": record.means(metric)},
        "comparison": comparison and comparison.to_dict(),
        "learns_from": learns_from_json(problem.facts.earlier),
    }


def searched_student(record: TrialRecord, result: SearchResult) -> TrainedStudent | None:
    """The best student of a trial as the search trained it; None before one was, and for references.

    Args:
        record: The trial.
        result: Its search.
    """
    row = record.trial
    with result.home.open() as store:
        trained = trained_students(result.problem, store, row.search_id, [row.id], architectures=False)
    return next((student for student in trained if not student.is_final), None)


def _log_json(key: str, problem: Problem) -> dict[str, Any]:
    """The file of what an evaluation printed, None if it printed nothing, and the last lines of it."""
    file = log_file(problem.evaluations, key)
    return {"key": key, "log": str(file) if file.exists() else None, "log_tail": tail(file, LOG_LINES)}


def failures_json(result: SearchResult, most: int) -> list[dict[str, Any]]:
    """Failed trials and references with their reasons, and the end of what their failed evaluations printed.

    Args:
        result: The search.
        most: Largest number of trials, spread evenly over the search; references come on top.
    """
    problem = result.problem
    names = [one.name for one in result.progress.references if one.state == "failed"]
    records = [*(result.trial(name) for name in names), *result.spread(most, "failed")]
    return [
        {
            "trial": record.trial.number,
            "reference": record.trial.reference,
            "reason": record.trial.reason,
            "is_workers_fault": record.is_workers_fault,
            "logs": [_log_json(row.key, problem) for row in record.evaluations if row.state == "failed"],
        }
        for record in records
    ]


def families_json(result: SearchResult, top: int) -> list[dict[str, Any]]:
    """The families of a search, the best first, and with several objectives whether each has a student on the front.

    Args:
        result: The search.
        top: How many at most.
    """
    found = [asdict(family) for family in result.families[:top]]
    if not result.problem.costs:
        return found
    front = {student.trial.number for student in result.front}
    return [family | {"is_on_front": family["trial"] in front} for family in found]


def pareto_json(result: SearchResult, against: Sequence[Against]) -> list[dict[str, Any]]:
    """The students and references that are best for their size.

    Args:
        result: The search.
        against: Costs that are to be small; see `SearchResult.pareto`.
    """
    return [student_or_reference_json(student) for student in result.pareto(*against)]


def student_or_reference_json(student: TrainedStudent) -> dict[str, Any]:
    """A student with its costs and metrics, and the name of the reference that it is, if it is one."""
    return student_json(student) | {"reference": student.trial.reference}


def _trial_row_json(record: TrialRecord) -> dict[str, Any]:
    """The trial, with a list as its value if there are several objectives."""
    values = asdict(record.trial)
    costs = values.pop("costs")
    return values | ({"value": [record.trial.value, *costs]} if costs else {})
