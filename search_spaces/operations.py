"""The one table of operations: an operation is a named sequence of primitive layers.

A new operation is one function and one line in `OPERATIONS`. Its channel arguments to layers must be multiples of its
inputs or outputs, so that the generated source can name them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from search_spaces.errors import SpaceError, unknown
from search_spaces.layers import (
    AveragePool,
    BatchNorm,
    Convolution,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    Linear,
    MaxPool,
    ReLU,
    Shape,
)

__all__ = ["INPUT", "MERGES", "OPERATIONS", "Profile", "known_operation", "layers", "profile"]

INPUT = "input"
"""Operation of node 0, which only hands the network's input on."""

MERGES = {
    "none": "one input",
    "sum": "sum of the inputs",
    "mean": "mean of the inputs",
    "weighted_sum": "sum of the inputs, each times the sigmoid of its own trained weight",
}
"""How a node makes one tensor of its inputs, before its operation."""

DROPOUT = 0.2
"""Before the last linear layer: the value of NAGO (Ru et al. 2020)."""

Operation = Callable[[int, int, int], tuple[Layer, ...]]


def layers(operation: str, inputs: int, outputs: int, stride: int = 1) -> tuple[Layer, ...]:
    """The layers of an operation from `inputs` to `outputs` channels, in the order in which they run.

    Raises:
        SpaceError: If the operation is unknown or cannot change the number of channels or the stride as asked.
    """
    known_operation(operation)
    return OPERATIONS[operation](inputs, outputs, stride)


def known_operation(operation: str) -> str:
    """The name itself if the table has it.

    Raises:
        SpaceError: Otherwise, with the nearest known name.
    """
    if operation not in OPERATIONS:
        raise unknown("operation", operation, OPERATIONS)
    return operation


@dataclass(frozen=True)
class Profile:
    """What an operation costs on one input shape, for one sample; the last two in numbers, not bytes.

    `running` is the most that its input, inner tensors and output hold together while it runs, if it may overwrite and
    free its input. `running_kept` is the same without the input, if that must stay as it is for later nodes.
    """

    output: Shape
    parameters: int
    buffers: int
    macs: int
    running: int
    running_kept: int


@lru_cache(maxsize=1 << 16)
def profile(operation: str, shape: Shape, channels: int, stride: int = 1) -> Profile:
    """The cost of an operation on an input of `shape` with `channels` coming out.

    A layer that is not elementwise holds its input and its output; an elementwise one writes over its input, or makes
    a copy first where the input must be kept.
    """
    parameters = buffers = macs = 0
    running, running_kept = prod(shape), 0
    steps = layers(operation, shape[0], channels, stride)
    owned = 0  # what running_kept must count of the current tensor: nothing while that is the kept input itself
    if not steps or steps[0].elementwise:
        owned = running_kept = prod(shape)
    for layer in steps:
        parameters += layer.parameters
        buffers += layer.buffers
        macs += layer.macs(shape)
        result = layer.output(shape)
        if not layer.elementwise:
            running = max(running, prod(shape) + prod(result))
            running_kept = max(running_kept, owned + prod(result))
            owned = prod(result)
        shape = result
    return Profile(shape, parameters, buffers, macs, running, running_kept)


def _keeps_channels(operation: str, inputs: int, outputs: int) -> None:
    if inputs != outputs:
        raise SpaceError(f"`{operation}` keeps the channels, but got {inputs=}, {outputs=}. Put conv1x1_bn before it.")


def _has_no_stride(operation: str, stride: int) -> None:
    if stride != 1:
        raise SpaceError(f"`{operation}` has no stride, but got {stride=}. Put a pool before it.")


def _identity(inputs: int, outputs: int, stride: int) -> tuple[Layer, ...]:
    _keeps_channels("identity", inputs, outputs)
    _has_no_stride("identity", stride)
    return ()


def _pool(inputs: int, outputs: int, stride: int) -> tuple[Layer, ...]:
    _keeps_channels("pool", inputs, outputs)
    return (AveragePool(stride),)


def _maxpool3x3(inputs: int, outputs: int, stride: int) -> tuple[Layer, ...]:
    _keeps_channels("maxpool3x3", inputs, outputs)
    return (MaxPool(3, stride, 1),)


def _conv_bn(kernel: int) -> Operation:
    def build(inputs: int, outputs: int, stride: int) -> tuple[Layer, ...]:
        return Convolution(inputs, outputs, kernel, stride, kernel // 2), BatchNorm(outputs)

    return build


def _sepconv_bn(kernel: int) -> Operation:
    def build(inputs: int, outputs: int, stride: int) -> tuple[Layer, ...]:
        depthwise = Convolution(inputs, inputs, kernel, stride, kernel // 2, groups=inputs)
        return depthwise, Convolution(inputs, outputs, 1), BatchNorm(outputs)

    return build


def _after(first: Callable[[int], Layer], build: Operation) -> Operation:
    """`build` behind one more layer, which is made from the stride; the rest then keeps the resolution."""

    def both(inputs: int, outputs: int, stride: int) -> tuple[Layer, ...]:
        return first(stride), *build(inputs, outputs, 1)

    return both


def _relu(build: Operation) -> Operation:
    def both(inputs: int, outputs: int, stride: int) -> tuple[Layer, ...]:
        return ReLU(), *build(inputs, outputs, stride)

    return both


def _classifier(inputs: int, outputs: int, stride: int) -> tuple[Layer, ...]:
    _has_no_stride("classifier", stride)
    return ReLU(), GlobalPool(), Flatten(), Dropout(DROPOUT), Linear(inputs, outputs)


OPERATIONS: dict[str, Operation] = {
    "classifier": _classifier,
    "conv1x1_bn": _conv_bn(1),
    "conv3x3_bn": _conv_bn(3),
    "identity": _identity,
    "maxpool3x3": _maxpool3x3,
    "pool": _pool,
    "pool_conv1x1_bn": _after(AveragePool, _conv_bn(1)),
    "relu_conv1x1_bn": _relu(_conv_bn(1)),
    "relu_conv3x3_bn": _relu(_conv_bn(3)),
    "relu_sepconv3x3_bn": _relu(_sepconv_bn(3)),
    "sepconv3x3_bn": _sepconv_bn(3),
}
"""Names read in the order of the layers; `conv` has no bias, `sepconv` is depthwise then pointwise with one BN."""
