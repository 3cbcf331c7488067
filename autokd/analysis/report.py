"""A search as one HTML page, which needs no network: all that decides whether to use its student."""

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from autokd.analysis.curves import learning_curves
from autokd.analysis.evidence import Evidence, evidence, set_against
from autokd.analysis.inline_svg import inline_svg
from autokd.analysis.plots import curves_svg, front_svg, panels_svg
from autokd.analysis.style import THEMED
from autokd.analysis.templating import environment
from autokd.config.objectives import AGAINST, Against
from autokd.data.dataset import describe
from autokd.searches.findings import Findings
from autokd.searches.references import reference_title
from autokd.searches.tables import counted, percent, tightest_limit
from search_spaces.architecture.format import Architecture
from search_spaces.drawing.picture import render

if TYPE_CHECKING:
    from autokd.searches.result import SearchResult

__all__ = ["GENERATOR", "drawing", "findings_values", "plot_page", "report_page"]

GENERATOR = "AutoKD"
MOST_FAMILIES = 10
COSTS = {
    "params": "parameters",
    "macs": "MACs",
    "activation_bytes": "activations",
    "model_bytes": "model",
    "memory_bytes": "memory",
}


def report_page(result: "SearchResult") -> str:
    """The report of a search; the same rows give the same page.

    Raises:
        InputError: If it has no trained student yet.
    """
    return _page("report.html", **findings_values(result))


def findings_values(result: "SearchResult", trials_at: str = "") -> dict[str, Any]:
    """What the template `findings.html` shows of a search: all of its report.

    Args:
        result: The search.
        trials_at: Address below which each trial and reference has a page, to link to; empty where they have none.

    Raises:
        InputError: If it has no trained student yet.
    """
    findings = Findings.of(result)
    shown = evidence(result, findings.families)
    progress, outlook, train = result.progress, findings.outlook_facts, result.way_on("train")
    return {
        "findings": findings,
        "trials_at": trials_at,
        "student_facts": [fact for fact in findings.facts if fact not in outlook],
        "outlook": outlook,
        "answer": _answer(findings),
        "asked": _asked(findings, progress.trials),
        "networks": list(_networks(findings)),
        "costs": COSTS,
        "limits": _limits(findings),
        "pictures": _pictures(findings, shown, result),
        "drawing": drawing(findings.student.architecture, "student"),
        "progress": progress,
        "families": shown.families[:MOST_FAMILIES],
        "n_families": len(shown.families),
        "remarks": result.remarks,
        "times": asdict(findings.times),
        "made_again": list(_reproduction(findings)),
        "train": train,
        "commands": [*_beginning(findings), train, f"{result.command('export')} FOLDER"],
        "configuration": json.dumps(findings.problem.config.to_dict(), indent=2, ensure_ascii=False),
    }


def drawing(architecture: Architecture, name: str) -> Markup:
    """The graph of a student as an element of a page.

    Args:
        architecture: The student.
        name: Letters that no other picture of the page has as its name.
    """
    return inline_svg(render(architecture, "svg"), name, "Graph of the student")


def plot_page(shown: Evidence) -> str:
    """The panels of a search's picture on a page."""
    return _page("plot.html", name=shown.name, pictures=list(_panels(shown)))


def _page(template: str, **values: Any) -> str:
    return environment().get_template(template).render(generator=GENERATOR, **values)


def _panels(shown: Evidence) -> Iterator[Markup]:
    for position, (label, svg) in enumerate(panels_svg(shown)):
        yield inline_svg(svg, f"panel{position}", label, THEMED)


def _pictures(findings: Findings, shown: Evidence, result: "SearchResult") -> list[Markup]:
    """Accuracy against costs, the panels of the picture of the search, and learning curves."""
    leading = result.leading
    fronts = [
        inline_svg(
            front_svg(set_against(shown, leading, cost, result.mean_costs(cost))),
            f"front-{cost}",
            f"Accuracy against {COSTS[cost]}",
            THEMED,
        )
        for cost in _costs_to_draw(findings)
    ]
    curves = curves_svg(learning_curves(result, leading), shown.teacher_accuracy)
    others = _panels(replace(shown, costs=(), front=()))  # of which none is a front again
    return [*fronts, *others, inline_svg(curves, "curves", "Learning curves", THEMED)]


def _costs_to_draw(findings: Findings) -> list[Against]:
    """The objectives, the cost whose limit bound the student, and the MACs, which limits of size leave open."""
    used = {cost: findings.limits_used[cost] for cost in AGAINST if cost in findings.limits_used}
    tightest: list[Against] = [max(used, key=lambda cost: used[cost])] if used else []
    return list(dict.fromkeys([*findings.problem.costs, *tightest, *AGAINST[:2]]))[:2]


