from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from itertools import permutations, product
from math import inf
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search_spaces.architecture.format import Architecture
from search_spaces.design.blueprint import Blueprint
from search_spaces.design.budget import Budget
from search_spaces.design.space import Value
from search_spaces.design.widths import widths_at
from search_spaces.errors import SpaceError
from search_spaces.networks.network import Network, build
from search_spaces.spaces.nasbench201 import NasBench201, cell_string, parse_cell

TABLE = Path(__file__).parents[2] / "data" / "nasbench201.npz"

NAMES = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""In the order of the table."""

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
ONLY_SKIP = "|skip_connect~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|"


def cells() -> list[dict[str, Value]]:
    """All cells in the order of the table's file."""
    return [
        {f"edge_{start}_{end}": name for (start, end), name in zip(EDGES, names, strict=True)}
        for names in product(NAMES, repeat=6)
    ]


def blueprint(space: NasBench201, cell: dict[str, Value], size: int = 32) -> Blueprint:
    return space.blueprint(cell, (3, size, size), 10, np.random.default_rng(0))


def architecture(space: NasBench201, cell: dict[str, Value] | str, size: int = 32) -> Architecture:
    parameters = parse_cell(cell) if isinstance(cell, str) else cell
    return space.sample(parameters, Budget(), (3, size, size), 10, np.random.default_rng(0))


