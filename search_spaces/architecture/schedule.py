"""Execution orders of a graph with a low peak of live elements, in the model of `memory.py`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from search_spaces.architecture.memory import Demand, Inputs, last_uses, node_peak, node_peaks

__all__ = ["best_schedule"]

VISITS = 500
"""Sets of finished nodes that one search may visit, plus two for each node; this takes about two milliseconds."""

SMALL = 12
"""Up to this many nodes between two bottlenecks, a region is contracted only if that is optimal for all sizes."""

NESTED = 50
"""Largest depth of nested regions, which keeps recursion within Python's limit; real networks have three levels."""


def best_schedule(inputs: Inputs, demands: Sequence[Demand]) -> list[int]:
    """Execution order with the lowest peak, or with a low one if the search for it ends at `VISITS`.

    The peak is never above that of the given order. The graph is cut at its bottlenecks, the nodes through which all
    paths lead, which every order shares. The piece with the highest peak is reordered first, then the next, until the
    remaining pieces stay below what the graph needs in any order; these keep the given order. Within a piece, regions
    with one entry and one exit, such as cells and blocks, run without interruption like a single node and are ordered
    on their own, so that most pieces shrink to a few nodes.

    Returns:
        Indices of the nodes in the order in which they should run; 0 is first and the last node is last.
    """
    dying = last_uses(inputs)
    peaks = node_peaks(inputs, demands)
    pieces = _pieces(dying)
    orders = {(start, end): list(range(start + 1, end + 1)) for start, end in pieces}
    tops = {(start, end): max(peaks[start + 1 : end + 1]) for start, end in pieces}
    floor = max((_least(inputs[number], demands, number) for number in range(len(inputs))), default=0)
    for piece in sorted(pieces, key=lambda piece: -tops[piece]):
        if tops[piece] <= floor:
            break
        region = _Graph(inputs, demands, *piece).contracted()
        top = tops[piece]
        while top > floor and region.improve(kept=False, bound=top):
            top = region.peak(kept=False)
        if top < tops[piece]:
            orders[piece] = region.flat(kept=False)
        floor = max(floor, top)
    return [0, *(number for piece in pieces for number in orders[piece])]


def _least(sources: tuple[int, ...], demands: Sequence[Demand], number: int) -> int:
    """Elements alive while a node runs if no other tensors are: a lower bound in every order."""
    demand = demands[number]
    if len(sources) < 2:
        return demand.running
    return max(demand.running, sum([demands[source].output for source in sources]) + demand.merged)


def _pieces(dying: list[list[int]]) -> list[tuple[int, int]]:
    """Pairs of consecutive bottlenecks, nodes after which only their own output is alive."""
    cuts: list[int] = []
    n_alive = 0
    for number, last in enumerate(dying):
        n_alive += 1 - len(last)
        if n_alive == 1:
            cuts.append(number)
    if cuts[-1] != len(dying) - 1:
        cuts.append(len(dying) - 1)
    return list(pairwise(cuts))


