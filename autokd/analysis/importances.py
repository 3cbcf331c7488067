"""How much each dimension decides the accuracy, as bars."""

from collections.abc import Mapping
from textwrap import fill
from typing import TYPE_CHECKING

from autokd.analysis.evidence import Evidence
from autokd.analysis.scales import short
from autokd.analysis.style import BLUE, GREY, INK, ORANGE, explain, head

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_importances", "share_text"]

MOST_BARS = 12


def share_text(share: float) -> str:
    """A share of the variance, in per cent."""
    return f"{100 * share:.0f} %" if share >= 0.005 else "< 1 %"


def draw_importances(axes: "Axes", shown: Evidence) -> None:
    """Draw a bar for each dimension, or say why there are none."""
    head(axes, "Importance")
    if not shown.importances:
        axes.set_axis_off()
        axes.text(0.0, 0.9, fill(shown.note or "", 60), transform=axes.transAxes, color=INK, va="top", parse_math=False)
        return
    bars = _most_important(shown.importances)
    ours = {name: ORANGE if name in shown.distillation else BLUE for name in shown.dimensions}
    colours = [ours.get(name, GREY) for name in bars]
    shares = [100 * share for share in bars.values()]
    drawn = axes.barh(range(len(bars)), shares, color=colours, height=0.7)
    axes.bar_label(drawn, list(map(share_text, bars.values())), padding=3, color=INK)
    axes.set_yticks(range(len(bars)), [short(name) for name in bars], parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, max(shares) * 1.15)
    axes.set_xlabel(f"share of the model's variance (Shapley effects), %\n{shown.caveat}")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    for label, colour in (("distillation", ORANGE), ("space", BLUE)):
        if colour in colours:
            axes.bar(0, 0, color=colour, label=label)
    explain(axes)


def _most_important(importances: Mapping[str, float]) -> dict[str, float]:
    """The most important dimensions, as many as fit, and the sum of the others."""
    items = list(importances.items())
    if len(items) <= MOST_BARS:
        return dict(items)
    others = items[MOST_BARS - 1 :]
    return dict(items[: MOST_BARS - 1]) | {f"{len(others)} others": sum(share for _, share in others)}
