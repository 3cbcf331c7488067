from itertools import combinations, permutations, product
from math import inf

import numpy as np
import pytest
import torch
from torch import Tensor

from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture
from search_spaces.design.budget import Budget
from search_spaces.design.space import Value
from search_spaces.design.widths import widths_at
from search_spaces.errors import SpaceError
from search_spaces.networks.network import Network, build
from search_spaces.spaces.nasbench101 import NasBench101, cell_matrix, parse_matrix

C3, C1, POOL = "conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3"

Matrix = list[list[int]]

INCEPTION = (
    [
        [0, 1, 1, 1, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0],
    ],
    ["input", C1, C3, C3, C3, POOL, "output"],
)
"""Example from the code of the benchmark."""

LISTED_INCEPTION = (
    [
        [0, 1, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0],
    ],
    ["input", C3, C1, POOL, C3, C3, "output"],
)
"""How the benchmark lists it."""

LISTED_FIRST = (
    [
        [0, 1, 0, 0, 1, 1, 0],
        [0, 0, 1, 0, 0, 0, 0],
        [0, 0, 0, 1, 0, 0, 1],
        [0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0],
    ],
    ["input", C3, POOL, C3, C3, C1, "output"],
)
"""The listed cell of hash 00005c142e6f48ac74fdcf73e3439874."""

SMALLEST = (
    [
        [0, 1, 0, 0, 0, 0],
        [0, 0, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0],
    ],
    ["input", POOL, POOL, POOL, POOL, "output"],
)

LARGEST = (
    [
        [0, 1, 0, 1, 1, 1, 0],
        [0, 0, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0],
    ],
    ["input", C3, C3, C3, C3, C3, "output"],
)

THIRDS = (
    [
        [0, 1, 0, 1, 0, 1],
        [0, 0, 1, 0, 1, 1],
        [0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0],
    ],
    ["input", C3, C1, POOL, C3, "output"],
)
"""Three vertices share the output, which adds the input; one of them feeds the two narrower ones."""


def architecture(space: NasBench101, matrix: Matrix, operations: list[str], size: int = 32) -> Architecture:
    parameters = parse_matrix(matrix, operations)
    return space.sample(parameters, Budget(), (3, size, size), 10, np.random.default_rng(0))


def random_matrix(rng: np.random.Generator) -> tuple[Matrix, list[str]]:
    """As the benchmark lists it."""
    space = NasBench101()
    return cell_matrix(space.complete(space.random_parameters(rng)))


def images(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("cell", "published"),
    [(INCEPTION, 2_694_282), (LISTED_FIRST, 8_555_530), (SMALLEST, 227_274), (LARGEST, 49_979_274)],
)
def test_parameter_counts_equal_the_published_ones(cell: tuple[Matrix, list[str]], published: int) -> None:
    """The last two are the ends of the table's range."""
    assert cost(architecture(NasBench101(width=128), *cell)).params == published


@pytest.mark.parametrize(("cell", "listed"), [(INCEPTION, LISTED_INCEPTION), (LISTED_FIRST, LISTED_FIRST)])
def test_cells_are_numbered_as_the_benchmark_lists_them(
    cell: tuple[Matrix, list[str]], listed: tuple[Matrix, list[str]]
) -> None:
    assert cell_matrix(parse_matrix(*cell)) == listed


@pytest.mark.parametrize(("vertices", "published"), [(2, 1), (3, 6), (4, 84), (5, 2441)])
def test_there_are_as_many_cells_as_published(vertices: int, published: int) -> None:
    """Canonical forms against classes found by trying all permutations, over all matrices without unused vertices."""
    last = vertices - 1
    classes: dict[object, set[str]] = {}
    for edges in full_graphs(vertices):
        matrix = [[int((i, j) in edges) for j in range(vertices)] for i in range(vertices)]
        for inner in product((C3, C1, POOL), repeat=vertices - 2):
            names = ["input", *inner, "output"]
            least = min(
                (sorted((order[i], order[j]) for i, j in edges), sorted(zip(order, names, strict=True)))
                for middle in permutations(range(1, last))
                for order in [(0, *middle, last)]
            )
            classes.setdefault(str(least), set()).add(str(cell_matrix(parse_matrix(matrix, names))))
    assert len(classes) == published
    assert {len(forms) for forms in classes.values()} == {1}
    assert len(set.union(*classes.values())) == published


