from contextlib import suppress
from math import prod

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.architecture.layers import AveragePool, Convolution, Layer, MaxPool
from search_spaces.architecture.operations import OPERATIONS, Width, layers, merged_shape, profile
from search_spaces.errors import SpaceError
from search_spaces.networks import modules

FLATTENING = {"series", "vector"}


def as_module(layer: Layer, shape: tuple[int, ...] | None = None) -> nn.Module:
    call = layer.call(shape)
    module = getattr(modules if call.own else nn, call.name)(*call.arguments, **dict(call.keywords))
    assert isinstance(module, nn.Module)
    return module.eval()


def possible(operation: str, rank: int) -> list[Width]:
    """Those of some widths for which the operation can be built."""
    found = []
    for outputs, stride in [(12, 1), (12, 2), (18, 1), (18, 2), (4, 1), (4, 2)]:
        with suppress(SpaceError):
            layers(operation, width := Width(12, outputs, stride, rank))
            found.append(width)
    return found


@pytest.mark.parametrize("operation", sorted(set(OPERATIONS) - FLATTENING))
@pytest.mark.parametrize("shape", [(12, 8, 8), (12, 7, 9), (12, 2, 2), (12, 16), (12, 7), (12,)])
def test_a_profile_equals_what_torch_measures(operation: str, shape: tuple[int, ...]) -> None:
    widths = possible(operation, len(shape) - 1)
    assert widths or (len(shape) < 3 and ("1x3" in operation or "3x1" in operation or "attention" in operation))
    for width in widths:
        check_profile(operation, shape, width)


PATTERNS = [
    "conv5x5_bias_relu", "conv3x5_padding1x0_bn", "conv3x3_dilation2_bias_bn_relu6", "conv4x4_padding0x0",
    "maxpool4x4", "maxpool3x3_padding0", "average5x5", "average2x2_padding0", "average3x3_counted", "dropout35",
]  # fmt: skip


@pytest.mark.parametrize("shape", [(12, 8, 9), (12, 9)])
@pytest.mark.parametrize("operation", PATTERNS)
def test_the_profile_of_a_pattern_equals_what_torch_measures(operation: str, shape: tuple[int, ...]) -> None:
    for stride in (1,) if "dropout" in operation else (1, 2):
        channels = 7 if operation.startswith("conv") else 12
        check_profile(operation, shape, Width(12, channels, stride, len(shape) - 1))


def test_depthwise_and_linear_patterns_cost_what_torch_measures() -> None:
    check_profile("depthwise3x3_padding0x1_bias_bn_gelu", (6, 8, 8), Width(6, 6, 2))
    check_profile("depthwise7x7_dilation2", (6, 20), Width(6, 6, rank=1))
    check_profile("linear_bias_bn_relu", (6,), Width(6, 9, rank=0))
    with pytest.raises(SpaceError, match=r"`linear_bias` accepts vectors only"):
        layers("linear_bias", Width(6, 9))


def test_flattening_gives_a_signal_or_a_vector() -> None:
    check_profile("series", (3, 4, 5), Width(3, 3))
    check_profile("vector", (3, 4, 5), Width(3, 60))
    check_profile("vector", (3, 4), Width(3, 12, rank=1))


def test_a_width_that_the_operation_does_not_give_is_rejected() -> None:
    with pytest.raises(SpaceError, match=r"`vector` gives 60 channels here, but the node has 59"):
        profile("vector", (3, 4, 5), 59)


def check_profile(operation: str, shape: tuple[int, ...], width: Width) -> None:
    found = profile(operation, shape, width.outputs, width.stride)
    x = torch.zeros(1, *shape)
    parameters = buffers = 0
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for layer in layers(operation, width):
            module = as_module(layer, tuple(x.shape[1:]))
            x = module(x)
            parameters += sum(value.numel() for value in module.parameters())
            buffers += sum(value.numel() for value in module.buffers() if value.is_floating_point())
    assert found.output == tuple(x.shape[1:])
    assert (found.parameters, found.buffers, 2 * found.macs) == (parameters, buffers, counter.get_total_flops())


