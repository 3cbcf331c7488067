"""Output of the commands that only read: tables for people, or one JSON value for programs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from autokd.analysis.plain_values import families_json, searched_student, status_json, trial_json
from autokd.analysis.status_facts import status_facts
from autokd.analysis.trial_facts import evaluation_logs, evaluations_table, students_table, trial_facts
from autokd.cli.axes import axes_table
from autokd.cli.output import Output, show_json, show_text
from autokd.searches.method_choice import METHOD, PATH, TEACHER
from autokd.searches.result import SearchResult
from autokd.searches.tables import count, counted, facts_table, percent, table, tightest_limit
from autokd.searches.trial_record import TrialRecord

if TYPE_CHECKING:
    from autokd.searches.families import Family

__all__ = ["families", "recipes", "status", "status_table", "trial"]


def recipes(known: Mapping[str, str], output: Output) -> None:
    """Print the recipes and their descriptions."""
    if output == "json":
        show_json([{"name": name, "description": line} for name, line in known.items()])
    else:
        show_text(table(("recipe", "what it is"), known.items()))


def status(result: SearchResult, output: Output) -> None:
    """Print the progress of a search and of its full-length trainings."""
    if output == "json":
        show_json(status_json(result))
    else:
        show_text(status_table(result))


def status_table(result: SearchResult) -> Table:
    """The progress of a search and of its full-length trainings as names and sentences."""
    return facts_table(status_facts(result))


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
    problem = result.problem
    show_text(facts_table(trial_facts(record, result)))
    show_text(students_table(record, problem.budget))
    if (student := searched_student(record, result)) is not None:
        show_text(axes_table(result.axes(student)))
    show_text(evaluations_table(record))
    show_text("of the validation samples; ECE scaled: after temperature scaling; KL: KL(teacher || student) in nats")
    for log in evaluation_logs(record, problem):
        show_text("\n".join([f"{log.title}: {log.file}", *(f"  {line}" for line in log.end)]))


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
    show_text("mean ± sd, P(best): what the model believes of the accuracy at the highest rung that a trial reached")
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
    """A row for each family, with the method, the teacher and the assistants where the search chose among several.

    Where the search has several objectives, `marks` say which trials are on the front, and sizes are shown.
    """
    chosen = [name for name in (METHOD, TEACHER, PATH) if any(name in family.parameters for family in ranked)]
    rows = [
        (
            str(family.trial),
            percent(family.observed),
            str(family.rung),
            f"{100 * family.mean:.2f} ± {100 * family.deviation:.2f} %",
            f"{family.probability_best:.2f}",
            count(family.activation_bytes),
            *([] if marks is None else [count(family.params), count(family.macs), marks[family.trial]]),
            tightest_limit(family.limits),
            *(str(family.parameters.get(name, "-")) for name in chosen),
            family.description,
        )
        for family in ranked
    ]
    sizes = () if marks is None else ("parameters", "MACs", "front")
    numbers = ("trial", "observed", "rung", "mean ± sd", "P(best)", "activations")
    headings = (*numbers, *sizes, "tightest limit", *chosen, "family")
    return table(headings, rows, numeric=range(len(numbers) + len(sizes[:2])))