def full_graphs(vertices: int) -> list[set[tuple[int, int]]]:
    """All graphs of at most nine edges in which every vertex but the last is read and every one but the first reads."""
    pairs = list(combinations(range(vertices), 2))
    chosen = (set(edges) for n in range(1, 10) for edges in combinations(pairs, n))
    return [
        edges
        for edges in chosen
        if {start for start, _ in edges} == set(range(vertices - 1))
        and {end for _, end in edges} == set(range(1, vertices))
    ]


def widths(matrix: Matrix, whole: int) -> list[int]:
    """Widths of all vertices of a listed cell in a module of width `whole` with an input of that width."""
    last = len(matrix) - 1
    result = [whole] * len(matrix)
    ends = [vertex for vertex in range(1, last) if matrix[vertex][last]]
    for number, vertex in enumerate(ends):
        result[vertex] = whole // len(ends) + (number < whole % len(ends))
    for vertex in range(last - 1, 0, -1):
        if vertex not in ends:
            result[vertex] = max(result[end] for end in range(vertex + 1, last) if matrix[vertex][end])
    return result


def closed_form(matrix: Matrix, operations: list[str], width: int) -> int:
    """Parameters of the published network of a listed cell: convolutions with batch norm, and the classifier."""
    total, entering, last = 27 * width + 2 * width, width, len(matrix) - 1
    for stack in range(3):
        whole = width * 2**stack
        for _ in range(3):
            for vertex, channels in enumerate(widths(matrix, whole)[1:], 1):
                if matrix[0][vertex]:
                    total += entering * channels + 2 * channels
                kernel = {C3: 9, C1: 1}.get(operations[vertex], 0) if vertex < last else 0
                total += kernel * channels**2 + 2 * channels * (kernel > 0)
            entering = whole
    return total + (entering + 1) * 10


@pytest.mark.parametrize("width", [16, 13])
def test_parameters_equal_the_closed_form_even_if_widths_do_not_divide(width: int) -> None:
    space = NasBench101(width=width)
    for seed in range(40):
        matrix, operations = random_matrix(np.random.default_rng(seed))
        assert cost(architecture(space, matrix, operations)).params == closed_form(matrix, operations, width)


@pytest.mark.parametrize(
    ("edges", "whole", "expected"),
    [
        ([(0, 1), (0, 2), (1, 3), (2, 3), (3, 4)], 8, [8, 8, 8]),
        ([(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)], 8, [3, 3, 2]),
        ([(0, 1), (1, 2), (1, 3), (2, 4), (3, 4)], 9, [5, 5, 4]),
        ([(0, 1), (0, 3), (1, 2), (1, 4), (2, 3), (3, 4)], 15, [8, 7, 7]),
    ],
)
def test_widths_equal_those_in_the_tests_of_the_benchmark(
    edges: list[tuple[int, int]], whole: int, expected: list[int]
) -> None:
    matrix = [[int((i, j) in edges) for j in range(5)] for i in range(5)]
    nodes = architecture(NasBench101(width=whole, modules=1), matrix, ["input", C1, C1, C1, "output"]).nodes
    assert [node.channels for node in nodes if node.name in {f"stage1_module1_node{i}" for i in (1, 2, 3)}] == expected


def forward(network: Network, matrix: Matrix, x: Tensor) -> Tensor:
    """Output of the published network of one module per stack, written out with the modules of the built network."""
    last = len(matrix) - 1
    x = network.stem(x)
    for stage in (1, 2, 3):
        part = {name.split("_", 2)[2]: module for name, module in network.named_children() if f"stage{stage}_m" in name}
        x = getattr(network, f"stage{stage}_pool")(x) if stage > 1 else x
        values = [x]
        channels = widths(matrix, network.architecture.nodes[1].channels * 2 ** (stage - 1))
        for vertex in range(1, last):
            total = sum(values[i][:, : channels[vertex]] for i in range(1, vertex) if matrix[i][vertex])
            if matrix[0][vertex]:
                total = total + part[f"input_to_node{vertex}"](x)
            assert isinstance(total, Tensor)
            values.append(part[f"node{vertex}"](total.clone()))
        ends = [values[vertex] for vertex in range(1, last) if matrix[vertex][last]]
        added = part["input_to_output"](x) if matrix[0][last] else torch.zeros(())
        x = (torch.cat(ends, 1) if ends else torch.zeros(())) + added
    result = network.classifier(x)
    assert isinstance(result, Tensor)
    return result


