"""A search as one picture: history, rung correlation, importances, and where good trials lie."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from itertools import accumulate, cycle
from math import inf
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from autokd.analysis.evidence import Evidence
from autokd.analysis.rung_correlations import pairs
from autokd.analysis.scales import accuracy_places, jitter, label_accuracies, label_values, short
from autokd.config.fidelity_metrics import ACCURACY, FidelityMetric
from autokd.config.objectives import Against
from autokd.core.extras import needs
from autokd.searches.method_choice import METHOD
from autokd.searches.part import TrialOutcome
from autokd.searches.tables import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "draw", "render"]

FORMATS = ("pdf", "png", "svg")

POSTERIOR = "posterior mean of the validation accuracy, %"

# Okabe and Ito's colours (https://jfly.uni-koeln.de/color/) and a map, all of which colour-blind people tell apart.
BLUE, ORANGE, VERMILION = "#0072B2", "#E69F00", "#D55E00"
GREY, PALE, INK = "#8A8A8A", "#E4E4E4", "#222222"
COLOUR_MAP = "cividis"

FONT = "DejaVu Sans"  # it comes with matplotlib
INCHES, DPI = (11.0, 8.0), 120
MOST_BARS = 12
MOST_POINTS = 5000  # that are drawn as shapes of their own in a vector format
NAME_SHARE, NAME_HEIGHT = 0.22, 0.055  # of the axes, for the names of references


def render(shown: Evidence, form: str) -> bytes:
    """The picture as the content of a file in one of `FORMATS`; the same evidence gives the same bytes."""
    with needs("plot", "a plot"):
        from matplotlib import rc_context

    buffer = BytesIO()
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with rc_context({"font.sans-serif": [FONT, "sans-serif"], "svg.fonttype": "none", "svg.hashsalt": "autokd"}):
        draw(shown).savefig(buffer, format=form, dpi=DPI, metadata=dates.get(form))
    return buffer.getvalue()


def draw(shown: Evidence) -> "Figure":
    """The picture as a figure: history and rung correlation above, importances and good trials below.

    Without a trial that was judged below the last rung and reached it there is no rung correlation, and less width.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rung_correlation = _rung_correlation(shown)
    width, height = INCHES
    figure = Figure(
        figsize=(1.4 * width if rung_correlation else width, height), layout="constrained", facecolor="white"
    )
    FigureCanvasAgg(figure)
    panels = figure.subplot_mosaic(
        [["history", "history", "correlation"], ["importances", "where", "where"]]
        if rung_correlation
        else [["history", "history"], ["importances", "where"]],
        height_ratios=[1, 1.1],
    )
    for panel in panels.values():
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(color=PALE, linewidth=0.7)
        panel.set_axisbelow(True)
    figure.suptitle(_headline(shown), x=0.01, ha="left", size=13, weight="bold", color=INK, parse_math=False)
    _draw_history(panels["history"], shown)
    if rung_correlation:
        _draw_rung_correlation(panels["correlation"], rung_correlation, shown.metric)
    _draw_importances(panels["importances"], shown)
    _draw_where(panels["where"], shown)
    return figure


# --- history


def _draw_history(axes: "Axes", shown: Evidence) -> None:
    """Every trial's value, the best so far, the teacher's, and left of the trials those of the references."""
    from matplotlib.ticker import MaxNLocator

    _draw_trials(axes, shown.outcomes)
    _draw_best(axes, shown.outcomes)
    teacher = 100 * shown.teacher_accuracy
    line = float(accuracy_places([teacher])[0])
    axes.axhline(line, color=ORANGE, linewidth=1.4, linestyle=(0, (5, 2)), label=f"teacher, {teacher:.2f} %")
    values = _values(shown.outcomes)
    label_accuracies(axes.yaxis, [teacher, *values, *(100 * value for value in shown.references.values())])
    last = len(shown.outcomes) - 1
    ticks = MaxNLocator(integer=True, min_n_ticks=1).tick_values(0, last)
    axes.set_xticks([tick for tick in ticks if 0 <= tick <= last])
    left = _draw_references(axes, shown.references, last) if shown.references else -0.6 - last / 100
    axes.set_xlim(left, last + 0.6 + last / 100)
    axes.set(xlabel="trial", ylabel="validation accuracy, %")
    _head(axes, "History")
    _explain(axes)


