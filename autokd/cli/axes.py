"""A student beside its teacher along three axes, as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from autokd.searches.students import TrainedStudent
from autokd.searches.tables import count, decimal, percent, ratio, table

__all__ = ["axes_table"]

RATES = ("top5", "balanced_accuracy", "macro_f1")
SIZES = ("nonzero_params", "model_bytes", "activation_bytes", "memory_bytes")


def axes_table(axes: Mapping[str, Mapping[str, Any]], references: Sequence[TrainedStudent] = ()) -> Table:
    """The figures that the table of networks has no column for: student and teacher side by side, and their ratio.

    Args:
        axes: Of the student, from `SearchResult.axes`.
        references: References that stand beside it.
    """
    effectiveness, lightness = axes["effectiveness"], axes["lightness"]
    ours, theirs = effectiveness["student"], effectiveness["teacher"]
    measured = [one.metrics for one in references]
    rows = [
        (name, percent(theirs[name]), percent(ours[name]), "", *(percent(each.get(name)) for each in measured))
        for name in RATES
        if ours[name] is not None
    ]
    if ours["auroc"] is not None:
        others = (decimal(each.get("auroc")) for each in measured)
        rows.append(("auroc", decimal(theirs["auroc"]), decimal(ours["auroc"]), "", *others))
    ours, theirs = lightness["student"], lightness["teacher"]
    sizes = [vars(one.row.cost) | one.metrics | {"memory_bytes": one.row.cost.memory_bytes} for one in references]
    rows += [
        (
            name,
            count(theirs[name]),
            count(ours[name]),
            ratio(theirs[name], ours[name]),
            *(count(each.get(name)) for each in sizes),
        )
        for name in SIZES
    ]
    headings = ("", "teacher", "student", "times smaller", *(str(one.trial.reference) for one in references))
    return table(headings, rows, numeric=range(1, len(headings)))