class _Graph:
    """A piece of a graph, from bottleneck `start` to `end`, whose regions are contracted to single nodes.

    A region is everything between an entry and an exit: its nodes read each other and the entry, and only the exit is
    read from outside. If no tensor inside is smaller than those of the entry and the exit, some best order of the whole
    piece runs the region without interruption. Proof: move the region to where the other nodes need least. Before it
    the entry stays alive and after it the exit, and neither is more than what the region held at that time. If the
    entry is also read from outside, it may have to stay alive longer, which costs nothing only if all sizes are
    multiples of its size. Small pieces, which can be searched without it, do not contract such regions.
    """

    def __init__(self, inputs: Inputs, demands: Sequence[Demand], start: int, end: int) -> None:
        self.start, self.end = start, end
        self.inputs = {number: inputs[number] for number in range(start + 1, end + 1)}
        self.demands = {number: demands[number] for number in range(start, end + 1)}
        self.regions: dict[int, _Region] = {}
        self.uses = dict.fromkeys(range(start, end + 1), 0)
        for sources in self.inputs.values():
            for source in sources:
                self.uses[source] += 1

    def contracted(self) -> _Region:
        """The piece as a region whose inner regions are contracted to nodes."""
        for number in range(self.start + 1, self.end + 1):
            if len(self.inputs[number]) > 1 and (members := self._enclosed(number)):
                self._contract(members)
        return self._region([self.start, *self.inputs])

    def _enclosed(self, last: int) -> list[int]:
        """Entry and nodes, ascending, of the smallest region whose exit is this node; empty if there is none."""
        uses = dict.fromkeys(self.inputs[last], 1)
        members = [last]
        while len(uses) > 1:
            number = max(uses)
            if uses.pop(number) < self.uses[number]:
                return []
            members.append(number)
            for source in self.inputs[number]:
                uses[source] = uses.get(source, 0) + 1
        (entry,) = uses
        return [entry, *reversed(members)]

    def _contract(self, members: list[int]) -> None:
        """Contract the region to one node if it may run without interruption."""
        entry, *nodes, last = members
        inside = sum(entry in self.inputs[number] for number in members[1:])
        if not self._runs_in_one_go(members, shared=self.uses[entry] > inside):
            return
        self.regions[last] = self._region(members)
        self.uses[entry] += 1 - inside
        self.inputs[last] = (entry,)
        for number in nodes:
            del self.inputs[number], self.demands[number]

    def _runs_in_one_go(self, members: list[int], shared: bool) -> bool:
        entry, *nodes, last = members
        if (entry, last) == (self.start, self.end) or (shared and self.end - self.start <= SMALL):
            return False
        if any(self.regions[number].depth >= NESTED for number in nodes if number in self.regions):
            return False
        ends = max(self.demands[entry].output, self.demands[last].output)
        return all(self.demands[number].output >= ends for number in nodes)

    def _region(self, members: list[int]) -> _Region:
        place = {number: position for position, number in enumerate(members)}
        inputs = [(), *[tuple([place[source] for source in self.inputs[number]]) for number in members[1:]]]
        demands = [self.demands[number] for number in members]
        inner = {place[number]: self.regions.pop(number) for number in members[1:] if number in self.regions}
        return _Region(members, inputs, demands, inner)


class _Region:
    """An entry, which is node 0 here, and the nodes after it; inner regions are nodes with one input.

    Orders and peaks exist for two cases, `kept`: either the entry is freed after its last use inside, or it is kept
    for nodes outside and is then not counted here. `orders` are the given ones until `improve` replaces them.
    """

    def __init__(
        self, members: list[int], inputs: list[tuple[int, ...]], demands: list[Demand], inner: dict[int, _Region]
    ) -> None:
        self.members, self.inputs, self.demands, self.inner = members, inputs, demands, inner
        self.depth: int = 1 + max([region.depth for region in inner.values()], default=0)
        self.outputs = [demand.output for demand in demands]
        self.users: list[list[int]] = [[] for _ in inputs]
        for number, sources in enumerate(inputs):
            for source in sources:
                self.users[source].append(number)
        own = list(range(1, len(inputs)))
        self.orders = {False: own, True: own}
        self._uses = [len(users) for users in self.users]
        self._peaks: dict[bool, int] = {}
        self._searches: dict[bool, _Search] = {}

    def peak(self, kept: bool) -> int:
        """Peak number of elements alive in the current order."""
        if kept not in self._peaks:
            self._peaks[kept] = self._measure(kept)
        return self._peaks[kept]

    def node_peak(self, number: int, live: int, freed: int) -> int:
        """Peak number of elements alive while a node runs that is the last to use `freed` of `live` elements."""
        if number in self.inner:
            return live - freed + self.inner[number].peak(kept=not freed)
        return node_peak(live, freed, len(self.inputs[number]), self.demands[number])

    def waiting(self, kept: bool) -> list[int]:
        """Number of nodes that are still to use each output, before the first node runs."""
        waiting = self._uses.copy()
        waiting[0] += kept
        return waiting

    def improve(self, kept: bool, bound: int) -> bool:
        """Adopt an order with a peak below `bound`; False if the search finds none."""
        if kept not in self._searches:
            self._searches[kept] = _Search(self, kept)
        search = self._searches[kept]
        if not search.succeeds(bound):
            return False
        self.orders[kept] = search.order.copy()
        self._peaks[kept] = self._measure(kept)
        return True

    def flat(self, kept: bool) -> list[int]:
        """The current order, including the nodes of inner regions, as indices in the whole graph."""
        waiting = self.waiting(kept)
        order: list[int] = []
        for number in self.orders[kept]:
            for source in self.inputs[number]:
                waiting[source] -= 1
            if number in self.inner:
                order += self.inner[number].flat(kept=waiting[self.inputs[number][0]] > 0)
            else:
                order.append(self.members[number])
        return order

    def _measure(self, kept: bool) -> int:
        waiting = self.waiting(kept)
        live, highest = 0 if kept else self.outputs[0], 0
        for number in self.orders[kept]:
            freed = 0
            for source in self.inputs[number]:
                waiting[source] -= 1
                if not waiting[source]:
                    freed += self.outputs[source]
            peak = self.node_peak(number, live, freed)
            if peak > highest:
                highest = peak
            live += self.outputs[number] - freed
        return highest