def images(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def closed_form(cell: dict[str, Value], n_cells: int = 5) -> int:
    """Parameters of the benchmark's network: a convolution of kernel k in every cell of every stage, used or not."""
    ones, threes = (sum(name == kind for name in cell.values()) for kind in ("nor_conv_1x1", "nor_conv_3x3"))
    convolutions = sum(n_cells * (ones * (c * c + 2 * c) + threes * (9 * c * c + 2 * c)) for c in (16, 32, 64))
    residuals = sum((9 * c * c // 2 + 2 * c) + (9 * c * c + 2 * c) + c * c // 2 for c in (32, 64))
    return (27 * 16 + 2 * 16) + convolutions + residuals + (2 * 64 + 10 * 64 + 10)


def check_parameters(rows: list[int], n_cells: int) -> None:
    space, all_cells = NasBench201(cells=n_cells, width=16, pruned=False), cells()
    for row in rows:
        whole = blueprint(space, all_cells[row])
        assert whole.cost(widths_at(whole.ratios, 16)).params == closed_form(all_cells[row], n_cells)


def test_parameters_without_pruning_equal_the_closed_form() -> None:
    check_parameters(np.random.default_rng(0).integers(0, 15_625, 150).tolist(), 5)


@pytest.mark.slow  # 15,625 blueprints
def test_all_parameters_with_one_cell_a_stage_equal_the_closed_form() -> None:
    check_parameters(list(range(15_625)), 1)


def test_the_closed_form_equals_the_table_except_for_rows_with_the_count_of_another_cell_of_their_class() -> None:
    """150 rows of the table have one convolution more or less than their cells: that of a cell in the same class."""
    counts = [closed_form(cell) for cell in cells()]
    table = np.load(TABLE)
    published = np.round(1e6 * table["params_m"].astype(float)).astype(int).tolist()
    classes = table["isomorph"].tolist()
    assert len(published) == len(counts) == 15_625
    members: dict[int, set[int]] = defaultdict(set)
    for number, count in zip(classes, counts, strict=True):
        members[number].add(count)
    others = [row for row in range(15_625) if published[row] != counts[row]]
    assert len(others) == 150
    assert all(published[row] in members[classes[row]] for row in others)
    assert {abs(published[row] - counts[row]) for row in others} == {28_000, 243_040}


class Formula:
    """Output of a cell as nested sums, in which each operation may have a name.

    A sum is a sorted tuple of its terms; `x` is the input, and each convolution is named by its edge.
    """

    def __init__(self, cell: dict[str, Value], names: dict[str, object]) -> None:
        terms: list[tuple[object, ...]] = [("x",), (), (), ()]
        for start, end in EDGES:
            edge = f"edge_{start}_{end}"
            if cell[edge] == "skip_connect":
                terms[end] += terms[start]
            elif cell[edge] != "none" and terms[start]:
                terms[end] += ((cell[edge], names.get(edge), terms[start]),)
            terms[end] = tuple(sorted(terms[end], key=repr))
        self.output = terms[-1]

    def holds(self, edge: str) -> bool:
        """Whether the convolution of this edge, which must be named by its edge, is used."""
        return f"'{edge}'" in repr(self.output)


def least_formula(cell: dict[str, Value]) -> tuple[object, ...]:
    """The smallest formula over all numberings of the convolutions, which does not depend on their edges."""
    by_edge = Formula(cell, {edge: edge for edge in cell})
    same = [
        [edge for edge in cell if cell[edge] == operation and by_edge.holds(edge)]
        for operation in ("nor_conv_1x1", "nor_conv_3x3")
    ]
    numbered = (
        dict(zip((*same[0], *same[1]), (*first, *second), strict=True))
        for first in permutations(range(len(same[0])))
        for second in permutations(range(len(same[1])))
    )
    return min((Formula(cell, dict(names)).output for names in numbered), key=repr)


@pytest.mark.slow  # 15,625 formulas and architectures, half a minute
def test_cells_give_equal_architectures_if_and_only_if_their_formulas_are_equal() -> None:
    """Also compared with the classes of the table, which are those of formulas in which convolutions have no names.

    The table also distinguishes where zeros are added and how sums are nested, so it has more classes.
    """
    space = NasBench201(cells=1, width=4)
    classes = np.load(TABLE)["isomorph"].tolist()
    made: dict[tuple[object, ...], Architecture] = {}
    formulas: dict[int, set[tuple[object, ...]]] = defaultdict(set)
    tables: dict[tuple[object, ...], set[int]] = defaultdict(set)
    for cell, table in zip(cells(), classes, strict=True):
        formula = least_formula(cell)
        formulas[table].add(formula)
        tables[formula].add(table)
        if formula:
            assert made.setdefault(formula, each := architecture(space, cell, 8)) == each
        else:
            assert space.flaws(cell)
    assert len(made) == len(set(made.values())) == len({each.digest for each in made.values()}) == 5_259
    assert len(formulas) == 6_466
    assert sum(len(each) > 1 for each in formulas.values()) == 430
    assert sum(len(each) > 1 for each in tables.values()) == 688


@pytest.mark.slow  # 15,625 architectures, half a minute
def test_without_pruning_every_cell_gives_another_network() -> None:
    space = NasBench201(cells=1, width=4, pruned=False)
    assert len({architecture(space, cell, 8).digest for cell in cells()}) == 15_625


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (  # an unused convolution, and a path through another node
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|nor_conv_1x1~1|none~2|",
            "|none~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|nor_conv_1x1~2|",
        ),
        (  # the second pooling of one tensor
            "|avg_pool_3x3~0|+|avg_pool_3x3~0|none~1|+|none~0|nor_conv_3x3~1|nor_conv_1x1~2|",
            "|avg_pool_3x3~0|+|none~0|skip_connect~1|+|none~0|nor_conv_3x3~1|nor_conv_1x1~2|",
        ),
    ],
)
def test_cells_that_compute_the_same_give_equal_architectures(one: str, other: str) -> None:
    assert architecture(NasBench201(width=8), one) == architecture(NasBench201(width=8), other)


@pytest.mark.parametrize(
    ("shared", "separate"),
    [
        (
            "|nor_conv_1x1~0|+|avg_pool_3x3~0|skip_connect~1|+|avg_pool_3x3~0|skip_connect~1|skip_connect~2|",
            "|skip_connect~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|",
        ),
        (
            "|nor_conv_3x3~0|+|avg_pool_3x3~0|skip_connect~1|+|nor_conv_3x3~0|skip_connect~1|avg_pool_3x3~2|",
            "|skip_connect~0|+|avg_pool_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|avg_pool_3x3~2|",
        ),
    ],
)
def test_one_convolution_read_twice_differs_from_two_convolutions_unlike_in_the_table(
    shared: str, separate: str
) -> None:
    classes = np.load(TABLE)["isomorph"]
    rows = {cell_string(cell): row for row, cell in enumerate(cells())}
    assert classes[rows[shared]] == classes[rows[separate]]
    assert architecture(NasBench201(width=8), shared) != architecture(NasBench201(width=8), separate)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (  # one sum in two orders
            "|skip_connect~0|+|skip_connect~0|nor_conv_3x3~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
            "|skip_connect~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|skip_connect~1|skip_connect~2|",
        ),
        (  # a zero here or there
            "|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|nor_conv_1x1~0|nor_conv_1x1~1|nor_conv_3x3~2|",
            "|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|nor_conv_1x1~0|nor_conv_3x3~1|nor_conv_1x1~2|",
        ),
        (  # a convolution of zeros
            "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|nor_conv_1x1~2|",
            "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|",
        ),
    ],
)
def test_equal_networks_give_equal_architectures_although_the_table_has_two_classes(one: str, other: str) -> None:
    classes = np.load(TABLE)["isomorph"]
    rows = {cell_string(cell): row for row, cell in enumerate(cells())}
    assert classes[rows[one]] != classes[rows[other]]
    assert architecture(NasBench201(width=8), one) == architecture(NasBench201(width=8), other)


