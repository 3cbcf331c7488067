from math import prod

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.errors import SpaceError
from search_spaces.layers import AveragePool, Convolution, Layer, MaxPool
from search_spaces.operations import OPERATIONS, layers, profile

SAME_CHANNELS = {"identity", "maxpool3x3", "pool"}


def as_module(layer: Layer, shape: tuple[int, ...] | None = None) -> nn.Module:
    call = layer.call(shape)
    module = getattr(nn, call.name)(*call.arguments, **dict(call.keywords))
    assert isinstance(module, nn.Module)
    return module.eval()


@pytest.mark.parametrize("operation", sorted(set(OPERATIONS)))
@pytest.mark.parametrize("shape", [(6, 8, 8), (6, 7, 9), (6, 1, 1)])
def test_a_profile_is_what_torch_makes_of_the_operation(operation: str, shape: tuple[int, int, int]) -> None:
    channels = 6 if operation in SAME_CHANNELS else 10
    stride = 1 if operation in {"identity", "classifier"} else 2
    found = profile(operation, shape, channels, stride)
    x = torch.zeros(1, *shape)
    parameters = buffers = 0
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for layer in layers(operation, 6, channels, stride):
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
        once = AveragePool(4).output((1, size))
        assert AveragePool(2).output(AveragePool(2).output((1, size))) == once
        assert Convolution(1, 1, 3, 2, 1).output((1, size)) == AveragePool(2).output((1, size))


def test_a_dilated_grouped_convolution_is_counted_as_torch_does() -> None:
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
        layers("conv3x3bn", 1, 1)


def test_an_operation_that_cannot_change_width_or_resolution_says_so() -> None:
    with pytest.raises(SpaceError, match="keeps the channels"):
        layers("pool", 3, 4)
    with pytest.raises(SpaceError, match="has no stride"):
        layers("identity", 3, 3, 2)
    with pytest.raises(SpaceError, match="has no stride"):
        layers("classifier", 3, 10, 2)
