"""What all pictures of a search share: colours, font, titles and legends."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "BLUE",
    "COLOUR_MAP",
    "FONT",
    "GREY",
    "INK",
    "ORANGE",
    "PALE",
    "POSTERIOR",
    "THEMED",
    "VERMILION",
    "explain",
    "head",
]

# Okabe and Ito's colours (https://jfly.uni-koeln.de/color/) and a map, all of which colour-blind people tell apart.
BLUE, ORANGE, VERMILION = "#0072B2", "#E69F00", "#D55E00"
GREY, PALE, INK = "#8A8A8A", "#E4E4E4", "#222222"
COLOUR_MAP = "cividis"

THEMED = {
    INK.lower(): "var(--ink)",
    "#000000": "var(--ink)",
    PALE.lower(): "var(--line)",
    "#ffffff": "var(--paper)",
}
"""Colours that follow a page on which a picture stands, as variables of its style sheet."""

POSTERIOR = "posterior mean of the validation accuracy, %"
"""Label of what the model believes of trials."""

FONT = "DejaVu Sans"  # it comes with matplotlib


def head(axes: "Axes", title: str) -> None:
    """Write a title above the axes, on the left."""
    axes.set_title(title, loc="left", weight="bold", size=10, color=INK)


def explain(axes: "Axes") -> None:
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
