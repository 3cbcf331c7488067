"""Trials as lines across their most important dimensions: parallel coordinates.

Inselberg 1985, "The plane with parallel coordinates", https://doi.org/10.1007/BF01898350.
"""

from typing import TYPE_CHECKING

import numpy as np
from optuna.distributions import CategoricalDistribution

from autokd.analysis.evidence import Evidence
from autokd.analysis.scales import accuracy_places, label_accuracies, label_values, short
from autokd.analysis.style import COLOUR_MAP, POSTERIOR, head
from autokd.optimizers.arrays import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_parallel", "shared_dimensions"]

MOST_AXES = 6
ROOM = 0.06  # beyond the outermost values, as a share of an axis


def shared_dimensions(shown: Evidence) -> list[str]:
    """The most important dimensions on which every trial has a place, the most important first; none of fewer than two.

    A conditional dimension is no axis, since some trials have no value of it.
    """
    names = [name for name in shown.importances if shown.dimensions[name].parent is None][:MOST_AXES]
    return names if len(names) > 1 else []


def draw_parallel(axes: "Axes", shown: Evidence) -> None:
    """Draw a line for each family across the dimensions, coloured by posterior mean; the best are drawn last.

    Args:
        axes: Where to draw.
        shown: The data, of which `shared_dimensions` names two dimensions or more.
    """
    from matplotlib.collections import LineCollection

    names, families, rng = shared_dimensions(shown), shown.families[::-1], np.random.default_rng(0)
    heights = [
        _heights(axes, position, shown, name, [family.parameters[name] for family in families], rng)
        for position, name in enumerate(names)
    ]
    lines = np.stack([np.broadcast_to(np.arange(len(names))[:, None], np.shape(heights)), heights], axis=-1)
    means = [100 * family.mean for family in families]
    drawn = LineCollection(
        list(lines.transpose(1, 0, 2)), array=accuracy_places(means), cmap=COLOUR_MAP, linewidths=1.2, alpha=0.85
    )
    axes.add_collection(drawn, autolim=False)
    bar = axes.figure.colorbar(drawn, ax=axes, pad=0.02, label=POSTERIOR)
    label_accuracies(bar.ax.yaxis, means)
    bar.ax.set_ylim(drawn.get_clim())
    axes.set(xlim=(-0.5, len(names) - 0.8), ylim=(0, 1))
    axes.set_yticks([])
    axes.set_xticks(range(len(names)), [short(name) for name in names], parse_math=False, rotation=12, ha="right")
    axes.spines["left"].set_visible(False)
    head(axes, f"Parallel coordinates{shown.ranked}")


def _heights(
    axes: "Axes", position: int, shown: Evidence, name: str, values: list[object], rng: np.random.Generator
) -> Array:
    """Draw the axis of a dimension, and return the heights of values on it, from 0 to 1."""
    own, distribution = axes.twinx(), shown.dimensions[name].distribution
    own.spines[["top", "right", "bottom"]].set_visible(False)
    own.spines["left"].set_position(("data", position))  # which makes new ticks, as the next line does
    own.yaxis.set_ticks_position("left")
    places = label_values(own.yaxis, distribution, values, rng)
    if not isinstance(distribution, CategoricalDistribution):
        low, high = float(places.min()), float(places.max())
        room = ROOM * (high - low) or 0.5
        own.set_ylim(low - room, high + room)
    low, high = own.get_ylim()
    own.tick_params(axis="y", labelsize=8)
    heights: Array = (places - low) / (high - low)
    return heights
