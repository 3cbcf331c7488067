from itertools import permutations

import numpy as np
import pytest
import torch

from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import Shape
from search_spaces.design.budget import Budget
from search_spaces.design.dimensions import low_ends
from search_spaces.design.space import Parameters, Value
from search_spaces.errors import SpaceError
from search_spaces.networks.network import build
from search_spaces.spaces.enas_micro import BLOCKS, EnasMicro
from search_spaces.spaces.two_input_cells import KINDS

NORMAL = "0 2 0 0 0 4 0 1 0 4 1 1 1 0 0 1 0 2 1 1"
REDUCTION = "1 0 1 0 0 3 0 2 1 1 3 1 1 0 0 4 0 3 1 1"
"""The published cells in the authors' form: state and operation, twice for each block."""

NUMBERED = ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "identity")


def parameters_of(normal: str, reduction: str = REDUCTION) -> dict[str, Value]:
    parameters: dict[str, Value] = {}
    for kind, text in zip(KINDS, (normal, reduction), strict=True):
        numbers = list(map(int, text.split()))
        for block in range(BLOCKS):
            first, one, second, other = numbers[4 * block : 4 * block + 4]
            for half, state, operation in (("first", first, one), ("second", second, other)):
                name = f"{kind}_block{block + 1}_{half}"
                parameters |= {f"{name}_input": state, name: NUMBERED[operation]}
    return parameters


def sample(parameters: Parameters, cells: int = 4, width: float = 4, shape: Shape = (3, 8, 8)) -> Architecture:
    return EnasMicro(cells=cells, width=width).sample(parameters, Budget(), shape, 10, np.random.default_rng(0))


def drawn(seed: int) -> dict[str, Value]:
    return EnasMicro().random_parameters(np.random.default_rng(seed))


def permuted(parameters: Parameters, order: tuple[int, ...]) -> dict[str, Value] | None:
    """The cells with their blocks in this order and the halves of each swapped; None if one would read a later one."""
    place = {0: 0, 1: 1, **{old + 2: new + 2 for new, old in enumerate(order)}}
    result: dict[str, Value] = {}
    for kind in KINDS:
        for new, old in enumerate(order):
            for half, other in (("first", "second"), ("second", "first")):
                source, name = f"{kind}_block{old + 1}_{half}", f"{kind}_block{new + 1}_{other}"
                state = place[int(parameters[f"{source}_input"])]
                if state >= new + 2:
                    return None
                result |= {f"{name}_input": state, name: parameters[source]}
    return result


def test_the_published_cells_have_the_parameters_counted_by_hand() -> None:
    """17 cells of width 36, two of which reduce; separable convolutions come twice, each with one batch norm."""

    def conv(before: int, after: int, kernel: int = 1) -> int:
        return kernel**2 * before * after + 2 * after

    def separable(kernel: int, width: int) -> int:
        return 2 * (kernel**2 * width + conv(width, width))

    def normal(width: int) -> int:  # two 3x3 and four 5x5, nothing reads a block
        return 2 * separable(3, width) + 4 * separable(5, width) + conv(5 * width, width)

    def reduction(width: int) -> int:  # three of each, one identity at stride 2, block 2 is read
        return 3 * separable(3, width) + 3 * separable(5, width) + conv(width, width) + conv(4 * width, width)

    stem = conv(3, 108, 3) + 3 * conv(108, 36)
    body = sum(5 * normal(width) for width in (36, 72, 144)) + reduction(72) + reduction(144)
    projections = 3 * conv(36, 72) + 3 * conv(72, 144)  # both inputs of a reduction, the farther one of the next cell
    found = cost(sample(parameters_of(NORMAL), 17, 36, (3, 32, 32))).params
    assert found == stem + body + projections + 144 * 10 + 10


