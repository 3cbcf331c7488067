import pytest

from search_spaces.architecture.folding import fold
from search_spaces.architecture.format import Architecture, Node
from search_spaces.architecture.layers import Convolution, Linear
from search_spaces.architecture.operations import OPERATIONS, Width, folded, layers
from search_spaces.architecture.patterns import convolution_name, patterned, window_name
from search_spaces.errors import SpaceError


def test_names_say_what_differs_from_the_usual_only() -> None:
    assert convolution_name("conv", (3, 3), (1, 1), 1, bias=False) + "_bn" in OPERATIONS
    assert convolution_name("conv", (3, 5), (1, 0), 1, bias=True) == "conv3x5_padding1x0_bias"
    assert convolution_name("depthwise", (5, 5), (4, 4), 2, bias=False) == "depthwise5x5_dilation2"
    assert (window_name("maxpool", 2, 0), window_name("maxpool", 3, 0)) == ("maxpool2x2", "maxpool3x3_padding0")
    assert window_name("average", 2, 0, is_counted=True) == "average2x2_padding0"
    layer = layers("conv3x5_padding1x0_bias", Width(2, 3))
    assert layer == (Convolution(2, 3, (3, 5), 1, (1, 0), bias=True),)
    assert layers("linear", Width(2, 3, rank=0)) == (Linear(2, 3, bias=False),)


@pytest.mark.parametrize(
    "name",
    [
        "conv0x3", "conv3", "conv3x3_relu_bn", "maxpool3x2", "maxpool3x3_counted", "maxpool3x3_padding2",
        "average2x2_padding2", "average5x5_padding3_counted", "dropout100", "linear_relu_bn",
    ],
)  # fmt: skip
def test_other_names_are_no_operations(name: str) -> None:
    assert patterned(name) is None
    with pytest.raises(SpaceError, match=f"Unknown operation '{name}'"):
        layers(name, Width(4, 4))


def test_batch_norm_is_folded_into_a_convolution() -> None:
    assert folded("conv5x5_bn_relu6") == "conv5x5_bn_relu6_folded"
    assert folded("conv5x5_bias_bn") == "conv5x5_bias_bn_folded"
    nodes = Node("input", (), 3), Node("conv4x4_bn", (0,), 5), Node("pool_classifier", (1,), 2)
    assert [node.operation for node in fold(Architecture((3, 8, 8), 2, nodes)).nodes][1] == "conv4x4_bn_folded"


def test_a_map_that_vanishes_is_refused() -> None:
    nodes = Node("input", (), 3), Node("maxpool4x4", (0,), 3, 4), Node("pool_classifier", (1,), 2)
    with pytest.raises(SpaceError, match=r"gives a map of \(3, 0, 0\) here: its input is too small"):
        Architecture((3, 3, 3), 2, nodes)