def _values(outcomes: Iterable[TrialOutcome]) -> list[float]:
    """The values that there are, in percent."""
    return [100 * each.value for each in outcomes if each.value is not None]


def _draw_trials(axes: "Axes", outcomes: Sequence[TrialOutcome], over_cost: bool = False) -> None:
    """Draw a point for each trial's value at its highest rung over its number, or its first cost.

    Over numbers there is a cross below for each failed trial. Many points are drawn as one image.
    """
    is_image = len(outcomes) > MOST_POINTS
    styles = {"complete": ("o", BLUE, BLUE), "pruned": ("o", "none", GREY), "running": ("D", "none", BLUE)}
    for state, (marker, face, edge) in styles.items():
        drawn = [each for each in outcomes if each.state == state and each.value is not None]
        label = "pruned, at its last rung" if state == "pruned" else state
        if drawn:
            x = [each.costs[0] if over_cost and each.costs else each.number for each in drawn]
            y = accuracy_places(_values(drawn))
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
    height = -inf
    for place, name in sorted(zip(places, references, strict=True)):
        height = max(place, height + (upper - lower) * NAME_HEIGHT)  # names of equal accuracy stand above each other
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


# --- rung correlation


def _rung_correlation(shown: Evidence) -> dict[float, list[tuple[float, float]]]:
    """Fidelity metric and last accuracy of the trials that reached the last rung, by the epochs of each lower rung."""
    last = len(shown.rungs) - 1
    found = {epochs: pairs(shown.climbed, rung, last, shown.metric) for rung, epochs in enumerate(shown.rungs[:last])}
    return {epochs: both for epochs, both in found.items() if both}


def _draw_rung_correlation(
    axes: "Axes", rung_correlation: Mapping[float, Sequence[tuple[float, float]]], metric: FidelityMetric
) -> None:
    """Draw the fidelity metric at a lower rung against the accuracy at the last one; right is better."""
    is_accuracy = metric == ACCURACY
    for (epochs, both), colour in zip(rung_correlation.items(), cycle((BLUE, ORANGE, VERMILION, GREY)), strict=False):
        metrics, accuracies = zip(*both, strict=True)
        x = accuracy_places([100 * value for value in metrics]) if is_accuracy else metrics
        y = accuracy_places([100 * value for value in accuracies])
        axes.scatter(x, y, s=26, facecolors="none", edgecolors=colour, label=f"after {counted(epochs, 'epoch')}")
    every = [pair for both in rung_correlation.values() for pair in both]
    label_accuracies(axes.yaxis, [100 * accuracy for _, accuracy in every])
    if is_accuracy:
        label_accuracies(axes.xaxis, [100 * value for value, _ in every])
    elif metric.sign < 0:
        axes.invert_xaxis()
    name = "accuracy, %" if is_accuracy else metric.name
    axes.set(xlabel=f"{name} (of trials that climbed)", ylabel="accuracy at the last rung, %")
    _head(axes, "Rung correlation")
    axes.legend(frameon=False, fontsize=9)


# --- importances


def _draw_importances(axes: "Axes", shown: Evidence) -> None:
    """Draw a bar for each dimension, or say why there are none."""
    _head(axes, "Importance")
    if not shown.importances:
        axes.set_axis_off()
        axes.text(0.0, 0.9, fill(shown.note or "", 60), transform=axes.transAxes, color=INK, va="top", parse_math=False)
        return
    bars = _most_important(shown.importances)
    ours = {name: ORANGE if name in shown.distillation else BLUE for name in shown.dimensions}
    colours = [ours.get(name, GREY) for name in bars]
    shares = [100 * share for share in bars.values()]
    drawn = axes.barh(range(len(bars)), shares, color=colours, height=0.7)
    axes.bar_label(drawn, [f"{share:.0f} %" if share >= 0.5 else "< 1 %" for share in shares], padding=3, color=INK)
    axes.set_yticks(range(len(bars)), [short(name) for name in bars], parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, max(shares) * 1.15)
    axes.set_xlabel(f"share of the model's variance (Shapley effects), %\n{shown.caveat}")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    for label, colour in (("distillation", ORANGE), ("space", BLUE)):
        if colour in colours:
            axes.bar(0, 0, color=colour, label=label)
    _explain(axes)


