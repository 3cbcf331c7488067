"""The results as a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from choosing import Load
from comparison import Group, observed, standard_error

__all__ = ["plot"]


def plot(groups: Sequence[Group], load: Load, file: Path) -> None:
    """Writes a PNG of regret by the best observation, mean and standard error, a panel for each task and workers.

    It is against full trainings, or against the time of so many where there are shorter ones.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys((group.task, group.workers) for group in groups))
    colours = {peer: f"C{index}" for index, peer in enumerate(dict.fromkeys(group.peer for group in groups))}
    cut = observed(load)
    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for panel, (task, workers) in zip(axes, panels, strict=True):
        for group in (group for group in groups if (group.task, group.workers) == (task, workers)):
            x = np.arange(1, group.evaluations + 1)
            regrets = [cut(group, int(n)) for n in x]
            mean = np.array([regret.mean() for regret in regrets])
            error = np.array([standard_error(regret) for regret in regrets])
            panel.plot(x, mean, color=colours[group.peer], label=group.peer)
            low = np.maximum(mean - error, mean / 10)
            panel.fill_between(x, low, mean + error, color=colours[group.peer], alpha=0.2)
        panel.set(title=f"{task}, {workers} worker(s)", xlabel="full trainings", yscale="log")
    axes[0].set_ylabel("simple regret")
    axes[0].legend()
    figure.savefig(file, dpi=120)
