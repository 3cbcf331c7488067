from collections.abc import Iterator
from itertools import combinations, permutations, product
from typing import Any, ClassVar

import networkx as nx
import numpy as np
import pytest
from networkx.algorithms.isomorphism import categorical_node_match

from search_spaces.architecture.format import Architecture, Node
from search_spaces.design.blueprint import Sketch
from search_spaces.design.budget import Budget
from search_spaces.design.space import Dimension, Parameters, Space
from search_spaces.design.wiring import Place
from search_spaces.errors import SpaceError
from search_spaces.spaces.darts import Darts
from search_spaces.spaces.enas_micro import EnasMicro
from search_spaces.spaces.two_input_cells import TwoInputCell, TwoInputCells, add_nodes, canonical, enter

RATIOS = (1, 2, 4, 3)
SHORT = {
    "average3x3": "avg3",
    "maxpool3x3": "max3",
    "relu_dilated_sepconv3x3_bn": "dil3",
    "relu_dilated_sepconv5x5_bn": "dil5",
    "relu_sepconv3x3_bn_twice": "sep3",
    "relu_sepconv5x5_bn_twice": "sep5",
}


def random_cell(rng: np.random.Generator, nodes: int = 5) -> TwoInputCell:
    def half(node: int) -> tuple[int, str]:
        return int(rng.integers(node + 2)), "ab"[int(rng.integers(2))]

    return tuple((half(node), half(node)) for node in range(nodes))


def renumbered(cell: TwoInputCell) -> Iterator[TwoInputCell]:
    """The cell in every order of its nodes in which sources come first, with the halves of each node swapped."""
    for order in permutations(range(len(cell))):
        place = {0: 0, 1: 1, **{old + 2: new + 2 for new, old in enumerate(order)}}
        moved = [tuple((place[state], name) for state, name in reversed(cell[old])) for old in order]
        if all(state < new for new, node in enumerate(moved, 2) for state, _ in node):
            yield tuple((first, second) for first, second in moved)


def graph(cell: TwoInputCell) -> "nx.DiGraph[Any]":
    result: nx.DiGraph[Any] = nx.DiGraph()
    result.add_nodes_from([(0, {"kind": "farther"}), (1, {"kind": "nearer"})])
    for number, halves in enumerate(cell, 2):
        result.add_node(number, kind="node")
        for half, (state, name) in enumerate(halves):
            result.add_node((number, half), kind=name)
            result.add_edges_from([(state, (number, half)), ((number, half), number)])
    return result


def test_every_numbering_of_a_cell_has_the_same_canonical_form() -> None:
    for seed in range(20):
        cell = random_cell(np.random.default_rng(seed))
        ways = list(renumbered(cell))
        assert {canonical(way) for way in ways} == {canonical(cell)}
        assert {tuple(tuple(sorted(node)) for node in way) for way in ways} >= {canonical(cell)}


def test_the_canonical_form_is_the_smallest_of_all_numberings() -> None:
    for seed in range(20):
        cell = random_cell(np.random.default_rng(seed))
        sorted_ways = (tuple((min(node), max(node)) for node in way) for way in renumbered(cell))
        assert canonical(cell) == min(sorted_ways)


def test_a_canonical_form_is_found_once() -> None:
    cell = random_cell(np.random.default_rng(99))
    assert canonical(cell) is canonical(cell)


def test_canonical_forms_are_equal_if_and_only_if_networkx_finds_cells_isomorphic() -> None:
    wirings = [((0, 1), *pairs) for pairs in product(combinations(range(3), 2), combinations(range(4), 2))]
    cells: list[TwoInputCell] = [
        tuple(((one, "a"), (other, name)) for one, other in wiring) for wiring in wirings for name in "ab"
    ]
    same = categorical_node_match("kind", None)
    for one, other in combinations(cells, 2):
        isomorphic = nx.is_isomorphic(graph(one), graph(other), node_match=same)
        assert isomorphic == (canonical(one) == canonical(other))
    assert 2 < len({canonical(cell) for cell in cells}) < len(cells)


class Recorder(TwoInputCells):
    """Space that records the cells that it is asked to add."""

    name = "recorder"
    classifier = "pool_classifier"
    dimensions: ClassVar[dict[str, Dimension]] = {}

    def __init__(self, cells: int) -> None:
        super().__init__(cells=cells, width=None, max_width=8)
        self.seen: list[tuple[int, bool, TwoInputCell]] = []

    def cell(self, parameters: Parameters, kind: str) -> TwoInputCell:
        return (((0, kind), (1, kind)),)

    def add_cell(self, sketch: Sketch, cell: TwoInputCell, inputs: tuple[int, int], place: Place, reduces: bool) -> int:
        self.seen.append((place.stage, reduces, cell))
        return enter(sketch, inputs, place)[1]


