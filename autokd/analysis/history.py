"""The history of a search: every trial's value, the best so far, the teacher and the references."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from autokd.analysis.evidence import Evidence
from autokd.analysis.scales import NAME_HEIGHT, accuracy_places, apart, label_accuracies
from autokd.analysis.style import BLUE, GREY, INK, ORANGE, VERMILION, explain, head
from autokd.searches.part import TrialOutcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_history", "draw_trials", "values"]

MOST_POINTS = 5000  # that are drawn as shapes of their own in a vector format
NAME_SHARE = 0.22  # of the width of the axes, for the names of references


def draw_history(axes: "Axes", shown: Evidence) -> None:
    """Every trial's value, the best so far, the teacher's, and left of the trials those of the references."""
    from matplotlib.ticker import MaxNLocator

    draw_trials(axes, shown.outcomes)
    _draw_best(axes, shown.outcomes)
    teacher = 100 * shown.teacher_accuracy
    line = float(accuracy_places([teacher])[0])
    axes.axhline(line, color=ORANGE, linewidth=1.4, linestyle=(0, (5, 2)), label=f"teacher, {teacher:.2f} %")
    references = (100 * accuracy for accuracy in shown.references.values())
    label_accuracies(axes.yaxis, [teacher, *values(shown.outcomes), *references])
    last = len(shown.outcomes) - 1
    ticks = MaxNLocator(integer=True, min_n_ticks=1).tick_values(0, last)
    axes.set_xticks([tick for tick in ticks if 0 <= tick <= last])
    left = _draw_references(axes, shown.references, last) if shown.references else -0.6 - last / 100
    axes.set_xlim(left, last + 0.6 + last / 100)
    axes.set(xlabel="trial", ylabel="validation accuracy, %")
    head(axes, "History")
    explain(axes)


def values(outcomes: Iterable[TrialOutcome]) -> list[float]:
    """The values that there are, in percent."""
    return [100 * each.value for each in outcomes if each.value is not None]


def draw_trials(axes: "Axes", outcomes: Sequence[TrialOutcome], over_cost: bool = False) -> None:
    """Draw a point for each trial's value at its highest rung over its number, or its first cost.

    Over numbers there is a cross below for each failed trial. Many points are drawn as one image.

    Args:
        axes: Where to draw.
        outcomes: The trials.
        over_cost: Whether to draw over the first cost.
    """
    is_image = len(outcomes) > MOST_POINTS
    styles = {"complete": ("o", BLUE, BLUE), "pruned": ("o", "none", GREY), "running": ("D", "none", BLUE)}
    for state, (marker, face, edge) in styles.items():
        drawn = [each for each in outcomes if each.state == state and each.value is not None]
        label = "pruned, at its last rung" if state == "pruned" else state
        if drawn:
            x = [each.costs[0] if over_cost and each.costs else each.number for each in drawn]
            y = accuracy_places(values(drawn))
            points = axes.scatter(x, y, s=26, marker=marker, facecolors=face, edgecolors=edge, label=label, zorder=3)
            points.set_rasterized(is_image)
    failed = [each.number for each in outcomes if each.state == "failed"]
    if failed and not over_cost:
        height, of_axes = [0.03] * len(failed), axes.get_xaxis_transform()
        points = axes.scatter(failed, height, transform=of_axes, s=26, marker="x", color=VERMILION, label="failed")
        points.set_rasterized(is_image)


def _draw_references(axes: "Axes", references: Mapping[str, float], last: int) -> float:
    """Draw a mark for each reference left of the trials, with its name on its left; return where the axis begins."""
    x, width = -0.6 - last / 30, (last + 1.2) * NAME_SHARE
    lower, upper = axes.get_ylim()
    places = accuracy_places([100 * accuracy for accuracy in references.values()])
    axes.scatter([x] * len(places), places, s=30, marker="^", color=VERMILION, label="reference", zorder=3)
    for name, height in zip(references, apart(places.tolist(), (upper - lower) * NAME_HEIGHT), strict=True):
        axes.text(x - width / 20, height, name, ha="right", va="center", size=8, color=INK, parse_math=False)
    return x - width


def _draw_best(axes: "Axes", outcomes: Sequence[TrialOutcome]) -> None:
    """The best value of a complete trial up to each trial."""
    complete = {
        each.number: 100 * each.value for each in outcomes if each.state == "complete" and each.value is not None
    }
    best = list(accumulate(complete.values(), max))
    if best:
        x, y = [*complete, outcomes[-1].number], accuracy_places([*best, best[-1]])
        axes.step(x, y, where="post", color=BLUE, linewidth=1.2, label="best so far")
