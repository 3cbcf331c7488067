import pytest
import torch
from torch import nn

from autokd.teachers.kept_channels import FRESH, joined, kept_channels, most_important
from search_spaces.architecture.format import Architecture, Node
from search_spaces.networks.network import Network, build

INPUTS = torch.randn(64, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def narrowed(graph: Architecture, *channels: int) -> Architecture:
    """The same graph with these numbers of channels behind the input."""
    values = graph.to_dict()
    for node, width in zip(values["nodes"][1:], channels, strict=True):
        node["channels"] = width
    values["classes"] = channels[-1]
    return Architecture.from_dict(values)


def teacher(*nodes: Node) -> Network:
    return build(Architecture((1, 6, 6), nodes[-1].channels, (Node("input", (), 1), *nodes))).eval()


@pytest.fixture
def chain() -> Network:
    """Two convolutions and a classifier."""
    return teacher(
        Node("conv3x3_bias_relu", (0,), 4), Node("conv3x3_bias_relu", (1,), 3), Node("pool_classifier", (2,), 2)
    )


def kept(network: Network, *channels: int, classes: tuple[int, ...] | None = None) -> list[list[int]]:
    copy = narrowed(network.architecture, *channels)
    return [each.tolist() for each in kept_channels(copy, network, [INPUTS], classes)]


def weight(network: Network, node: int) -> torch.Tensor:
    module = network.get_submodule(network.architecture.names[node])
    first = module[0] if isinstance(module, nn.Sequential) else module
    return first.get_parameter("weight").data


def test_channels_that_nobody_reads_go_first(chain: Network) -> None:
    weight(chain, 2)[:, [0, 3]] = 0
    assert kept(chain, 2, 3, 2) == [[0], [1, 2], [0, 1, 2], [0, 1]]


def test_channels_that_say_nothing_go_first(chain: Network) -> None:
    weight(chain, 1)[[1, 2]] = 0
    chain.get_submodule(chain.architecture.names[1])[0].bias.data.zero_()
    assert kept(chain, 2, 3, 2)[1] == [0, 3]


def test_channels_that_meet_in_a_sum_are_kept_together() -> None:
    network = teacher(
        Node("conv3x3_bias_relu", (0,), 4),
        Node("conv3x3_bias", (1,), 4),
        Node("relu", (1, 2), 4, merge="sum"),
        Node("pool_classifier", (3,), 2),
    )
    found = kept(network, 2, 2, 2, 2)
    assert found[1] == found[2] == found[3]


def test_a_concatenation_has_the_channels_of_its_parts_and_a_vector_those_of_all_positions() -> None:
    network = teacher(
        Node("conv3x3_bias_relu", (0,), 3, stride=3),
        Node("conv3x3_bias_relu", (0,), 2, stride=3),
        Node("vector", (1, 2), 20, merge="concat"),
        Node("linear_bias", (3,), 2),
    )
    weight(network, 4)[:, 4:8] = 0  # the second channel of the first part
    weight(network, 4)[:, 12:16] = 0  # the first one of the second
    of_parts = [[0, 2], [1]]
    expected = [channel * 4 + position for channel in (0, 2, 4) for position in range(4)]
    assert kept(network, 2, 1, 12, 2)[1:4] == [*of_parts, expected]


def test_a_shuffle_alternates_the_channels_of_its_halves() -> None:
    network = teacher(
        Node("conv3x3_bias_relu", (0,), 3),
        Node("conv3x3_bias_relu", (0,), 3),
        Node("channel_shuffle", (1, 2), 6, merge="concat"),
        Node("conv1x1_bias", (3,), 2),
        Node("pool_classifier", (4,), 2),
    )
    weight(network, 4)[:, [0, 1]] = 0  # the first channel of either half
    assert kept(network, 2, 2, 4, 2, 2)[1:4] == [[1, 2], [1, 2], [2, 3, 4, 5]]
    assert kept(network, 4, 4, 8, 2, 2)[1:4] == [[0, 1, 2, FRESH]] * 2 + [[0, 1, 2, 3, 4, 5, FRESH, FRESH]]


def test_further_channels_are_fresh() -> None:
    assert most_important(torch.tensor([1.0, 3.0, 2.0]), 5).tolist() == [0, 1, 2, FRESH, FRESH]
    parts = [torch.tensor([1, FRESH]), torch.tensor([0, 2])]
    assert joined(parts, [2, 3]).tolist() == [1, FRESH, 2, 4]


def test_the_classes_are_those_that_were_chosen(chain: Network) -> None:
    network = teacher(Node("conv3x3_bias_relu", (0,), 4), Node("pool_classifier", (1,), 5))
    assert kept(network, 4, 2, classes=(3, 1))[-1] == [3, 1]
    assert kept(network, 4, 2)[-1] == [FRESH, FRESH]  # nobody says which
