from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from search_spaces.errors import SpaceError
from search_spaces.networks.traced import trace


@fx.wrap
def stochastic_depth(x: Tensor, training: bool) -> Tensor:
    """As torchvision calls it."""
    return x * torch.rand(len(x), 1, 1, 1).round() if training else x


class Calls(nn.Module):
    """A function of maps, with a mean and a linear layer behind it."""

    def __init__(self, call: Callable[[Tensor], Tensor], channels: int) -> None:
        super().__init__()
        self.call, self.last = call, nn.Linear(channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.call(x).mean((2, 3)))


def operations(
    call: Callable[[Tensor], Tensor], channels: int = 4, size: tuple[int, int] = (12, 12)
) -> list[tuple[str, int]]:
    network = Calls(call, channels).eval()
    example = torch.randn(2, 4, *size, generator=torch.Generator().manual_seed(0))
    return [(node.operation, node.stride) for node in trace(network, example).architecture.nodes[1:-2]]


@pytest.mark.parametrize(
    ("call", "operation", "stride"),
    [
        (nn.Conv2d(4, 4, 3, padding=1), "conv3x3_bias", 1),
        (nn.Conv2d(4, 4, (3, 5), 2, padding=(1, 0), bias=False), "conv3x5_padding1x0", 2),
        (nn.Conv2d(4, 4, 3, padding="same", dilation=2, bias=False), "conv3x3_dilation2", 1),
        (nn.Conv2d(4, 4, 4, padding="valid", bias=False), "conv4x4_padding0x0", 1),
        (nn.Conv2d(4, 4, 5, padding=2, groups=4), "depthwise5x5_bias", 1),
        (nn.MaxPool2d(2), "maxpool2x2", 2),
        (nn.MaxPool2d(3, 2), "maxpool3x3_padding0", 2),
        (lambda x: F.max_pool2d(x, 3, stride=1, padding=1), "maxpool3x3", 1),
        (nn.AvgPool2d(3), "pool", 3),
        (nn.AvgPool2d(5), "average5x5_padding0", 5),
        (nn.AvgPool2d(3, 2, 1), "average3x3_counted", 2),
        (nn.AvgPool2d(3, 2, 1, count_include_pad=False), "average3x3", 2),
        (lambda x: F.avg_pool2d(x, x.shape[-1]), "global_pool", 1),
        (lambda x: F.avg_pool2d(x, kernel_size=(x.size(2), x.size(3))), "global_pool", 1),
        (lambda x: F.adaptive_avg_pool2d(x, (5, 5)), "pool", 3),
        (nn.AdaptiveMaxPool2d(3), "maxpool4x4", 4),
        (lambda x: F.dropout(x, 0.3, training=False), "dropout30", 1),
        (lambda x: x.relu(), "relu", 1),
        (nn.GELU(), "gelu", 1),
        (nn.SiLU(inplace=True), "silu", 1),
        (lambda x: F.silu(x), "silu", 1),
        (nn.Hardswish(), "hardswish", 1),
        (lambda x: F.hardswish(x), "hardswish", 1),
        (nn.Hardsigmoid(), "hardsigmoid", 1),
        (lambda x: F.hardsigmoid(x), "hardsigmoid", 1),
        (nn.Sigmoid(), "sigmoid", 1),
        (lambda x: x.sigmoid(), "sigmoid", 1),
        (torch.sigmoid, "sigmoid", 1),
        (nn.LeakyReLU(), "leaky1", 1),
        (nn.LeakyReLU(0.1), "leaky10", 1),
        (lambda x: F.leaky_relu(x, 0.2), "leaky20", 1),
        (nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False), "pool", 2),
        (nn.MaxPool2d(4, 4, ceil_mode=True), "maxpool4x4", 4),
    ],
)
def test_a_call_is_the_operation_that_computes_the_same(
    call: Callable[[Tensor], Tensor], operation: str, stride: int
) -> None:
    size = (13, 13) if operation == "pool" and not isinstance(call, nn.Module) else (12, 12)
    assert operations(call, size=size) == [(operation, stride)]