@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("size", [1, 4, 7, 8, 14, 28])
def test_pooling_is_adaptive_pooling_to_the_size_rounded_up(size: int, stride: int) -> None:
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    pooled = as_module(AveragePool(stride), (3, size, size))(x)
    assert pooled.shape[2] == -(-size // stride)
    torch.testing.assert_close(pooled, nn.functional.adaptive_avg_pool2d(x, pooled.shape[2:]))


def test_repeated_halving_and_one_pooling_by_four_agree_in_size() -> None:
    for size in range(1, 300):
        once = AveragePool(4, 1).output((1, size))
        assert AveragePool(2, 1).output(AveragePool(2, 1).output((1, size))) == once
        assert Convolution(1, 1, 3, 2, 1, rank=1).output((1, size)) == AveragePool(2, 1).output((1, size))


def test_a_dilated_grouped_convolution_costs_what_torch_counts() -> None:
    layer = Convolution(8, 16, 3, stride=2, padding=2, dilation=2, groups=4, bias=True)
    x = torch.zeros(1, 8, 11, 11)
    with FlopCounterMode(display=False) as counter:
        y = as_module(layer)(x)
    assert layer.output((8, 11, 11)) == tuple(y.shape[1:])
    assert 2 * layer.macs((8, 11, 11)) == counter.get_total_flops()
    assert layer.parameters == sum(value.numel() for value in as_module(layer).parameters())


def test_max_pooling_states_its_stride() -> None:
    layer = MaxPool(3, 1, 1)
    assert as_module(layer)(torch.zeros(1, 2, 5, 5)).shape[1:] == layer.output((2, 5, 5))


def test_running_memory_of_a_separable_convolution() -> None:
    step = profile("relu_sepconv3x3_bn", (4, 8, 8), 16, 2)
    entering, depthwise, leaving = prod((4, 8, 8)), prod((4, 4, 4)), prod((16, 4, 4))
    assert step.running == max(entering + depthwise, depthwise + leaving)
    assert step.running_kept == max(entering + depthwise, depthwise + leaving)  # ReLU makes a copy of the kept input
    plain = profile("sepconv3x3_bn", (4, 8, 8), 16, 2)
    assert plain.running_kept == depthwise + leaving


def test_an_unknown_operation_lists_the_known_ones() -> None:
    with pytest.raises(SpaceError, match=r"Did you mean 'conv3x3_bn'.*relu_sepconv3x3_bn"):
        layers("conv3x3bn", Width(1, 1))


def test_an_operation_that_cannot_change_width_or_resolution_raises() -> None:
    with pytest.raises(SpaceError, match="keeps the number of channels"):
        layers("pool", Width(3, 4))
    with pytest.raises(SpaceError, match="does not support a stride"):
        layers("identity", Width(3, 3, 2))
    with pytest.raises(SpaceError, match="does not support a stride"):
        layers("classifier", Width(3, 10, 2))


def test_channels_that_do_not_divide_into_equal_groups_are_not_shuffled() -> None:
    with pytest.raises(SpaceError, match="`channel_shuffle` splits the channels into 2 equal groups"):
        layers("channel_shuffle", Width(3, 3))


def test_a_concat_adds_up_channels_and_a_product_takes_one_number_per_channel() -> None:
    assert merged_shape("concat", [(3, 8, 8), (5, 8, 8)]) == (8, 8, 8)
    assert merged_shape("product", [(3, 8, 8), (3, 1, 1)]) == (3, 8, 8)
    assert merged_shape("sum", [(3, 8), (3, 8)]) == (3, 8)
    for merge, other in [("concat", (5, 4, 4)), ("product", (3, 8, 8)), ("product", (4, 1, 1)), ("mean", (4, 8, 8))]:
        with pytest.raises(SpaceError, match=f"Merge '{merge}' does not accept"):
            merged_shape(merge, [(3, 8, 8), other])


@pytest.mark.parametrize("sizes", [(5, 4), (20,)])
def test_self_attention_equals_that_of_torch(sizes: tuple[int, ...]) -> None:
    x = torch.randn(2, 24, *sizes, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    query, key, value = (part.flatten(2).unflatten(1, (2, 4)).transpose(-2, -1) for part in x.chunk(3, 1))
    theirs = nn.functional.scaled_dot_product_attention(query, key, value).transpose(-2, -1).reshape(2, 8, *sizes)
    torch.testing.assert_close(modules.SelfAttention(2)(x), theirs, rtol=1e-12, atol=1e-12)