def _most_important(importances: Mapping[str, float]) -> dict[str, float]:
    """The most important dimensions, as many as fit, and the sum of the others."""
    items = list(importances.items())
    if len(items) <= MOST_BARS:
        return dict(items)
    others = items[MOST_BARS - 1 :]
    return dict(items[: MOST_BARS - 1]) | {f"{len(others)} others": sum(share for _, share in others)}


# --- where the good trials are


def _draw_where(axes: "Axes", shown: Evidence) -> None:
    """Draw the front of several objectives, or trials by method if several were tried, else over two dimensions.

    These are the most important ones; a conditional dimension is no axis, since some trials have no place on it. If
    there are none, trials are drawn by size.
    """
    if shown.costs:
        _draw_front(axes, shown, shown.costs[0])
        return
    tried = {family.parameters.get(METHOD) for family in shown.families}
    deciding = [name for name in shown.importances if shown.dimensions[name].parent is None]
    if METHOD in shown.distillation and len(tried) > 1:
        _draw_methods(axes, shown)
    elif len(deciding) > 1:
        _draw_plane(axes, shown, deciding[0], deciding[1])
    else:
        _draw_sizes(axes, shown)


def _draw_front(axes: "Axes", shown: Evidence, cost: Against) -> None:
    """Draw the trials by accuracy and cost, a line through the students of the front, and references on it."""
    _draw_trials(axes, shown.outcomes, over_cost=True)
    named = {student.trial.reference: student for student in shown.front if student.trial.reference}
    for name, student in named.items():
        point = student.cost(cost), float(accuracy_places([100 * student.metrics["accuracy"]])[0])
        label = "reference" if name == next(iter(named)) else None
        axes.scatter(*point, s=30, marker="^", color=VERMILION, label=label, zorder=3)
        axes.annotate(name, point, (-5, 3), textcoords="offset points", ha="right", size=8, color=INK, parse_math=False)
    front = sorted((student.cost(cost), 100 * student.metrics["accuracy"]) for student in shown.front)
    if front:
        x, y = zip(*front, strict=True)
        axes.step(x, accuracy_places(list(y)), where="post", color=VERMILION, linewidth=1.2, label="front", zorder=2)
    label_accuracies(axes.yaxis, [*_values(shown.outcomes), *(accuracy for _, accuracy in front)])
    axes.set_xscale("log")
    axes.set(xlabel=f"{cost}, logarithmic scale", ylabel="validation accuracy, %")
    _head(axes, f"Accuracy against {cost}")
    _explain(axes)


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
        median = axes.plot([np.median(places)] * 2, [row - 0.32, row + 0.32], color=VERMILION, linewidth=2.2)
        median[0].set_label("median" if row == 0 else "")
    labels = [f"{short(name)} ({len(means)})" for name, means in rows]
    axes.set_yticks(range(len(rows)), labels, parse_math=False)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    label_accuracies(axes.xaxis, [100 * family.mean for family in shown.families])
    axes.set_xlabel(POSTERIOR)
    _head(axes, f"Trials by method (how many){shown.ranked}")
    _explain(axes)


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
    _head(axes, f"Trials over two dimensions{shown.ranked}")


def _draw_sizes(axes: "Axes", shown: Evidence) -> None:
    """Draw the posterior means of trials by the size of their students."""
    means = [100 * family.mean for family in shown.families]
    axes.scatter([family.params / 1000 for family in shown.families], accuracy_places(means), s=26, color=BLUE)
    label_accuracies(axes.yaxis, means)
    axes.set(xlabel="parameters, thousands", ylabel=POSTERIOR)
    _head(axes, f"Trials by size{shown.ranked}")


# --- heads


def _head(axes: "Axes", title: str) -> None:
    axes.set_title(title, loc="left", weight="bold", size=10, color=INK)


def _explain(axes: "Axes") -> None:
    """Draw a legend beside the title."""
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=6,
        frameon=False,
        fontsize=9,
        handlelength=1.5,
        columnspacing=1.3,
        borderaxespad=0.1,
    )


def _headline(shown: Evidence) -> str:
    states = Counter(each.state for each in shown.outcomes)
    ended = [f"{states[state]} {state}" for state in ("complete", "pruned", "failed", "running") if states[state]]
    return f"{shown.name}: {counted(len(shown.outcomes), 'trial')}, {', '.join(ended)}"