@pytest.mark.parametrize("cells", range(4, 25))
def test_the_cells_at_one_and_two_thirds_reduce(cells: int) -> None:
    recorder = Recorder(cells)
    recorder.blueprint({}, (3, 32, 32), 10, np.random.default_rng(0))
    seen = recorder.seen
    assert len(seen) == cells
    assert [number for number, (_, reduces, _) in enumerate(seen) if reduces] == [cells // 3, 2 * cells // 3]
    assert [stage for stage, _, _ in seen] == sorted(stage for stage, _, _ in seen)
    assert [stage for stage, reduces, _ in seen if reduces] == [1, 2]
    assert all((cell[0][0][1] == "reduction") == reduces for _, reduces, cell in seen)


def test_fewer_than_four_cells_are_rejected() -> None:
    assert Recorder(4).cells == 4
    with pytest.raises(SpaceError, match="4 <= cells <= 100"):
        Recorder(3)


def test_a_cell_reads_each_cell_before_it_once_and_in_its_own_width_and_resolution() -> None:
    sketch = Sketch((3, 32, 32), 10, RATIOS, "test")
    wide = sketch.add("conv3x3_bn", (0,), 1)
    small = sketch.add("pool_conv1x1_bn", (wide,), 1, stride=2)
    assert enter(sketch, (small, small), Place(1, 1, "as_is"), always=False) == (small, small)
    farther, nearer = enter(sketch, (wide, small), Place(1, 1, "cell"), always=False)
    assert sketch.nodes[farther].operation == "relu_pool_conv1x1_bn"
    assert nearer == small
    farther, nearer = enter(sketch, (small, small), Place(1, 1, "projected"))
    assert [sketch.nodes[i].operation for i in (farther, nearer)] == ["relu_conv1x1_bn"] * 2
    assert farther != nearer


def test_a_state_that_is_passed_on_twice_counts_twice() -> None:
    sketch = Sketch((3, 8, 8), 10, RATIOS, "test")
    inputs = (sketch.add("conv3x3_bn", (0,), 0), sketch.add("conv3x3_bn", (0,), 0))
    cell: TwoInputCell = (((1, "identity"), (1, "identity")), ((0, "identity"), (1, "identity")))
    states = add_nodes(sketch, cell, inputs, Place(0, 0, "cell"), False, lambda name, stride: name)
    double, both = (sketch.nodes[state] for state in states[2:])
    assert double.inputs == (inputs[1], states[2] - 1)
    assert sketch.nodes[states[2] - 1] == Node("identity", inputs[1:], 0, name="cell_node1_second")
    assert (both.inputs, both.merge) == (inputs, "sum")


def read_back(architecture: Architecture, prefix: str, shortcut: str, skip: str) -> str:
    """Description of one cell of a network, reconstructed from its nodes."""
    place = {name: number for number, name in enumerate(architecture.names)}
    inputs = {place[name]: i for i in range(2) if (name := f"{prefix}_input{i}") in place}
    states = {**inputs, **{place[name]: i + 1 for i in range(1, 6) if (name := f"{prefix}_node{i}") in place}}
    text = []
    for number in list(states)[len(inputs) :]:
        halves = []
        for source in architecture.nodes[number].inputs:
            node = architecture.nodes[source]
            if source in states:
                halves.append((states[source], skip))
            else:
                state = states[node.inputs[0]]
                halves.append((state, skip if node.operation in (shortcut, "identity") else SHORT[node.operation]))
                assert (node.stride == 2) == (prefix == "stage2_cell2" and state < 2)
        text.append("+".join(f"{name}({state})" for state, name in sorted(halves)))
    return " ".join(text)


@pytest.mark.parametrize(
    ("space", "shortcut", "skip"),
    [
        (Darts(cells=4, width=2), "relu_pool_conv1x1_bn", "skip"),
        (EnasMicro(cells=4, width=2), "pool_conv1x1_bn", "identity"),
    ],
    ids=["darts", "enas-micro"],
)
def test_the_nodes_of_a_network_are_the_cells_that_its_space_describes(space: Space, shortcut: str, skip: str) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        parameters = space.random_parameters(rng)
        architecture = space.sample(parameters, Budget(), (3, 8, 8), 10, rng)
        normal, reduction = space.describe(parameters).split(" / ")
        ordered = [
            " ".join("+".join(sorted(node.split("+"), key=by_state)) for node in text.split())
            for text in (normal, reduction)
        ]
        assert read_back(architecture, "stage1_cell1", shortcut, skip) == ordered[0]
        assert read_back(architecture, "stage2_cell2", shortcut, skip) == ordered[1]


def by_state(half: str) -> tuple[int, str]:
    name, _, state = half.partition("(")
    return int(state[:-1]), name
