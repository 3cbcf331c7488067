"""NAS-Bench-101: one cell of up to seven vertices, repeated (Ying et al. 2019, https://arxiv.org/abs/1902.09635)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import ClassVar

import numpy as np
from optuna.distributions import CategoricalDistribution, IntDistribution

from search_spaces.architecture.layers import Shape
from search_spaces.design.blueprint import CLASSES, Blueprint, Share, Sketch, Total
from search_spaces.design.dimensions import contains, low_ends
from search_spaces.design.space import Dimension, Parameters, Range, Space, Value
from search_spaces.design.stems import is_small
from search_spaces.design.wiring import Place
from search_spaces.errors import SpaceError, unknown
from search_spaces.spaces.cells import Cell, canonical, cell_features, paths, pruned

__all__ = ["NasBench101", "cell_matrix", "parse_matrix"]

VERTICES = 7
MOST_STACKS, MOST_MODULES = 8, 100  # the benchmark has 3 of 3
MOST_EDGES = 9

EDGES = tuple(combinations(range(VERTICES), 2))
INNER = range(1, VERTICES - 1)

OPERATIONS = {
    "conv3x3-bn-relu": "conv3x3_bn_relu",
    "conv1x1-bn-relu": "conv1x1_bn_relu",
    "maxpool3x3": "maxpool3x3",
}
"""Operations in the order of the benchmark, on which the widths of some cells depend (see `cells.canonical`)."""

NAMES, LAYERS = tuple(OPERATIONS), tuple(OPERATIONS.values())
WEIGHTED = tuple(name.startswith("conv") for name in LAYERS)
"""Whether each operation has weights."""


def _name(edge: tuple[int, int]) -> str:
    return f"edge_{edge[0]}_{edge[1]}"


class NasBench101(Space):
    """Cells that are any graph of input, up to five operations and output with at most nine edges: 423,624 cells.

    A network is a convolution and stacks of equal modules, which are copies of the cell; between stacks the resolution
    is halved by pooling and the width doubles. Vertices that are on no path from the input to the output are removed
    before the edges are counted.

    * The output concatenates its inputs. The vertices that it reads divide the module's width equally, with the
      remainder going to the first ones; any other vertex is as wide as the widest one that reads it. As in the
      benchmark, isomorphic cells have the same numbers of vertices, so that all widths are the published ones.
    * An operation sums its inputs, and takes the first channels of inputs that are wider. A slice is a node of its own
      even if the two widths turn out to be equal, because widths are open until the budget decides them.
    * Each operation that reads the module's input does so through its own 1x1 convolution. If the output reads the
      input, its 1x1 convolution of it is added to the concatenation.

    Inputs of up to 39 px enter through one 3x3 convolution, as published; larger ones through two of stride 2, the
    first of half the width. Between stacks there is the published 2x2 max pooling for even sizes, and for odd sizes a
    3x3 one, which rounds up. A module that is narrower than the number of vertices that divide its width has one
    channel for each of them.

    After pruning, most uniform draws of the edges are small cells, as in the benchmark's own examples of random search.
    Hardly any keep all seven vertices, although most distinct cells have them.

    Args:
        stacks: Number of stacks; 3 in the paper.
        modules: Number of modules in each stack; 3 in the paper.
        width: See `Space`; width of the first stack, 128 in the paper.
        max_width: See `Space`.
        **ranges: See `Space`.

    Raises:
        SpaceError: If an argument is invalid, or the ranges leave no path from a cell's input to its output with at
            most nine edges.
    """

    name = "nasbench101"
    random = False
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        **{_name(edge): Dimension(IntDistribution(0, 1), legal=(0, 1)) for edge in EDGES},
        **{f"vertex_{vertex}": Dimension(CategoricalDistribution(NAMES[::-1])) for vertex in INNER},
    }

    def __init__(
        self,
        *,
        stacks: int = 3,
        modules: int = 3,
        width: float | None = None,
        max_width: int = 512,
        **ranges: Range,
    ) -> None:
        super().__init__(width=width, max_width=max_width, **ranges)
        if not (1 <= stacks <= MOST_STACKS and 1 <= modules <= MOST_MODULES):
            raise SpaceError(
                f"`1 <= stacks <= {MOST_STACKS}` and `1 <= modules <= {MOST_MODULES}` must hold, but got {stacks=}, "
                f"{modules=}."
            )
        self.stacks, self.modules = stacks, modules
        self._paths = [path for path in (tuple(map(_name, path)) for path in paths(VERTICES)) if self._connects(path)]
        if not self.smallest_parameters():
            raise SpaceError(
                f"The ranges must leave a cell with a path from input to output and at most {MOST_EDGES} edges. "
                "Open `edge_0_6`, or more edges that are fixed to 1."
            )

    def blueprint(
        self, parameters: Parameters, input_shape: Shape, classes: int, rng: np.random.Generator
    ) -> Blueprint:
        """The network of the cell; nothing is drawn."""
        cell = canonical(_pruned_cell(parameters))
        small = is_small(input_shape)
        widths = [2**stack for stack in range(self.stacks)]
        sketch = Sketch(input_shape, classes, widths if small else [*widths, 0.5], self.name)
        last = _small_stem(sketch) if small else _large_stem(sketch, self.stacks)
        for stack in range(self.stacks):
            if stack:
                last = _halve(sketch, last, stack)
            for number in range(self.modules):
                place = Place(stack, stack, f"stage{stack + 1}_module{number + 1}")
                last = _Module(sketch, cell, last, place).output()
        sketch.add("pool_classifier", (last,), CLASSES, stage=self.stacks - 1, name="classifier")
        return sketch.finish()

    def describe(self, parameters: Parameters) -> str:
        """Vertices of the canonical cell and what they read, such as `conv3x3(0) maxpool3x3(1) output(0,2)`."""
        cell = canonical(_pruned_cell(self.complete(parameters)))
        names = [*(NAMES[operation].split("-")[0] for operation in cell.operations), "output"]
        reads = [",".join(map(str, sorted(sources))) for sources in cell.sources]
        return " ".join(f"{name}({sources})" for name, sources in zip(names, reads, strict=True))

    def features(self, parameters: Parameters) -> tuple[float, ...]:
        """Features of the pruned cell; see `cells.cell_features`."""
        return cell_features(_pruned_cell(parameters), WEIGHTED)

    def flaws(self, parameters: Parameters) -> int:
        """Number of surplus edges of the pruned cell, or, which counts more, of edges missing for a path."""
        missing = min(sum([not parameters[name] for name in path]) for path in self._paths)
        return len(EDGES) + missing if missing else max(0, _pruned_cell(parameters).edges - MOST_EDGES)

    def smallest_parameters(self) -> list[dict[str, Value]]:
        """Cells with the cheapest operations: single paths, and fans, in which several vertices divide the width."""
        cheapest = {name: _cheapest(low_ends(dimension.distribution)) for name, dimension in self._open.items()}
        fans = [fan for fan in (tuple(map(_name, fan)) for fan in _fans()) if self._connects(fan)]
        families = [{**cheapest, **{name: 1 for name in on if name in cheapest}} for on in (*self._paths, *fans)]
        return [family for family in families if not self._flaws(family)]

    def _connects(self, edges: Sequence[str]) -> bool:
        return all(self._may_be_on(name) for name in edges)

    def _may_be_on(self, name: str) -> bool:
        return self.fixed[name] == 1 if name in self.fixed else contains(self._open[name].distribution, 1)


def cell_matrix(parameters: Parameters) -> tuple[list[list[int]], list[str]]:
    """Pruned cell of complete parameters in the benchmark's form: adjacency matrix and operations.

    Entry `[i][j]` of the matrix is 1 if vertex j reads vertex i; the operations begin with `input` and end with
    `output`. Isomorphic cells have the same form.
    """
    cell = canonical(_pruned_cell(parameters))
    size = len(cell.sources) + 1
    matrix = [[int(end > 0 and start in cell.sources[end - 1]) for end in range(size)] for start in range(size)]
    return matrix, ["input", *(NAMES[operation] for operation in cell.operations), "output"]


def parse_matrix(matrix: Sequence[Sequence[int]], operations: Sequence[str]) -> dict[str, Value]:
    """Parameters of a cell in the benchmark's form (see `cell_matrix`); further vertices are unconnected.

    Raises:
        SpaceError: If it is not an upper triangular matrix of 2 to 7 vertices with an operation for each inner one.
    """
    size = len(matrix)
    square = 2 <= size <= VERTICES and all(len(row) == size for row in matrix)
    if not square or any(entry not in (0, i < j) for i, row in enumerate(matrix) for j, entry in enumerate(row)):
        raise SpaceError(
            f"A cell must be an upper triangular matrix of 0 and 1 for 2 to {VERTICES} vertices, but got {matrix}."
        )
    if len(operations) != size or (operations[0], operations[-1]) != ("input", "output"):
        raise SpaceError(
            f"Operations must be input, {size - 2} of {', '.join(NAMES)}, and output, but got {operations}."
        )
    for operation in operations[1:-1]:
        if operation not in NAMES:
            raise unknown("operation of nasbench101", operation, NAMES)
    moved = [*range(size - 1), VERTICES - 1]
    on = {(moved[i], moved[j]) for i, row in enumerate(matrix) for j, entry in enumerate(row) if entry}
    inner = [*operations[1:-1], *[NAMES[-1]] * VERTICES]
    edges: dict[str, Value] = {_name(edge): int(edge in on) for edge in EDGES}
    return {**edges, **{f"vertex_{vertex}": inner[vertex - 1] for vertex in INNER}}


def _fans() -> Iterator[tuple[tuple[int, int], ...]]:
    """Cells in which one vertex reads the input, up to three others read that one, and the output reads all of them."""
    for size in (2, 3, 4):
        for first, *others in combinations(INNER, size):
            inner = ((first, other) for other in others)
            yield ((0, first), *inner, *((end, VERTICES - 1) for end in (first, *others)))


def _cheapest(values: Sequence[Value]) -> Value:
    """The last of `OPERATIONS` among the choices of a vertex, or the low end of an edge."""
    return max(values, key=lambda value: NAMES.index(value) if isinstance(value, str) else 0)


def _pruned_cell(parameters: Parameters) -> Cell:
    """The pruned cell, with its vertices in the order of the parameters."""
    operations = tuple([NAMES.index(str(parameters[f"vertex_{vertex}"])) for vertex in INNER])
    sources = [tuple([i for i in range(j - 1, -1, -1) if parameters[_name((i, j))]]) for j in range(1, VERTICES)]
    return pruned(Cell(operations, tuple(sources)))


def _small_stem(sketch: Sketch) -> int:
    return sketch.add("conv3x3_bn_relu", (0,), 0, name="stem")


def _large_stem(sketch: Sketch, half: int) -> int:
    first = sketch.add("conv3x3_bn_relu", (0,), half, stride=2, name="stem1")
    return sketch.add("conv3x3_bn_relu", (first,), 0, stride=2, name="stem2")


def _halve(sketch: Sketch, last: int, stack: int) -> int:
    """Index of a new pooling that halves the resolution, rounding up."""
    even = all(size % 2 == 0 for size in sketch.shape(last)[1:])
    operation, width = "maxpool2x2" if even else "maxpool3x3", sketch.nodes[last].channels
    return sketch.add(operation, (last,), width, stride=2, stage=stack, name=f"stage{stack + 1}_pool")


class _Module:
    """One copy of the cell in the network."""

    def __init__(self, sketch: Sketch, cell: Cell, entering: int, place: Place) -> None:
        self.sketch, self.cell, self.entering, self.place = sketch, cell, entering, place
        self.ends = sorted(vertex for vertex in cell.sources[-1] if vertex)
        self.places = self._places()

    def output(self) -> int:
        """Index of the node that holds the module's output, after the module's nodes are added."""
        outputs = [self.entering]
        for vertex, operation in enumerate(self.cell.operations, 1):
            sources = self.cell.sources[vertex - 1]
            inputs = tuple(self._read(outputs[source], source, vertex) for source in sources)
            outputs.append(self._add(LAYERS[operation], inputs, self.places[vertex], f"node{vertex}"))
        ends = tuple(outputs[vertex] for vertex in self.ends)
        whole = self._whole()
        if len(ends) > 1:
            ends = (self._add("identity", ends, whole, "concat", merge="concat"),)
        if 0 in self.cell.sources[-1]:
            ends += (self._add("conv1x1_bn_relu", (self.entering,), whole, "input_to_output"),)
        return ends[0] if len(ends) == 1 else self._add("identity", ends, whole, "output")

    def _read(self, node: int, source: int, vertex: int) -> int:
        """Index of the node through which a vertex reads another one or the input."""
        width = self.places[vertex]
        if not source:
            return self._add("conv1x1_bn_relu", (node,), width, f"input_to_node{vertex}")
        if self.places[source] == width:
            return node
        return self._add("first_channels", (node,), width, f"node{source}_to_node{vertex}")

    def _places(self) -> dict[int, int]:
        """Place of the width of each inner vertex.

        The first shares of the module's width are the widest, so the widest reader of a vertex is the one with the
        smallest index of its share.
        """
        shares = {vertex: index for index, vertex in enumerate(self.ends)}
        for vertex in range(len(self.cell.operations), 0, -1):
            if vertex not in shares:
                readers = [end for end in range(vertex + 1, len(self.cell.sources)) if self._reads(end, vertex)]
                shares[vertex] = min(shares[reader] for reader in readers)
        return {vertex: self._share(index) for vertex, index in shares.items()}

    def _reads(self, end: int, vertex: int) -> bool:
        return vertex in self.cell.sources[end - 1]

    def _share(self, index: int) -> int:
        parts = len(self.ends)
        return self.place.width if parts == 1 else self.sketch.derive(Share(self.place.width, index, parts))

    def _whole(self) -> int:
        """Place of the output's width, which is that of the stack except for very narrow ones."""
        if len(self.ends) < 2:
            return self.place.width
        return self.sketch.derive(Total(tuple(self._share(index) for index in range(len(self.ends)))))

    def _add(self, operation: str, inputs: tuple[int, ...], width: int, name: str, merge: str = "sum") -> int:
        place = self.place
        return self.sketch.add(operation, inputs, width, merge=merge, stage=place.stage, name=f"{place.name}_{name}")