@pytest.mark.parametrize("cell", [INCEPTION, THIRDS, LARGEST, ([[0, 1], [0, 0]], ["input", "output"])])
def test_the_network_computes_what_is_published(cell: tuple[Matrix, list[str]]) -> None:
    network = build(architecture(NasBench101(width=10, modules=1), *cell, 12)).eval()
    matrix, _ = cell_matrix(parse_matrix(*cell))
    x = images(2, 3, 12, 12)
    with torch.no_grad():
        torch.testing.assert_close(forward(network, matrix, x), network(x))


def test_renumbered_cells_and_unused_vertices_give_equal_architectures() -> None:
    space = NasBench101(width=8, modules=1)
    renumbered = (
        [[0, 1, 0, 1, 0, 1], [0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1], [0, 0, 1, 0, 1, 1], [0, 0, 0, 0, 0, 1], [0] * 6],
        ["input", POOL, C3, C3, C1, "output"],
    )
    order = [0, 3, 1, 2, 4, 5]  # one in which sources come before readers
    matrix = [[renumbered[0][i][j] for j in order] for i in order]
    same = architecture(space, matrix, [renumbered[1][i] for i in order])
    assert same == architecture(space, *THIRDS)
    parameters = parse_matrix(*THIRDS) | {"edge_0_5": 1, "edge_1_5": 1, "vertex_5": C3}
    assert space.sample(parameters, Budget(), (3, 32, 32), 10, np.random.default_rng(0)) == same


def test_edges_beyond_nine_and_a_missing_path_are_flaws() -> None:
    space = NasBench101()
    on = {f"edge_{i}_{j}": 1 for i, j in combinations(range(7), 2)}
    vertices = {f"vertex_{number}": C1 for number in range(1, 6)}
    complete = space.complete({**on, **vertices})
    assert space.flaws(complete) == 21 - 9
    assert space.flaws({**complete, **{f"edge_{i}_6": 0 for i in range(5)}}) == 16 - 9
    dead = {**complete, **{f"edge_{i}_6": 0 for i in range(6)}}
    assert space.flaws(dead) > space.flaws(complete)
    few = {**complete, **{f"edge_{i}_{j}": int(i == 0 or j == 6) for i, j in combinations(range(7), 2)}}
    assert space.flaws(few) == 2
    assert space.flaws({**few, "edge_0_1": 0, "edge_2_6": 0}) == 0  # and both vertices are gone


def test_random_cells_have_no_flaws_even_where_most_edges_are_closed() -> None:
    closed = {f"edge_0_{end}": 0 for end in range(2, 7)}
    space = NasBench101(**closed)
    for seed in range(50):
        assert space.flaws(space.complete(space.random_parameters(np.random.default_rng(seed)))) == 0


@pytest.mark.parametrize(
    "ranges",
    [
        {f"edge_{start}_6": 0 for start in range(6)},
        {f"edge_0_{end}": (0, 0) for end in range(1, 7)},
        {f"edge_{start}_{end}": 1 for start, end in combinations(range(7), 2) if start or end == 1},
    ],
)
def test_ranges_without_a_legal_cell_are_rejected(ranges: dict[str, int]) -> None:
    with pytest.raises(SpaceError, match="must leave a cell"):
        NasBench101(**ranges)


