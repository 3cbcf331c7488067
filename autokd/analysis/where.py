"""Where the good trials of a search are: on the front, by method, over two dimensions, or by size."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from autokd.analysis.evidence import Evidence
from autokd.analysis.history import draw_trials, values
from autokd.analysis.scales import (
    NAME_HEIGHT,
    accuracy_places,
    apart,
    jitter,
    label_accuracies,
    label_costs,
    label_values,
    short,
)
from autokd.analysis.style import BLUE, COLOUR_MAP, INK, ORANGE, POSTERIOR, VERMILION, explain, head
from autokd.config.objectives import Against
from autokd.searches.method_choice import METHOD
from autokd.searches.students import TrainedStudent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_front", "draw_where"]


def draw_where(axes: "Axes", shown: Evidence) -> None:
    """Draw the front of several objectives, or trials by method if several were tried, else over two dimensions.

    These are the most important ones; a conditional dimension is no axis, since some trials have no place on it. If
    there are none, trials are drawn by size.
    """
    if shown.costs:
        draw_front(axes, shown, shown.costs[0])
        return
    tried = {family.parameters.get(METHOD) for family in shown.families}
    deciding = [name for name in shown.importances if shown.dimensions[name].parent is None]
    if METHOD in shown.distillation and len(tried) > 1:
        _draw_methods(axes, shown)
    elif len(deciding) > 1:
        _draw_plane(axes, shown, deciding[0], deciding[1])
    else:
        _draw_sizes(axes, shown)


def draw_front(axes: "Axes", shown: Evidence, cost: Against) -> None:
    """Draw trials by accuracy and cost with the front, the references, full-length trainings, teacher and limit.

    Args:
        axes: Where to draw.
        shown: The data, of which the first cost of the trials is the one that is drawn.
        cost: That cost.
    """
    draw_trials(axes, shown.outcomes, over_cost=True)
    for student in sorted(shown.finals, key=lambda student: not student.trial.reference):
        marker, area = ("^", 50) if student.trial.reference else ("*", 110)
        label = _first("full length, reference" if student.trial.reference else "full length", axes)
        axes.scatter(*_point(student, cost), s=area, marker=marker, color=ORANGE, edgecolors=INK, label=label, zorder=4)
    if shown.front:
        x, y = zip(*_climbing(sorted(_point(student, cost) for student in shown.front)), strict=True)
        axes.step(x, y, where="post", color=VERMILION, linewidth=1.2, label="front", zorder=2)
    accuracies = [100 * student.metrics["accuracy"] for student in (*shown.front, *shown.beside, *shown.finals)]
    if (size := shown.teacher_cost.get(cost)) is not None:
        accuracies.append(100 * shown.teacher_accuracy)
        place = float(accuracy_places(accuracies[-1:])[0])
        axes.scatter(size, place, s=46, marker="s", color=ORANGE, label="teacher", zorder=3)
    if (limit := shown.limits.get(cost)) is not None:
        axes.axvline(limit, color=INK, linewidth=1.2, linestyle=(0, (2, 2)), label=f"limit, {limit:,}")
    label_accuracies(axes.yaxis, [*values(shown.outcomes), *accuracies])
    axes.set_xscale("log")
    if shown.beside:
        _draw_references(axes, shown.beside, cost)
    label_costs(axes.xaxis, axes.get_xlim())
    axes.set(xlabel=f"{cost}, logarithmic scale", ylabel="validation accuracy, %")
    head(axes, f"Accuracy against {cost}")
    explain(axes)


def _draw_references(axes: "Axes", references: Sequence[TrainedStudent], cost: Against) -> None:
    """Draw a mark for each reference, with its name on its right."""
    x, places = zip(*(_point(student, cost) for student in references), strict=True)
    axes.scatter(x, places, s=30, marker="^", color=VERMILION, label="reference", zorder=3)
    lower, upper = axes.get_ylim()
    for student, at, height in zip(references, x, apart(places, (upper - lower) * NAME_HEIGHT), strict=True):
        name = str(student.trial.reference)
        axes.annotate(name, (at, height), (7, -3), textcoords="offset points", size=8, color=INK, parse_math=False)


def _point(student: TrainedStudent, cost: Against) -> tuple[float, float]:
    """Place of a student: its cost, and its accuracy on the axis of accuracies."""
    return student.cost(cost), float(accuracy_places([100 * student.metrics["accuracy"]])[0])


def _climbing(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of points sorted by cost those above all before; others are on the front by a cost that is not drawn."""
    kept = list[tuple[float, float]]()
    for cost, height in points:
        if not kept or height > kept[-1][1]:
            kept.append((cost, height))
    return kept


def _first(label: str, axes: "Axes") -> str | None:
    """The label, unless something has it already: it stands in the legend once."""
    return None if label in axes.get_legend_handles_labels()[1] else label


def _draw_methods(axes: "Axes", shown: Evidence) -> None:
    """Draw a row of points for each method, sorted by median."""
    by_method: dict[str, list[float]] = {}
    for family in shown.families:
        by_method.setdefault(str(family.parameters[METHOD]), []).append(100 * family.mean)
    rows = sorted(by_method.items(), key=lambda item: (-np.median(item[1]), item[0]))
    rng = np.random.default_rng(0)
    for row, (_, means) in enumerate(rows):
        places = accuracy_places(means)
        axes.scatter(places, row + jitter(len(means), rng), s=24, color=BLUE, alpha=0.65, linewidths=0)
        middle = float(accuracy_places([float(np.median(means))])[0])
        median = axes.plot([middle] * 2, [row - 0.32, row + 0.32], color=VERMILION, linewidth=2.2)
        median[0].set_label("median" if row == 0 else "")
    labels = [f"{short(name)} ({len(means)})" for name, means in rows]
    axes.set_yticks(range(len(rows)), labels, parse_math=False)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    label_accuracies(axes.xaxis, [100 * family.mean for family in shown.families])
    axes.set_xlabel(POSTERIOR)
    head(axes, f"Trials by method (how many){shown.ranked}")
    explain(axes)


def _draw_plane(axes: "Axes", shown: Evidence, across: str, up: str) -> None:
    """Draw trials over two dimensions, coloured by posterior mean."""
    families = shown.families[::-1]  # the best are drawn last
    means, rng = [100 * family.mean for family in families], np.random.default_rng(0)
    x, y = (
        label_values(axis, shown.dimensions[name].distribution, [family.parameters[name] for family in families], rng)
        for axis, name in ((axes.xaxis, across), (axes.yaxis, up))
    )
    drawn = axes.scatter(x, y, c=accuracy_places(means), cmap=COLOUR_MAP, s=46, edgecolors=INK, linewidths=0.5)
    bar = axes.figure.colorbar(drawn, ax=axes, pad=0.02, label=POSTERIOR)
    label_accuracies(bar.ax.yaxis, means)
    bar.ax.set_ylim(drawn.get_clim())  # no further than there are colours
    axes.set_xlabel(across, parse_math=False)
    axes.set_ylabel(up, parse_math=False)
    head(axes, f"Trials over two dimensions{shown.ranked}")


def _draw_sizes(axes: "Axes", shown: Evidence) -> None:
    """Draw the posterior means of trials by the size of their students."""
    means = [100 * family.mean for family in shown.families]
    axes.scatter([family.params / 1000 for family in shown.families], accuracy_places(means), s=26, color=BLUE)
    label_accuracies(axes.yaxis, means)
    axes.set(xlabel="parameters, thousands", ylabel=POSTERIOR)
    head(axes, f"Trials by size{shown.ranked}")