# --- what is said


def _answer(findings: Findings) -> str:
    """The answer in a sentence: beside the teacher, within the limits, and beside the best reference."""
    student, facts = findings.student, findings.search.facts
    ours, theirs, split = student.metrics["accuracy"], facts["teacher_metrics"]["accuracy"], "validation"
    if student.is_final and (test := facts.get("teacher_test_metrics")):
        ours, theirs, split = student.metrics["test_accuracy"], test["accuracy"], "test"
    points = 100 * (ours - theirs)
    beside = f"{abs(points):.2f} points {'below' if points < 0 else 'above'} its teacher"
    compared = "was compared with no reference" if findings.comparison is None else f"is {findings.comparison}"
    used = findings.limits_used
    kept = "keeps every limit" if max(used.values()) <= 1 else "BREAKS A LIMIT"
    length = counted(student.evaluation.epochs, "epoch") + ("" if student.is_final else " of the search alone")
    return (
        f"After {length} the student is right on {percent(ours)} of the {split} samples, {beside}; it {kept} "
        f"({tightest_limit(used)} used), and {compared}."
    )


def _asked(findings: Findings, trials: int) -> list[tuple[str, str]]:
    problem = findings.problem
    config, facts = problem.config, problem.facts
    teacher = config.teacher
    source = teacher.source or "given in Python"
    samples = ", ".join(f"{n:,} {split}" for split, n in (facts.samples or {}).items())
    length = "epoch" if tuple(problem.rungs) == (1,) else "epochs"
    return [
        ("teacher", f"{source}{_weights(teacher.weights)}"),
        ("data", f"{config.data.source}: {describe(facts.input_shape)}, {facts.classes} classes"),
        *([("samples", samples)] if samples else []),
        ("limits", ", ".join(f"{name} ≤ {limit:,}" for name, limit in problem.budget.limits.items())),
        ("spaces", ", ".join(facts.spaces or config.space.listed)),
        ("methods", ", ".join(config.distillation.names)),
        ("search", f"{counted(trials, 'trial')}, judged after {_listed(problem.rungs)} {length}"),
        ("full length", counted(problem.full_length_epochs, "epoch")),
    ]


def _weights(file: str | None) -> str:
    return "" if file is None else f" with {file}"


def _listed(numbers: Iterable[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


@dataclass(frozen=True)
class _Network:
    """A row of the table of networks; None where a figure is not known.

    Its `trial` is the number of its trial or the name of its reference, None for the teacher.
    """

    name: str
    trial: int | str | None
    epochs: float | None
    costs: Mapping[str, int | None]
    metrics: Mapping[str, float]
    test_accuracy: float | None


def _networks(findings: Findings) -> Iterator[_Network]:
    facts = findings.problem.facts
    test = findings.search.facts.get("teacher_test_metrics") or {}
    yield _Network("teacher", None, None, facts.teacher_cost.to_dict(), facts.teacher_metrics, test.get("accuracy"))
    for student in (findings.student, *findings.references):
        costs = {cost: student.cost(cost) for cost in COSTS}
        reference = student.trial.reference
        name = reference_title(student.trial, findings.student.trial.number) if reference else "student"
        test_accuracy = student.metrics.get("test_accuracy")
        yield _Network(
            name, reference or student.trial.number, student.evaluation.epochs, costs, student.metrics, test_accuracy
        )


def _limits(findings: Findings) -> list[tuple[str, int, int, float]]:
    """Name, allowed, used, and the share of it, of each limit."""
    allowed, student = findings.problem.budget.limits, findings.student
    return [(name, limit, student.cost(name), findings.limits_used[name]) for name, limit in allowed.items()]


# --- how to make it again


def _reproduction(findings: Findings) -> Iterator[tuple[str, str]]:
    search, problem = findings.search, findings.problem
    yield "seed", str(search.seed)
    yield "device", f"{problem.facts.device}, {problem.facts.precision}"
    yield "versions", ", ".join(f"{package} {version}" for package, version in problem.facts.versions.items())
    yield "digest of the data", problem.facts.data_digest
    yield "digest of the teacher", problem.facts.teacher_digest
    yield "digest of the configuration", search.config_digest
    yield "digest of the student's graph", findings.student.row.digest


def _beginning(findings: Findings) -> list[str]:
    """The command that began the search; none if that was in Python or by the service."""
    began = findings.search.facts.get("command") or []
    return [shlex.join(began)] if began[:1] == ["autokd"] else []