@pytest.mark.parametrize("ranges", [{}, {"edge_0_6": 0, "vertex_1": (C3, C1), "vertex_2": (C3, POOL)}])
def test_no_random_cell_is_cheaper_than_the_smallest(ranges: dict[str, int | tuple[str, ...]]) -> None:
    space = NasBench101(modules=1, **ranges)  # type: ignore[arg-type]

    def least(parameters: dict[str, Value]) -> tuple[int, int]:
        whole = space.blueprint(space.complete(parameters), (3, 32, 32), 10, np.random.default_rng(0))
        found = whole.cost(widths_at(whole.ratios, 1))
        return found.params, found.macs

    smallest = [least(parameters) for parameters in space.smallest_parameters()]
    fewest = [min(each) for each in zip(*smallest, strict=True)]
    reached = [inf, inf]
    for seed in range(60):
        found = least(space.random_parameters(np.random.default_rng(seed)))
        reached = [min(pair) for pair in zip(reached, found, strict=True)]
    assert fewest[0] <= reached[0]
    assert fewest[1] <= reached[1]


@pytest.mark.parametrize(
    ("size", "resolutions", "pools"),
    [
        (32, (32, 16, 8), ("maxpool2x2", "maxpool2x2")),
        (14, (14, 7, 4), ("maxpool2x2", "maxpool3x3")),
        (1, (1, 1, 1), ("maxpool3x3", "maxpool3x3")),
        (64, (16, 8, 4), ("maxpool2x2", "maxpool2x2")),
    ],
)
def test_stacks_halve_the_resolution_and_large_inputs_are_divided_by_four_first(
    size: int, resolutions: tuple[int, ...], pools: tuple[str, ...]
) -> None:
    whole = architecture(NasBench101(width=8), *THIRDS, size)
    for node, shape in zip(whole.nodes, whole.shapes(), strict=True):
        if "_module" in node.name:
            assert shape[1:] == (resolutions[node.stage],) * 2
    assert tuple(node.operation for node in whole.nodes if node.name.endswith("_pool")) == pools


def test_modules_that_are_too_narrow_have_one_channel_for_each_part() -> None:
    whole = architecture(NasBench101(width=1), *INCEPTION)
    outputs = [node.channels for node in whole.nodes if node.name.endswith("_module3_concat")]
    assert outputs == [4, 4, 4]


def test_the_matrix_form_round_trips() -> None:
    for seed in range(40):
        matrix, operations = random_matrix(np.random.default_rng(seed))
        assert cell_matrix(parse_matrix(matrix, operations)) == (matrix, operations)


def test_descriptions_state_what_each_vertex_reads() -> None:
    assert NasBench101().describe(parse_matrix(*LISTED_FIRST)) == (
        "conv3x3(0) maxpool3x3(1) conv3x3(2) conv3x3(0) conv1x1(0,3,4) output(2,5)"
    )


@pytest.mark.parametrize(
    ("matrix", "operations", "message"),
    [
        ([[0]], ["input"], "upper triangular"),
        ([[0, 1]], ["input", "output"], "upper triangular"),
        ([[0, 1, 1], [0, 0], [0, 0, 0]], ["input", C3, "output"], "upper triangular"),
        ([[0, 1], [1, 0]], ["input", "output"], "upper triangular"),
        ([[1, 1], [0, 0]], ["input", "output"], "upper triangular"),
        ([[0, 2], [0, 0]], ["input", "output"], "upper triangular"),
        ([[0] * 8] * 8, ["input", *[C3] * 6, "output"], "upper triangular"),
        ([[0, 1], [0, 0]], ["input", C3, "output"], "Operations must be"),
        ([[0, 1], [0, 0]], ["output", "input"], "Operations must be"),
        ([[0, 1, 1], [0, 0, 1], [0, 0, 0]], ["input", "conv5x5-bn-relu", "output"], "Unknown operation.*Known"),
    ],
)
def test_an_invalid_cell_is_rejected(matrix: Matrix, operations: list[str], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        parse_matrix(matrix, operations)


@pytest.mark.parametrize("options", [{"stacks": 0}, {"stacks": 1000}, {"modules": 0}, {"modules": 10**9}, {"width": 0}])
def test_invalid_options_are_rejected(options: dict[str, int]) -> None:
    with pytest.raises(SpaceError, match="must hold"):
        NasBench101(**options)
