"""Two objectives at once: accuracy against latency, and how much of the best trade-off a set of points reaches.

A point's *gains* are by how much it beats the reference in each objective, `points x 2`, larger is better in both.
The hypervolume of a set is the area of what its points dominate above the reference (Zitzler and Thiele 1998,
https://doi.org/10.1007/BFb0056872).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from catalogue import load_task
from grids import order
from numpy.typing import NDArray
from tasks import Array, Task

__all__ = ["Rows", "Tradeoff", "accuracy_and_latency", "hypervolume", "pareto"]

Rows = Sequence[int] | NDArray[np.intp]
"""Numbers of points in the task."""

_TASK = "nb201-cifar100"
_TABLE = "nasbench201_cifar.npz"
_LATENCY = "lat_raspi4"
_WORST_ACCURACY = 40.0
_WORST_LATENCY_MS = 60.0


@dataclass(frozen=True)
class Tradeoff:
    """A recorded accuracy that is to be high, and a latency that is to be low.

    Attributes:
        task: The accuracy, of which each training gives one noisy value.
        latencies: Milliseconds by point, `size`, without noise.
        worst_accuracy: The reference point: what does not beat it in both objectives is worth nothing.
        worst_latency: The same, in milliseconds.
    """

    task: Task
    latencies: Array
    worst_accuracy: float = _WORST_ACCURACY
    worst_latency: float = _WORST_LATENCY_MS

    @property
    def reference_point(self) -> tuple[float, float]:
        """Worst accuracy and worst latency, in the order of the objectives."""
        return self.worst_accuracy, self.worst_latency

    def gains(self, rows: Rows, accuracies: Sequence[float] | Array) -> Array:
        """Gains of points with these accuracies, `points x 2`; negative where they are worse than the reference."""
        latencies = self.latencies[np.asarray(rows, dtype=np.intp)]
        return np.column_stack([np.asarray(accuracies) - self.worst_accuracy, self.worst_latency - latencies])

    def true_gains(self, rows: Rows) -> Array:
        """Gains of points by their mean accuracies over all training seeds, which no search sees."""
        return self.gains(rows, self.task.means[np.asarray(rows, dtype=np.intp)])

    @cached_property
    def optimum(self) -> float:
        """Hypervolume of the whole table, in percent x milliseconds."""
        return hypervolume(self.true_gains(range(self.task.size)))

    def share(self, rows: Rows) -> float:
        """True hypervolume of some points as a share of that of the whole table."""
        return hypervolume(self.true_gains(rows)) / self.optimum


def accuracy_and_latency(folder: Path) -> Tradeoff:
    """NAS-Bench-201 on CIFAR-100, validation accuracy in percent, against the latency measured on a Raspberry Pi 4.

    Raises:
        TablesMissing: If the table is not in the folder.
    """
    task = load_task(_TASK, folder)
    with np.load(folder / _TABLE) as table:
        latencies = table[_LATENCY].astype(np.float64)[order(task.space, table["arch"])]
    return Tradeoff(task, latencies)


def hypervolume(gains: Array) -> float:
    """Area that points dominate above the reference, in closed form; 0 of no points.

    Not the sampler's own function: what judges it shares no code with it.

    With the points in falling order of the first gain, the strip between one point's first gain and the next one's is
    dominated up to the largest second gain so far.

    Args:
        gains: `points x 2`; a point that does not beat the reference in both adds nothing.
    """
    clipped = np.clip(gains, 0.0, None)
    falling = clipped[np.argsort(-clipped[:, 0])]
    widths = -np.diff(falling[:, 0], append=0.0)
    return float(widths @ np.maximum.accumulate(falling[:, 1]))


def pareto(gains: Array) -> NDArray[np.bool_]:
    """Which points no other dominates, `points`. Equal points do not dominate each other."""
    losses, places = np.unique(-gains, axis=0, return_inverse=True)  # by the first loss, then by the second
    least_before = np.minimum.accumulate(np.concatenate([[np.inf], losses[:-1, 1]]))
    return np.asarray(losses[:, 1] < least_before)[places]
