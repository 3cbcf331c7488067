"""Which tensors are alive while a graph runs.

The model, for one sample in inference, in numbers (not bytes):

* A node's output lives from its production to its last use; the input image counts, too.
* Merging two or more inputs makes one accumulator while all the inputs live; after it, inputs that nobody else needs
  are free.
* A layer holds its input and its output; elementwise layers write over their input, or over a copy where a later node
  still needs the input (see `operations.Profile`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Demand", "Inputs", "last_uses", "moment", "moments"]


@dataclass(frozen=True)
class Demand:
    """What one node holds, in numbers: see `operations.Profile` for `running` and `running_kept`.

    With one input, `running_kept <= running <= running_kept + size of the input` must hold.
    """

    output: int
    merged: int
    running: int
    running_kept: int


Inputs = Sequence[tuple[int, ...]]
"""For each node the nodes that it reads."""


def last_uses(inputs: Inputs) -> list[list[int]]:
    """For each node, in order, the earlier nodes whose output nobody needs after it."""
    dying: list[list[int]] = [[] for _ in inputs]
    seen: set[int] = set()
    for number in range(len(inputs) - 1, -1, -1):
        for source in inputs[number]:
            if source not in seen:
                seen.add(source)
                dying[number].append(source)
    return dying


def moments(inputs: Inputs, demands: Sequence[Demand]) -> list[int]:
    """For each node, in order, the most numbers that are alive while it runs; the maximum is the graph's peak."""
    live = 0
    peaks: list[int] = []
    for sources, demand, last in zip(inputs, demands, last_uses(inputs), strict=True):
        freed = 0
        for source in last:
            freed += demands[source].output
        peaks.append(moment(live, freed, len(sources), demand))
        live += demand.output - freed
    return peaks


def moment(live: int, freed: int, n_inputs: int, demand: Demand) -> int:
    """The most numbers alive while a node runs: `live` before it, of which its last readings free `freed`."""
    if n_inputs > 1:
        return max(live + demand.merged, live - freed + demand.running)
    return live - freed + demand.running if freed else live + demand.running_kept