def modules(network: Network) -> Iterator[tuple[str, nn.Module]]:
    """Name of each operation with weights in a cell, as stage and kind, and its module."""
    for node in network.architecture.nodes:
        if "_cell" in node.name and "conv" in node.operation:
            yield f"{node.name.split('_')[0]} {node.operation}", getattr(network, node.name)


@pytest.mark.parametrize(
    "cell",
    [
        "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|skip_connect~2|",
        "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|nor_conv_3x3~2|",
        "|avg_pool_3x3~0|+|avg_pool_3x3~0|nor_conv_3x3~1|+|avg_pool_3x3~0|skip_connect~1|nor_conv_1x1~2|",
        "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|",
        "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|nor_conv_1x1~1|avg_pool_3x3~2|",
    ],
)
def test_the_pruned_network_computes_what_the_benchmark_does(cell: str) -> None:
    """With the same weights; each kind of convolution occurs once in these cells."""
    letter = build(architecture(NasBench201(cells=1, width=6, pruned=False), cell, 9), seed=1).eval()
    live = build(architecture(NasBench201(cells=1, width=6), cell, 9), seed=2).eval()
    weights = dict(modules(letter))
    for name, module in modules(live):
        module.load_state_dict(weights.pop(name).state_dict())
    assert not weights
    rest = {key: value for key, value in letter.state_dict().items() if "_cell" not in key}
    live.load_state_dict(rest, strict=False)
    with torch.no_grad():
        torch.testing.assert_close(live(images(2, 3, 9, 9)), letter(images(2, 3, 9, 9)))


def test_the_network_without_pruning_is_a_stem_cells_residual_blocks_and_a_classifier() -> None:
    """Compared with a forward pass written out with the modules of the network."""
    cell = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
    network = build(architecture(NasBench201(cells=2, width=6, pruned=False), cell, 9)).eval()
    with torch.no_grad():
        x = network.stem(images(2, 3, 9, 9))
        for stage in (1, 2, 3):
            if stage > 1:
                part = {
                    key: getattr(network, f"stage{stage}_reduction_{key}") for key in ("conv1", "conv2", "shortcut")
                }
                x = part["conv2"](part["conv1"](x)) + part["shortcut"](x)
            for number in (1, 2):
                edge = partial(_edge, network, f"stage{stage}_cell{number}")
                first = edge("0_1", x)
                second = edge("0_2", x) + edge("1_2", first)
                x = edge("0_3", x) + edge("1_3", first) + edge("2_3", second)
        torch.testing.assert_close(network.classifier(x), network(images(2, 3, 9, 9)))


def _edge(network: Network, cell: str, edge: str, x: Tensor) -> Tensor:
    result = getattr(network, f"{cell}_edge_{edge}")(x.clone())
    assert isinstance(result, Tensor)
    return result


def test_a_cell_of_skips_only_has_no_nodes() -> None:
    names = architecture(NasBench201(width=8), ONLY_SKIP).names
    assert not [name for name in names if "_cell" in name]


