"""Which tensors are alive while a graph runs, and in which order to run it so that few are.

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
from heapq import heappop, heappush
from itertools import pairwise

__all__ = ["Demand", "best_order", "last_uses", "moments"]

EXACT_NODES = 12
"""Up to so many nodes between two bottlenecks the order is optimal; 2^12 sets at most are visited."""


@dataclass(frozen=True)
class Demand:
    """What one node holds, in numbers: see `operations.Profile` for `running` and `running_kept`."""

    output: int
    merged: int
    running: int
    running_kept: int


Inputs = Sequence[tuple[int, ...]]


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
    for number, dying in enumerate(last_uses(inputs)):
        freed = sum(demands[source].output for source in dying)
        peaks.append(_moment(live, freed, len(inputs[number]), demands[number]))
        live += demands[number].output - freed
    return peaks


def best_order(inputs: Inputs, demands: Sequence[Demand]) -> list[int]:
    """An execution order with a low peak: optimal for small graphs, else the best of three.

    The graph is cut at its bottlenecks (a node through which everything passes), which all orders share. A piece of up
    to `EXACT_NODES` nodes is solved exactly; a larger one takes the best of its own and two greedy orders.

    Returns:
        The nodes' numbers in the order in which they should run; 0 first, the last one last.
    """
    order: list[int] = []
    for start, end in _pieces(inputs):
        piece = _Piece(inputs, demands, start, end)
        order += piece.exact() if piece.size <= EXACT_NODES else piece.heuristic()
    return [0, *order]


def _moment(live: int, freed: int, n_inputs: int, demand: Demand) -> int:
    if n_inputs > 1:
        return max(live + demand.merged, live - freed + demand.running)
    return live - freed + demand.running if freed else live + demand.running_kept


def _pieces(inputs: Inputs) -> list[tuple[int, int]]:
    """Pairs of neighbouring bottlenecks: after such a node its output is the only one alive."""
    cuts: list[int] = []
    alive: set[int] = set()
    for number, dying in enumerate(last_uses(inputs)):
        alive.add(number)
        alive.difference_update(dying)
        if alive == {number}:
            cuts.append(number)
    if cuts[-1:] != [len(inputs) - 1]:
        cuts.append(len(inputs) - 1)
    return list(pairwise(cuts))


class _Piece:
    """The nodes after `start` up to `end`; `start` is alive at its beginning."""

    def __init__(self, inputs: Inputs, demands: Sequence[Demand], start: int, end: int) -> None:
        self.inputs, self.demands, self.start, self.end = inputs, demands, start, end
        self.size = end - start
        self.users: dict[int, list[int]] = {number: [] for number in range(start, end + 1)}
        for number in range(start + 1, end + 1):
            for source in inputs[number]:
                self.users[source].append(number)

    def peak(self, order: list[int]) -> int:
        """Most numbers alive when the piece runs in this order."""
        waiting = {number: len(users) for number, users in self.users.items()}
        live, highest = self.demands[self.start].output, 0
        for number in order:
            freed = self._freed(number, waiting)
            highest = max(highest, _moment(live, freed, len(self.inputs[number]), self.demands[number]))
            live += self.demands[number].output - freed
            for source in self.inputs[number]:
                waiting[source] -= 1
        return highest

    def heuristic(self) -> list[int]:
        """The best of the order in which the nodes are numbered and two greedy ones."""
        natural = list(range(self.start + 1, self.end + 1))
        return min(
            (natural, self.greedy(cautious=True), self.greedy(cautious=False)), key=lambda order: self.peak(order)
        )

    def greedy(self, cautious: bool) -> list[int]:
        """Always the node that leaves least alive, where several do the one whose inputs wait for the fewest others.

        The cautious order puts before this that the peak so far is raised least. Neither wins always.
        """
        waiting = {number: len(users) for number, users in self.users.items()}
        missing = {number: len(self.inputs[number]) for number in self.users}
        ready = {user for user in self.users[self.start] if missing[user] == 1}
        for user in self.users[self.start]:
            missing[user] -= 1
        order: list[int] = []
        live, highest = self.demands[self.start].output, 0
        while ready:
            best = (0, 0, 0, -1)
            for number in ready:
                demand, sources = self.demands[number], self.inputs[number]
                freed = self._freed(number, waiting)
                moment = max(highest, _moment(live, freed, len(sources), demand)) if cautious else 0
                others = 0 if cautious else min((waiting[n] for n in sources if waiting[n] > 1), default=0)
                key = (moment, demand.output - freed, others, number)
                if best[3] < 0 or key < best:
                    best = key
            highest, change, _, chosen = best
            live += change
            ready.remove(chosen)
            order.append(chosen)
            for source in self.inputs[chosen]:
                waiting[source] -= 1
            for user in self.users[chosen]:
                missing[user] -= 1
                if not missing[user]:
                    ready.add(user)
        return order

    def exact(self) -> list[int]:
        """The order with the least peak: shortest path over sets of finished nodes, length = highest moment so far."""
        first = 1 << self.start
        everything = (1 << (self.end + 1)) - first
        needs = {n: sum(1 << source for source in self.inputs[n]) for n in range(self.start + 1, self.end + 1)}
        users = {n: sum(1 << user for user in users) for n, users in self.users.items()}
        queue: list[tuple[int, int, list[int]]] = [(0, first, [])]
        visited: set[int] = set()
        while queue:
            highest, done, order = heappop(queue)
            if done == everything:
                return order
            if done in visited:
                continue
            visited.add(done)
            kept = [n for n in (self.start, *order) if users[n] & ~done]
            live = sum(self.demands[n].output for n in kept)
            for number, need in needs.items():
                after = done | 1 << number
                if done >> number & 1 or need & ~done or after in visited:
                    continue
                freed = sum(self.demands[n].output for n in self.inputs[number] if not users[n] & ~after)
                moment = _moment(live, freed, len(self.inputs[number]), self.demands[number])
                heappush(queue, (max(highest, moment), after, [*order, number]))
        raise AssertionError("unreachable: the graph is acyclic")

    def _freed(self, number: int, waiting: dict[int, int]) -> int:
        return sum(self.demands[source].output for source in self.inputs[number] if waiting[source] == 1)