class _Search:
    """Depth-first search for an order of a region whose peak is below a bound.

    A node after which no more elements are alive than before runs at once, since any order that is possible without it
    remains possible. Otherwise the node that brings another node closest to being ready is tried first, then the one
    that adds the fewest elements. A set of finished nodes from which no order was found is not visited again. Inner
    regions are improved only when their current order exceeds the bound.
    """

    def __init__(self, region: _Region, kept: bool) -> None:
        self.region, self.kept = region, kept
        self.visits = VISITS + 2 * len(region.members)
        self.bound = self.hopeless = 0
        self.failed: set[int] = set()
        self.order: list[int] = []

    def succeeds(self, bound: int) -> bool:
        """Whether `order` is now one with a peak below `bound`; also False once `VISITS` are used up."""
        if bound <= self.hopeless:
            return False
        self._restart(bound)
        untried: list[list[int]] = []
        choices = self._choices()
        while len(self.order) < len(self.region.members) - 1:
            if choices:
                self._run(choices.pop())
                untried.append(choices)
                choices = self._choices()
            elif untried and self.visits > 0:
                self.failed.add(self.done)
                self._undo()
                choices = untried.pop()
            else:
                self.hopeless = bound
                return False
        return True

    def _restart(self, bound: int) -> None:
        region = self.region
        if bound > self.bound:
            self.failed.clear()
        self.bound, self.done, self.order = bound, 1, []
        self.live = 0 if self.kept else region.outputs[0]
        self.waiting = region.waiting(self.kept)
        self.missing = [len(sources) for sources in region.inputs]
        self.ready: list[int] = []
        self._release(0)
        self._trail: list[tuple[int, list[int]]] = []

    def _choices(self) -> list[int]:
        """Nodes that may run next, the most promising one last."""
        self.visits -= 1
        if self.visits < 0 or self.done in self.failed:
            return []
        choices: list[tuple[int, int]] = []
        for number in self.ready:
            peak, change = self._try(number)
            if peak < self.bound:
                if change <= 0:
                    return [number]
                if self.done | 1 << number not in self.failed:
                    choices.append((change, number))
        if len(choices) > 1:
            choices.sort(key=self._rank, reverse=True)
        return [number for _, number in choices]

    def _rank(self, choice: tuple[int, int]) -> tuple[int, int, int]:
        """Sort key, lowest for the node with a user that lacks the fewest inputs, the node itself included."""
        missing = self.missing
        change, number = choice
        return min([missing[user] for user in self.region.users[number]], default=0), change, number

    def _try(self, number: int) -> tuple[int, int]:
        """Peak number of elements while the node runs, and how many more are alive after it."""
        region = self.region
        freed = 0
        for source in region.inputs[number]:
            if self.waiting[source] == 1:
                freed += region.outputs[source]
        peak = region.node_peak(number, self.live, freed)
        if peak >= self.bound and number in region.inner:
            enough = self.bound - self.live + freed
            if region.inner[number].improve(kept=not freed, bound=enough):
                peak = region.node_peak(number, self.live, freed)
        return peak, region.outputs[number] - freed

    def _run(self, number: int) -> None:
        self._trail.append((self.live, self.ready))
        self.order.append(number)
        self.done |= 1 << number
        self.live += self.region.outputs[number]
        for source in self.region.inputs[number]:
            self.waiting[source] -= 1
            if not self.waiting[source]:
                self.live -= self.region.outputs[source]
        self.ready = [other for other in self.ready if other != number]
        self._release(number)

    def _undo(self) -> None:
        number = self.order.pop()
        self.live, self.ready = self._trail.pop()
        self.done ^= 1 << number
        for source in self.region.inputs[number]:
            self.waiting[source] += 1
        for user in self.region.users[number]:
            self.missing[user] += 1

    def _release(self, number: int) -> None:
        for user in self.region.users[number]:
            self.missing[user] -= 1
            if not self.missing[user]:
                self.ready.append(user)