def test_states_that_no_block_reads_are_concatenated_including_inputs() -> None:
    only_farther = " ".join(["0 0 0 2"] * BLOCKS)
    architecture = sample(parameters_of(only_farther, only_farther), 5)
    place = {name: number for number, name in enumerate(architecture.names)}
    output = architecture.nodes[place["stage1_cell1_output"]]
    assert {architecture.names[i] for i in output.inputs} == {"stage1_cell1_input1"} | {
        f"stage1_cell1_node{block}" for block in range(1, BLOCKS + 1)
    }
    reduced = architecture.nodes[place["stage2_cell2_output"]]
    rest = architecture.nodes[place["stage2_cell2_rest1"]]
    assert place["stage2_cell2_rest1"] in reduced.inputs
    assert (rest.operation, rest.stride) == ("pool_conv1x1_bn", 2)


def test_a_chain_of_blocks_has_one_output() -> None:
    chain = "0 0 1 0 2 0 2 3 3 4 3 1 4 0 4 0 5 2 5 2"
    architecture = sample(parameters_of(chain, chain))
    outputs = [node for node in architecture.nodes if node.name.endswith("_output")]
    assert [len(node.inputs) for node in outputs] == [1, 1, 1, 1]


def test_cells_that_differ_in_the_order_of_blocks_and_halves_give_equal_architectures() -> None:
    n_ways = 0
    for seed in range(4):
        parameters = drawn(seed)
        architecture, text = sample(parameters), EnasMicro().describe(parameters)
        ways = [way for order in permutations(range(BLOCKS)) if (way := permuted(parameters, order))]
        assert all(EnasMicro().describe(way) == text for way in ways)
        assert all(sample(way) == architecture for way in ways[:5])
        n_ways += len(ways)
    assert n_ways > 8


def test_networks_are_equal_if_and_only_if_their_cells_have_equal_descriptions() -> None:
    """Colours of the whole network's graph against the canonical form of the cells."""
    start, space = parameters_of(NORMAL), EnasMicro()
    changed = [start]
    for name, dimension in space.distributions().items():
        changed += [start | {name: value} for value in low_ends(dimension.distribution) if value != start[name]]
    texts = [space.describe(parameters) for parameters in changed]
    digests = [sample(parameters).digest for parameters in changed]
    assert len(set(texts)) == len(set(digests)) == len(set(zip(texts, digests, strict=True))) < len(changed)


def test_only_an_input_that_does_not_fit_is_projected() -> None:
    architecture = sample(parameters_of(NORMAL), 9)
    projected = {node.name: node.operation for node in architecture.nodes if "_input" in node.name}
    assert projected == {
        "stage1_cell1_input0": "relu_conv1x1_bn",
        "stage1_cell1_input1": "relu_conv1x1_bn",
        "stage1_cell2_input0": "relu_conv1x1_bn",
        "stage2_cell4_input0": "relu_conv1x1_bn",
        "stage2_cell4_input1": "relu_conv1x1_bn",
        "stage2_cell5_input0": "relu_pool_conv1x1_bn",
        "stage3_cell7_input0": "relu_conv1x1_bn",
        "stage3_cell7_input1": "relu_conv1x1_bn",
        "stage3_cell8_input0": "relu_pool_conv1x1_bn",
    }


@pytest.mark.parametrize(
    ("size", "resolutions"), [(1, (1, 1, 1)), (8, (8, 4, 2)), (28, (28, 14, 7)), (224, (28, 14, 7))]
)
def test_stages_halve_the_resolution_and_double_the_width(size: int, resolutions: tuple[int, ...]) -> None:
    architecture = sample(drawn(0), 6, 4, (3, size, size))
    for node, shape in zip(architecture.nodes, architecture.shapes(), strict=True):
        if node.name.endswith("_output"):
            assert shape == (4 * 2**node.stage, resolutions[node.stage], resolutions[node.stage])


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 100), (2, 17), (12,)])
def test_signals_vectors_and_single_pixels_have_networks(shape: Shape) -> None:
    network = build(sample(drawn(1), shape=shape)).eval()
    assert network(torch.zeros(2, *shape)).shape == (2, 10)


def test_the_smallest_family_has_the_fewest_parameters() -> None:
    (smallest,) = EnasMicro().smallest_parameters()
    fewest = cost(sample(smallest)).params
    assert all(cost(sample(drawn(seed))).params > fewest for seed in range(20))


def test_fewer_than_four_cells_are_rejected() -> None:
    with pytest.raises(SpaceError, match="4 <= cells <= 100"):
        EnasMicro(cells=3)