def test_a_tensor_that_is_added_several_times_has_a_node_for_each_further_time() -> None:
    fourfold = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|"
    names = [name for name in architecture(NasBench201(width=8, cells=1), fourfold).names if "stage1" in name]
    copies = [f"stage1_cell1_input_copy{number}" for number in (1, 2, 3)]
    assert names == [*copies, "stage1_cell1_output"]


@pytest.mark.parametrize(("size", "resolutions"), [(32, (32, 16, 8)), (9, (9, 5, 3)), (64, (16, 8, 4))])
def test_stages_halve_the_resolution_and_large_inputs_are_divided_by_four_first(
    size: int, resolutions: tuple[int, ...]
) -> None:
    cell = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|"
    whole = architecture(NasBench201(width=8), cell, size)
    for node, shape in zip(whole.nodes, whole.shapes(), strict=True):
        if "_cell" in node.name:
            assert shape == (8 * 2**node.stage, resolutions[node.stage], resolutions[node.stage])


def test_the_string_form_of_every_cell_round_trips() -> None:
    for cell in cells():
        assert parse_cell(cell_string(cell)) == cell
    assert NasBench201().describe(parse_cell(ONLY_SKIP)) == ONLY_SKIP


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be written"),
        ("|none~0|+|none~0|none~1|", "must be written"),
        (ONLY_SKIP[:-1], "must be written"),
        (ONLY_SKIP + "\n", "must be written"),
        (ONLY_SKIP.replace("~1|none~2", "~2|none~1"), "must be written"),
        (ONLY_SKIP + "+|none~0|", "must be written"),
        (ONLY_SKIP.replace("skip_connect", "skip_conect"), "Did you mean 'skip_connect'"),
    ],
)
def test_a_text_that_is_not_a_cell_is_rejected_in_one_line(text: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message) as caught:
        parse_cell(text)
    assert "\n" not in str(caught.value)


def test_a_cell_has_no_flaws_if_and_only_if_its_output_is_not_zero() -> None:
    space, all_cells = NasBench201(), cells()
    flawless = [space.flaws(cell) == 0 for cell in all_cells]
    assert flawless == [bool(Formula(cell, {}).output) for cell in all_cells]
    assert flawless.count(False) == 341
    assert NasBench201(pruned=False).flaws(dict.fromkeys(all_cells[0], "none")) == 0


def test_random_cells_have_no_flaws_even_where_the_direct_edge_is_closed() -> None:
    space = NasBench201(edge_0_3="none", edge_1_3="none", edge_0_2=("none", "skip_connect"))
    for seed in range(50):
        assert space.flaws(space.complete(space.random_parameters(np.random.default_rng(seed)))) == 0
    assert space.flaws(space.complete(dict.fromkeys(space.distributions(), "none"))) == 2


def test_ranges_without_a_path_are_rejected() -> None:
    closed = {"edge_0_3": "none", "edge_1_3": "none", "edge_2_3": "none"}
    with pytest.raises(SpaceError, match="must leave a path"):
        NasBench201(**closed)  # type: ignore[arg-type]
    assert NasBench201(pruned=False, **closed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "ranges", [{}, {"edge_0_3": ("nor_conv_3x3", "none")}, {"edge_0_3": "none", "edge_0_1": ("none", "nor_conv_1x1")}]
)
def test_no_cell_is_cheaper_than_the_smallest(ranges: dict[str, str | tuple[str, ...]]) -> None:
    space = NasBench201(cells=1, **ranges)  # type: ignore[arg-type]

    def least(parameters: dict[str, Value]) -> tuple[int, int]:
        whole = blueprint(space, space.complete(parameters))
        found = whole.cost(widths_at(whole.ratios, 4))
        return found.params, found.macs

    smallest = [least(parameters) for parameters in space.smallest_parameters()]
    fewest = [min(each) for each in zip(*smallest, strict=True)]
    reached = [inf, inf]
    for seed in range(150):
        found = least(space.random_parameters(np.random.default_rng(seed)))
        reached = [min(pair) for pair in zip(reached, found, strict=True)]
    assert all(least_one <= random for least_one, random in zip(fewest, reached, strict=True))


def test_invalid_options_are_rejected() -> None:
    with pytest.raises(SpaceError, match="1 <= cells <= 100"):
        NasBench201(cells=0)
