import numpy as np
import pytest
import torch

from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import Shape
from search_spaces.design.budget import Budget
from search_spaces.design.space import Parameters, Value
from search_spaces.errors import SpaceError
from search_spaces.networks.network import build
from search_spaces.spaces.darts import NODES, Darts, format_genotype, parse_genotype
from search_spaces.spaces.two_input_cells import KINDS

DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], "
    "normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
    "('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], "
    "reduce_concat=[2, 3, 4, 5])"
)
P_DARTS = (
    "Genotype(normal=[('skip_connect', 0), ('dil_conv_3x3', 1), ('skip_connect', 0),('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 3), ('sep_conv_3x3',0), ('dil_conv_5x5', 4)], normal_concat=range(2, 6), "
    "reduce=[('avg_pool_3x3', 0), ('sep_conv_5x5', 1), ('sep_conv_3x3', 0), ('dil_conv_5x5', 2), ('max_pool_3x3', 0), "
    "('dil_conv_3x3', 1), ('dil_conv_3x3', 1), ('dil_conv_5x5', 3)], reduce_concat=range(2, 6))"
)
PC_DARTS = (
    "Genotype(normal=[('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 0), ('dil_conv_3x3', 1), "
    "('sep_conv_5x5', 0), ('sep_conv_3x3', 1), ('avg_pool_3x3', 0), ('dil_conv_3x3', 1)], normal_concat=range(2, 6), "
    "reduce=[('sep_conv_5x5', 1), ('max_pool_3x3', 0), ('sep_conv_5x5', 1), ('sep_conv_5x5', 2), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 3), ('sep_conv_3x3', 1), ('sep_conv_3x3', 2)], reduce_concat=range(2, 6))"
)


def sample(
    parameters: Parameters, cells: int = 4, width: float = 4, shape: Shape = (3, 8, 8), classes: int = 10
) -> Architecture:
    return Darts(cells=cells, width=width).sample(parameters, Budget(), shape, classes, np.random.default_rng(0))


def drawn(seed: int) -> dict[str, Value]:
    return Darts().random_parameters(np.random.default_rng(seed))


@pytest.mark.parametrize(("genotype", "params"), [(DARTS_V2, 3_349_342), (P_DARTS, 3_433_798)])
def test_published_genotypes_have_exactly_the_published_parameters(genotype: str, params: int) -> None:
    """As counted by the authors' programs for CIFAR-10, without the auxiliary classifier."""
    assert cost(sample(parse_genotype(genotype), 20, 36, (3, 32, 32))).params == params


@pytest.mark.parametrize(
    ("genotype", "cells", "width", "size", "classes", "millions"),
    [
        (PC_DARTS, 20, 36, 32, 10, 3.6),
        (DARTS_V2, 14, 48, 224, 1000, 4.7),
        (P_DARTS, 14, 48, 224, 1000, 4.9),
        (PC_DARTS, 14, 48, 224, 1000, 5.3),
    ],
)
def test_published_genotypes_have_the_parameters_of_the_papers_tables(
    genotype: str, cells: int, width: int, size: int, classes: int, millions: float
) -> None:
    params = cost(sample(parse_genotype(genotype), cells, width, (3, size, size), classes)).params
    assert round(params / 1e6, 1) == millions


@pytest.mark.parametrize("seed", range(20))
def test_a_genotype_round_trips(seed: int) -> None:
    parameters = drawn(seed)
    assert parse_genotype(format_genotype(parameters)) == parameters


