"""Memory that the tensors of a graph need while it runs.

The model, for one sample in inference, in elements (not bytes):

* A node's output is alive from its computation to its last use; the network's input counts, too.
* Merging two or more inputs allocates one accumulator while all the inputs are alive; after the merge, inputs that no
  later node uses are freed.
* A layer needs its input and its output; elementwise layers write over their input, or over a copy if a later node
  still uses the input (see `operations.Profile`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Demand", "Inputs", "last_uses", "node_peak", "node_peaks"]


@dataclass(frozen=True)
class Demand:
    """Memory that one node needs, in elements.

    With one input, `running_kept <= running <= running_kept + size of the input` must hold.

    Attributes:
        output: Size of the node's output.
        merged: Size of its merged inputs.
        running: See `operations.Profile`.
        running_kept: See `operations.Profile`.
    """

    output: int
    merged: int
    running: int
    running_kept: int


Inputs = Sequence[tuple[int, ...]]
"""Indices of the inputs of each node, in execution order."""


def last_uses(inputs: Inputs) -> list[list[int]]:
    """For each node, in order, the earlier nodes whose outputs no later node uses."""
    dying: list[list[int]] = [[] for _ in inputs]
    seen: set[int] = set()
    for number in range(len(inputs) - 1, -1, -1):
        for source in inputs[number]:
            if source not in seen:
                seen.add(source)
                dying[number].append(source)
    return dying


def node_peaks(inputs: Inputs, demands: Sequence[Demand]) -> list[int]:
    """Peak number of elements alive while each node runs, in order; the maximum is the graph's peak."""
    live = 0
    peaks: list[int] = []
    for sources, demand, last in zip(inputs, demands, last_uses(inputs), strict=True):
        freed = 0
        for source in last:
            freed += demands[source].output
        peaks.append(node_peak(live, freed, len(sources), demand))
        live += demand.output - freed
    return peaks


def node_peak(live: int, freed: int, n_inputs: int, demand: Demand) -> int:
    """Peak number of elements alive while one node runs.

    Args:
        live: Elements alive before it runs.
        freed: Elements of these that no later node uses.
        n_inputs: Number of its inputs.
        demand: Memory that it needs itself.
    """
    if n_inputs > 1:
        return max(live + demand.merged, live - freed + demand.running)
    return live - freed + demand.running if freed else live + demand.running_kept
