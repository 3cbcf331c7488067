"""How well a short training predicts the long one."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from autokd.analysis.evidence import Evidence
from autokd.analysis.rung_correlations import pairs
from autokd.analysis.scales import accuracy_places, label_accuracies
from autokd.analysis.style import BLUE, GREY, ORANGE, VERMILION, head
from autokd.config.fidelity_metrics import ACCURACY, FidelityMetric
from autokd.searches.tables import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["climbs", "draw_rung_correlation"]


def climbs(shown: Evidence) -> dict[float, list[tuple[float, float]]]:
    """Fidelity metric and last accuracy of the trials that reached the last rung, by the epochs of each lower rung."""
    last = len(shown.rungs) - 1
    found = {epochs: pairs(shown.climbed, rung, last, shown.metric) for rung, epochs in enumerate(shown.rungs[:last])}
    return {epochs: both for epochs, both in found.items() if both}


def draw_rung_correlation(
    axes: "Axes", rung_correlation: Mapping[float, Sequence[tuple[float, float]]], metric: FidelityMetric
) -> None:
    """Draw the fidelity metric at a lower rung against the accuracy at the last one; right is better.

    Args:
        axes: Where to draw.
        rung_correlation: The pairs of both, by the epochs of the lower rung.
        metric: The fidelity metric.
    """
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
    head(axes, "Rung correlation")
    axes.legend(frameon=False, fontsize=9)