def test_a_genotype_is_written_in_the_published_form() -> None:
    text = format_genotype(parse_genotype(DARTS_V2))
    assert text.startswith("Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ")
    assert text.endswith("('max_pool_3x3', 1), ('skip_connect', 2)], reduce_concat=[2, 3, 4, 5])")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("DARTS_V2", r"must be written `Genotype\("),
        ("Genotype(normal=[", r"must be written `Genotype\("),
        ("Genotype([('skip_connect', 0)])", r"must be written `Genotype\("),
        ("Genotype(normal=[('skip_connect', 0)])", "must have 8 operations, but got 1"),
        (DARTS_V2.replace("reduce=", "reduction="), r"`reduce=\[\(operation, state\)"),
        (DARTS_V2.replace("('skip_connect', 2)", "('skip_connect', '2')"), r"`reduce=\[\(operation, state\)"),
        (DARTS_V2.replace("normal_concat=[2, 3", "normal_concat=[3"), r"all four nodes.*normal_concat=\[3, 4, 5\]"),
        (DARTS_V2.replace("dil_conv_3x3", "conv_3x3"), "Node 4 must read two different states.*dil_conv_3x3"),
        (DARTS_V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', 0)"), "Node 4 must read two different states"),
        (
            DARTS_V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', 5)"),
            "Node 4 must read two different states of 0 to 4",
        ),
    ],
)
def test_a_genotype_that_is_not_of_the_space_is_rejected(text: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        parse_genotype(text)


def test_cells_that_differ_in_the_order_of_their_nodes_give_equal_architectures() -> None:
    swapped = DARTS_V2.replace(  # the third node comes first, so that the last one reads state 4
        "('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
        "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)",
        "('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
        "('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('skip_connect', 0), ('dil_conv_3x3', 4)",
    )
    published, other = parse_genotype(DARTS_V2), parse_genotype(swapped)
    assert published != other
    assert sample(published) == sample(other)
    assert Darts().describe(published) == Darts().describe(other)
    wrong = parse_genotype(swapped.replace("('dil_conv_3x3', 4)", "('dil_conv_3x3', 2)"))
    assert sample(published).digest != sample(wrong).digest


@pytest.mark.parametrize("kind", KINDS)
def test_swapping_two_nodes_that_do_not_read_each_other_changes_nothing(kind: str) -> None:
    parameters = drawn(0)
    parameters |= {f"{kind}_node{node}_inputs": pair for node, pair in ((2, "0,2"), (3, "1,2"), (NODES, "2,3"))}
    swapped = dict(parameters)
    for what in ("inputs", "first", "second"):
        two, three = f"{kind}_node2_{what}", f"{kind}_node3_{what}"
        swapped |= {two: parameters[three], three: parameters[two]}
    swapped[f"{kind}_node{NODES}_inputs"] = "2,4"
    assert swapped != parameters
    assert sample(swapped) == sample(parameters)


@pytest.mark.parametrize(
    ("size", "resolutions"), [(1, (1, 1, 1)), (8, (8, 4, 2)), (28, (28, 14, 7)), (32, (32, 16, 8)), (224, (28, 14, 7))]
)
def test_stages_halve_the_resolution_and_double_the_width(size: int, resolutions: tuple[int, ...]) -> None:
    architecture = sample(drawn(0), 6, 4, (3, size, size))
    for node, shape in zip(architecture.nodes, architecture.shapes(), strict=True):
        if node.name.endswith(tuple(f"_node{number}" for number in range(1, NODES + 1))):
            assert shape == (4 * 2**node.stage, resolutions[node.stage], resolutions[node.stage])
    assert architecture.shapes()[-2] == (4 * 4 * NODES, resolutions[2], resolutions[2])


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 100), (2, 17), (12,)])
def test_signals_vectors_and_single_pixels_have_networks(shape: Shape) -> None:
    network = build(sample(drawn(1), shape=shape)).eval()
    assert network(torch.zeros(2, *shape)).shape == (2, 10)


def test_the_smallest_family_has_the_fewest_parameters() -> None:
    (smallest,) = Darts().smallest_parameters()
    fewest = cost(sample(smallest)).params
    assert all(cost(sample(drawn(seed))).params > fewest for seed in range(20))


def test_fewer_than_four_cells_are_rejected() -> None:
    with pytest.raises(SpaceError, match="4 <= cells <= 100"):
        Darts(cells=3)
