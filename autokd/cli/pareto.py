"""The verb `pareto`."""

from collections.abc import Sequence

from autokd.analysis.plain_values import pareto_json
from autokd.cli.output import Output, show_json, show_text
from autokd.config.objectives import AGAINST, Against
from autokd.searches.result import SearchResult
from autokd.searches.students import TrainedStudent
from autokd.searches.tables import count, counted, percent, table

__all__ = ["pareto"]


def pareto(result: SearchResult, against: Against | None, output: Output) -> None:
    """Print the students and references of a search that are best for their size.

    Args:
        result: The search.
        against: Cost that the accuracy is set against; None for those that are objectives, or the parameters.
        output: What to print: text or one JSON value.
    """
    chosen: Sequence[Against] = [against] if against else result.problem.costs or ["params"]
    if output == "json":
        show_json(pareto_json(result, chosen))
        return
    students = result.pareto(*chosen)
    if not students:
        show_text("no student is trained up to the highest rung yet")
        return
    costs = [*chosen, *(each for each in AGAINST if each not in chosen)]
    rows = [(_origin(student), _length(student), *_cells(student, costs)) for student in students]
    show_text(table(("student of", "trained", "validation", *costs), rows, numeric=range(2, 7)))
    show_text(f"no other one that was trained for as long is as accurate with as few {' and '.join(chosen)}")


def _origin(student: TrainedStudent) -> str:
    trial = student.trial
    return f"trial {trial.number}" if trial.reference is None else f"reference {trial.reference}"


def _length(student: TrainedStudent) -> str:
    return counted(student.evaluation.epochs, "epoch") + ("" if student.is_final else " (search only)")


def _cells(student: TrainedStudent, costs: list[Against]) -> tuple[str, ...]:
    return percent(student.metrics["accuracy"]), *(count(student.cost(name)) for name in costs)
