"""The results as a picture."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from choosing import Load
from comparison import Group, observed, standard_error

__all__ = ["plot"]


def plot(groups: Sequence[Group], load: Load, file: Path) -> None:
    """Writes a PNG of regret by the best observation, mean and standard error.

    It is against full trainings, or against the time of so many where there are shorter ones. A column is a task and a
    row a number of workers.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(group.task for group in groups))
    workers = sorted({group.workers for group in groups})
    colours = {peer: f"C{index}" for index, peer in enumerate(dict.fromkeys(group.peer for group in groups))}
    cut = observed(load)
    figure = Figure(figsize=(4 * len(tasks), 3.5 * len(workers)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(workers), len(tasks), squeeze=False)
    for panel, (n_workers, task) in zip(axes.flat, product(workers, tasks), strict=True):
        for group in (group for group in groups if (group.task, group.workers) == (task, n_workers)):
            x = np.arange(1, group.evaluations + 1)
            regrets = [cut(group, int(n)) for n in x]
            mean = np.array([regret.mean() for regret in regrets])
            error = np.array([standard_error(regret) for regret in regrets])
            panel.plot(x, mean, color=colours[group.peer], label=group.peer)
            low = np.maximum(mean - error, mean / 10)
            panel.fill_between(x, low, mean + error, color=colours[group.peer], alpha=0.2)
        panel.set(title=f"{task}, {n_workers} worker{'s' * (n_workers > 1)}", yscale="log")
    figure.supxlabel("full trainings")
    figure.supylabel("simple regret, by the best observation")
    axes[0, 0].legend()
    figure.savefig(file, dpi=120)