@pytest.mark.parametrize(
    "call",
    [
        *(nn.Identity(), nn.Dropout(0.0), nn.AdaptiveAvgPool2d((12, None))),
        *(lambda x: x.contiguous(), lambda x: stochastic_depth(x, False)),
    ],
)
def test_calls_that_return_their_input_leave_no_node(call: Callable[[Tensor], Tensor]) -> None:
    assert operations(call) == []


@pytest.mark.parametrize("gate_first", [False, True])
def test_a_map_times_one_number_for_each_channel_is_a_product(gate_first: bool) -> None:
    def gated(x: Tensor) -> Tensor:
        gate = torch.sigmoid(x.mean((2, 3), keepdim=True))
        return gate * x if gate_first else x.mul(gate)

    network = Calls(gated, 4).eval()
    nodes = trace(network, torch.randn(2, 4, 6, 6)).architecture.nodes
    assert [(node.operation, node.merge, node.inputs) for node in nodes[1:4]] == [
        ("global_pool", "none", (0,)),
        ("sigmoid", "none", (1,)),
        ("identity", "product", (0, 2)),
    ]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (nn.Conv2d(4, 4, 3, groups=2), r"module 'call' \(Conv2d\) has 2 groups and 4 input channels"),
        (nn.Conv2d(4, 8, 3, groups=4), "has 4 groups and 4 input channels"),
        (nn.Conv2d(4, 4, 3, padding_mode="reflect", padding=1), "has padding_mode = 'reflect'"),
        (nn.Conv2d(4, 4, 3, stride=(1, 2)), r"has stride = \(1, 2\), but a copy needs one number"),
        (nn.Conv2d(4, 4, 4, padding="same"), "pads one side more than the other"),
        (nn.BatchNorm2d(4, track_running_stats=False), "has no running statistics"),
        (nn.MaxPool2d(3, 2, ceil_mode=True), "rounds its size up"),
        (nn.AvgPool2d(5, ceil_mode=True), "rounds its size up"),
        (nn.LeakyReLU(0.3), r"module 'call' \(LeakyReLU\) has a slope of 0.3, but there are 0.01, 0.1 and 0.2"),
        (lambda x: x * x.sigmoid(), "`mul` in the network's own code must multiply a map by one number for each"),
        (lambda x: x * x.mean(1, keepdim=True), "averages over the axes 1"),
        (lambda x: x.relu_().clamp_(-1, 9), "`clamp_` in the network's own code has no counterpart"),
        (nn.MaxPool2d(2, dilation=2), "is dilated"),
        (nn.AvgPool2d(2, divisor_override=3), "has a divisor of its own"),
        (nn.AdaptiveAvgPool2d(24), r"pools \(12, 12\) to \(24, 24\), which no stride does"),
        (nn.AdaptiveMaxPool2d(5), "which no square window does"),
        (nn.GELU("tanh"), "is an approximation"),
        (nn.Dropout(1.0), "drops everything"),
        (lambda x: x + 1, "`add` in the network's own code must add two different tensors"),
        (lambda x: x + x, "must add two different tensors"),
        (lambda x: torch.add(x, x.relu(), alpha=2), "must add two different tensors"),
        (lambda x: torch.cat([x, x.relu()], 2), "joins along axis 2, but only channels"),
        (lambda x: torch.cat([x, x], 1)[:, :4], "joins a tensor with itself"),
        (lambda x: x.mean(2, keepdim=True), "averages over the axes 2"),
        (lambda x: x.reshape(2, 4, 6, 24), r"reshapes \(4, 12, 12\) to \(4, 6, 24\)"),
        (lambda x: x.chunk(2, 1)[0], "`chunk` in the network's own code has no counterpart"),
        (lambda x: x * 2, "`mul` in the network's own code must multiply a map by one number for each"),
    ],
)
def test_a_call_without_counterpart_is_named(call: Callable[[Tensor], Tensor], message: str) -> None:
    channels = {"has 4 groups and 4 input channels": 8}.get(message, 2 if "chunk" in message else 4)
    with pytest.raises(SpaceError, match=message):
        operations(call, channels)


def test_a_linear_layer_reads_vectors_only() -> None:
    with pytest.raises(SpaceError, match=r"module '0' \(Linear\) reads maps of \(4, 5\)"):
        trace(nn.Sequential(nn.Linear(5, 3), nn.Flatten()), torch.randn(2, 4, 5))
