"""A search as one picture: history, rung correlation, importances, and where good trials lie; and each part alone."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING

from autokd.analysis.correlation import climbs, draw_rung_correlation
from autokd.analysis.curves import Curve, draw_curves
from autokd.analysis.evidence import Evidence
from autokd.analysis.history import draw_history
from autokd.analysis.importances import draw_importances
from autokd.analysis.parallel import draw_parallel, shared_dimensions
from autokd.analysis.style import FONT, INK, PALE
from autokd.analysis.where import draw_front, draw_where
from autokd.core.extras import needs
from autokd.searches.tables import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "curves_svg", "draw", "front_svg", "panels_svg", "render"]

FORMATS = ("pdf", "png", "svg")
INCHES, DPI = (11.0, 8.0), 120
PANEL_INCHES = (5.6, 4.2)  # of a panel alone, which is legible on a telephone, too
LEGEND_COLUMNS = 3


def render(shown: Evidence, form: str) -> bytes:
    """The picture as the content of a file in one of `FORMATS`; the same evidence gives the same bytes."""
    with _settings():
        return _content(draw(shown), form)


def panels_svg(shown: Evidence) -> Iterator[tuple[str, bytes]]:
    """The panels of the picture as a picture each, with what it shows in words."""
    yield "History of the trials", _panel(lambda axes: draw_history(axes, shown))
    yield "Where the good trials are", _panel(lambda axes: draw_where(axes, shown))
    yield "Importance of each dimension", _panel(lambda axes: draw_importances(axes, shown))
    if shared_dimensions(shown):
        yield "Parallel coordinates of the trials", _panel(lambda axes: draw_parallel(axes, shown))
    if found := climbs(shown):
        yield "Rung correlation", _panel(lambda axes: draw_rung_correlation(axes, found, shown.metric))


def front_svg(shown: Evidence) -> bytes:
    """The accuracies against the first cost of the evidence, see `set_against`."""
    return _panel(lambda axes: draw_front(axes, shown, shown.costs[0]))


def curves_svg(curves: Sequence[Curve], teacher_accuracy: float) -> bytes:
    """The learning curves.

    Args:
        curves: At least one.
        teacher_accuracy: On the validation split.
    """
    return _panel(lambda axes: draw_curves(axes, curves, teacher_accuracy))


def draw(shown: Evidence) -> "Figure":
    """The picture as a figure: history and rung correlation above, importances and good trials below.

    Without a trial that was judged below the last rung and reached it there is no rung correlation, and less width.
    """
    rung_correlation = climbs(shown)
    width, height = INCHES
    figure = _figure(1.4 * width if rung_correlation else width, height)
    panels = figure.subplot_mosaic(
        [["history", "history", "correlation"], ["importances", "where", "where"]]
        if rung_correlation
        else [["history", "history"], ["importances", "where"]],
        height_ratios=[1, 1.1],
    )
    for panel in panels.values():
        _prepare(panel)
    figure.suptitle(_headline(shown), x=0.01, ha="left", size=13, weight="bold", color=INK, parse_math=False)
    draw_history(panels["history"], shown)
    if rung_correlation:
        draw_rung_correlation(panels["correlation"], rung_correlation, shown.metric)
    draw_importances(panels["importances"], shown)
    draw_where(panels["where"], shown)
    return figure


def _panel(draw_on: Callable[["Axes"], None]) -> bytes:
    """One panel alone as an SVG, with its legend below, where there is room for it."""
    with _settings():
        figure = _figure(*PANEL_INCHES)
        axes = figure.subplots()
        _prepare(axes)
        draw_on(axes)
        if (legend := axes.get_legend()) is not None:
            legend.remove()
            figure.legend(
                *axes.get_legend_handles_labels(),
                loc="outside lower left",
                ncols=LEGEND_COLUMNS,
                frameon=False,
                fontsize=9,
                handlelength=1.5,
            )
        return _content(figure, "svg")


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _prepare(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=PALE, linewidth=0.7)
    axes.set_axisbelow(True)


def _content(figure: "Figure", form: str) -> bytes:
    buffer = BytesIO()
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    figure.savefig(buffer, format=form, dpi=DPI, metadata=dates.get(form))
    return buffer.getvalue()


@contextmanager
def _settings() -> Iterator[None]:
    """A block with our font, and SVG files that are the same each time."""
    with needs("plot", "a plot"):
        from matplotlib import rc_context

    with rc_context({"font.sans-serif": [FONT, "sans-serif"], "svg.fonttype": "none", "svg.hashsalt": "autokd"}):
        yield


def _headline(shown: Evidence) -> str:
    states = Counter(each.state for each in shown.outcomes)
    ended = [f"{states[state]} {state}" for state in ("complete", "pruned", "failed", "running") if states[state]]
    return f"{shown.name}: {counted(len(shown.outcomes), 'trial')}, {', '.join(ended)}"
