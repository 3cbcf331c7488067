"""The table of operations; an operation is a named sequence of primitive layers.

A new operation is one line in `OPERATIONS`, composed of the builders above it, and at most one new builder. If the
channels of its layers are multiples of its input or output channels, the generated source can refer to them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import gcd, prod
from typing import cast

from search_spaces.architecture.layers import (
    GELU,
    Attention,
    AveragePool,
    AverageWindow,
    BatchNorm,
    ChannelSlice,
    Convolution,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    Linear,
    MaxPool,
    ReLU,
    Shape,
    Shuffle,
    Sigmoid,
    Zeros,
)
from search_spaces.errors import SpaceError, unknown

__all__ = [
    "FOLDED",
    "INPUT",
    "MERGES",
    "OPERATIONS",
    "ORDERED",
    "Operation",
    "Profile",
    "Width",
    "is_folded_into",
    "keeps_channels",
    "known_operation",
    "layers",
    "merged_shape",
    "profile",
]

INPUT = "input"
"""Operation of node 0, whose output is the network's input."""

MERGES = {
    "none": "one input",
    "sum": "sum of the inputs",
    "mean": "mean of the inputs",
    "weighted_sum": "sum of the inputs, each times the sigmoid of its own trained weight",
    "concat": "the inputs' channels one after another, in the order of the inputs",
    "product": "the first input times the second, which has one number for each channel",
}
"""Ways in which a node merges its inputs into one tensor before it runs its operation."""

ORDERED = frozenset({"concat", "product"})
"""Merges for which the order of the inputs matters."""

FOLDED = "_folded"
"""Suffix of the name of an operation whose batch norms are folded into its convolutions; see `folding.py`."""

DROPOUT = 0.2
"""Probability of the dropout before the last linear layer, as in NAGO (Ru et al. 2020)."""


@dataclass(frozen=True)
class Width:
    """Sizes that an operation is built for: channels in and out, stride, and rank of its input (see `layers.py`)."""

    inputs: int
    outputs: int
    stride: int = 1
    rank: int = 2


Operation = Callable[[Width], tuple[Layer, ...]]


def layers(operation: str, width: Width) -> tuple[Layer, ...]:
    """The layers of an operation, in the order in which they run.

    Raises:
        SpaceError: If the operation is unknown, cannot change the number of channels or the resolution as `width`
            requires, or does not accept inputs of this rank.
    """
    build = OPERATIONS[known_operation(operation)]
    try:
        return build(width)
    except SpaceError as error:
        raise SpaceError(f"`{operation}` {error}") from None


def merged_shape(merge: str, shapes: Sequence[Shape]) -> Shape:
    """Shape of one sample after a merge of inputs of these shapes.

    Raises:
        SpaceError: If the merge does not accept these shapes.
    """
    first = shapes[0]
    if len(shapes) == 1 or (merge not in ("concat", "product") and shapes.count(first) == len(shapes)):
        return first
    others = shapes[1:]
    if merge == "concat" and all(shape[1:] == first[1:] for shape in others):
        return (sum(shape[0] for shape in shapes), *first[1:])
    if merge == "product" and others == [(first[0], *(1 for _ in first[1:]))]:
        return first
    raise SpaceError(
        f"Merge {merge!r} does not accept the shapes {list(shapes)}. Put a pool_conv1x1_bn before inputs that differ."
    )


def keeps_channels(operation: str) -> bool:
    """Whether an operation always has as many output channels as input channels."""
    try:
        layers(operation, Width(1, 2))
    except SpaceError:
        return True
    return False


def known_operation(operation: str) -> str:
    """The given name, after a check that it is in `OPERATIONS`.

    Raises:
        SpaceError: If it is not; the message suggests the nearest known name.
    """
    if operation not in OPERATIONS:
        raise unknown("operation", operation, OPERATIONS)
    return operation


@dataclass(frozen=True)
class Profile:
    """Cost of an operation for one sample of a given shape.

    Attributes:
        output: Shape of the output.
        parameters: Number of trainable parameters.
        buffers: Number of floating-point values that are saved but not trained.
        macs: Multiply-accumulates.
        running: Peak number of elements of input, intermediate tensors and output together while the operation runs,
            if it may overwrite and free its input.
        running_kept: Peak number of elements without the input, if later nodes need the input unchanged.
    """

    output: Shape
    parameters: int
    buffers: int
    macs: int
    running: int
    running_kept: int


@lru_cache(maxsize=1 << 16)
def profile(operation: str, shape: Shape, channels: int, stride: int = 1) -> Profile:
    """Cost of an operation for one sample.

    A layer that is not elementwise needs its input and its `working` memory, which includes its output. An elementwise
    layer writes over its input, or over a copy if the input must be kept.

    Args:
        operation: Name in `OPERATIONS`.
        shape: Shape of the input, without the batch.
        channels: Output channels.
        stride: Factor by which the resolution is divided.

    Raises:
        SpaceError: For the reasons of `layers`, or if the operation gives another number of channels.
    """
    parameters = buffers = macs = 0
    running, running_kept = prod(shape), 0
    steps = layers(operation, Width(shape[0], channels, stride, len(shape) - 1))
    owned = 0  # elements of the current tensor that running_kept counts: none while it is the kept input itself
    if not steps or steps[0].elementwise:
        owned = running_kept = prod(shape)
    for layer in steps:
        parameters += layer.parameters
        buffers += layer.buffers
        macs += layer.macs(shape)
        if not layer.elementwise:
            working = layer.working(shape)
            running = max(running, prod(shape) + working)
            running_kept = max(running_kept, owned + working)
            owned = prod(layer.output(shape))
        shape = layer.output(shape)
    if shape[0] != channels:
        raise SpaceError(f"`{operation}` gives {shape[0]} channels here, but the node has {channels}.")
    return Profile(shape, parameters, buffers, macs, running, running_kept)


@dataclass(frozen=True)
class _Stack:
    """The layers built so far, their output channels, and the stride that a later layer must still apply."""

    width: Width
    channels: int
    stride: int
    made: tuple[Layer, ...] = ()

    def add(self, layer: Layer, channels: int | None = None, strided: bool = False) -> _Stack:
        """The stack with one more layer; `strided` means that this layer applies the stride."""
        channels = self.channels if channels is None else channels
        return _Stack(self.width, channels, 1 if strided else self.stride, (*self.made, layer))


_Extend = Callable[[_Stack], _Stack]


def _operation(*parts: _Extend) -> Operation:
    """Operation of these parts in order; the first part that can applies the stride, or the change of channels."""

    def build(width: Width) -> tuple[Layer, ...]:
        stack = _Stack(width, width.inputs, width.stride if width.rank else 1)
        for part in parts:
            stack = part(stack)
        if stack.channels != width.outputs:
            raise SpaceError(f"keeps the number of channels, but got {width}. Put conv1x1_bn before it.")
        if stack.stride != 1:
            raise SpaceError(f"does not support a stride, but got {width}. Put a pool before it.")
        return stack.made

    return build


def _alone(layer: Layer) -> _Extend:
    """Extension by one layer that is the same for every width."""
    return lambda stack: stack.add(layer)


_relu = _alone(ReLU())


def _bn(stack: _Stack) -> _Stack:
    return stack.add(BatchNorm(stack.channels, stack.width.rank))


def _conv(*kernel: int, times: float | None = None, dilation: int = 1, bias: bool = False) -> _Extend:
    """Convolution to the output channels, or to `times` the input channels.

    On a signal, the larger of two kernel sizes is used; on a vector, which has no spatial axes, it is a linear layer.
    """
    size = kernel[0] if len(set(kernel)) == 1 else kernel
    padding = dilation * (size // 2) if isinstance(size, int) else tuple(each // 2 for each in size)

    def part(stack: _Stack) -> _Stack:
        width, before = stack.width, stack.channels
        after = width.outputs if times is None else max(1, int(times * width.inputs))
        if not width.rank:
            return stack.add(Linear(before, after, bias), after)
        long, pad = (size, padding) if width.rank == 2 else (max(kernel), dilation * (max(kernel) // 2))
        made = Convolution(before, after, long, stack.stride, pad, dilation, bias=bias, rank=width.rank)
        return stack.add(made, after, strided=True)

    return part


def _depthwise(kernel: int, dilation: int = 1) -> _Extend:
    """Depthwise convolution; no layer on a vector."""

    def layer(stack: _Stack) -> Layer:
        n, padding = stack.channels, dilation * (kernel // 2)
        return Convolution(n, n, kernel, stack.stride, padding, dilation, groups=n, rank=stack.width.rank)

    return _along_axes(layer)


def _along_axes(make: Callable[[_Stack], Layer]) -> _Extend:
    """Extension by one layer that keeps the channels and applies the stride; none on a vector."""
    return lambda stack: stack.add(make(stack), strided=True) if stack.width.rank else stack


_downsample = _along_axes(lambda stack: AveragePool(stack.stride, stack.width.rank))
_average = _along_axes(lambda stack: AverageWindow(3, stack.stride, stack.width.rank))
_maximum = _along_axes(lambda stack: MaxPool(3, stack.stride, 1, stack.width.rank))
_halve = _along_axes(lambda stack: MaxPool(2, stack.stride, 0, stack.width.rank))


def _global_pool(stack: _Stack) -> _Stack:
    return stack.add(GlobalPool(stack.width.rank)) if stack.width.rank else stack


def _flat(stack: _Stack) -> _Stack:
    return stack.add(Flatten()) if stack.width.rank else stack


def _linear(stack: _Stack) -> _Stack:
    return stack.add(Linear(stack.channels, stack.width.outputs), stack.width.outputs)


def _slice(end: bool) -> _Extend:
    """Slice of the first channels, or of the last; no layer if it would take all of them."""

    def part(stack: _Stack) -> _Stack:
        before, after = stack.channels, stack.width.outputs
        if after > before:
            raise SpaceError(f"gives at most as many channels as its input has, but got {stack.width}.")
        if after == before:
            return stack
        return stack.add(ChannelSlice(before - after if end else 0, after), after)

    return part


def _attention(stack: _Stack) -> _Stack:
    """Attention between all positions, with up to four heads; on a vector, a single position, it gives the values."""
    channels = stack.channels // 3
    layer = Attention(gcd(channels, 4)) if stack.width.rank else ChannelSlice(2 * channels, channels)
    return stack.add(layer, channels)


def _flatten(start: int) -> _Extend:
    """Flattening of all axes from `start` on; the node states the resulting number of channels."""
    return lambda stack: stack.add(Flatten(start), stack.width.outputs)


def _sepconv(kernel: int, dilation: int = 1) -> tuple[_Extend, ...]:
    return _depthwise(kernel, dilation), _conv(1), _bn


_gelu = _alone(GELU())
_mlp = (_conv(1, times=4, bias=True), _gelu, _conv(1, bias=True))

OPERATIONS: dict[str, Operation] = {
    "average3x3": _operation(_average),
    "bn": _operation(_bn),
    "bn_attention": _operation(_bn, _conv(1, times=3, bias=True), _attention, _conv(1, bias=True)),
    "bn_average3x3": _operation(_bn, _average),
    "bn_mlp": _operation(_bn, *_mlp),
    "bn_relu_classifier": _operation(_bn, _relu, _global_pool, _flat, _linear),
    "channel_shuffle": _operation(_alone(Shuffle(2))),
    "classifier": _operation(_relu, _global_pool, _flat, _alone(Dropout(DROPOUT)), _linear),
    "conv1x1_bn": _operation(_conv(1), _bn),
    "conv1x1_bn_relu": _operation(_conv(1), _bn, _relu),
    "conv3x3_bn": _operation(_conv(3), _bn),
    "conv3x3_bn_relu": _operation(_conv(3), _bn, _relu),
    "depthwise3x3_bn": _operation(_depthwise(3), _bn),
    "depthwise3x3_bn_relu": _operation(_depthwise(3), _bn, _relu),
    "depthwise5x5_bn_relu": _operation(_depthwise(5), _bn, _relu),
    "depthwise7x7_bn_mlp": _operation(_depthwise(7), _bn, *_mlp),
    "depthwise7x7_bn_relu": _operation(_depthwise(7), _bn, _relu),
    "first_channels": _operation(_slice(end=False)),
    "global_gate": _operation(
        _global_pool, _conv(1, times=0.25, bias=True), _relu, _conv(1, bias=True), _alone(Sigmoid())
    ),
    "identity": _operation(),
    "last_channels": _operation(_slice(end=True)),
    "maxpool2x2": _operation(_halve),
    "maxpool3x3": _operation(_maximum),
    "pool": _operation(_downsample),
    "pool_classifier": _operation(_global_pool, _flat, _linear),
    "pool_conv1x1": _operation(_downsample, _conv(1)),
    "pool_conv1x1_bn": _operation(_downsample, _conv(1), _bn),
    "relu": _operation(_relu),
    "relu_conv1x1_bn": _operation(_relu, _conv(1), _bn),
    "relu_conv1x3_bn": _operation(_relu, _conv(1, 3), _bn),
    "relu_conv3x1_bn": _operation(_relu, _conv(3, 1), _bn),
    "relu_conv3x3_bn": _operation(_relu, _conv(3), _bn),
    "relu_conv5x5_bn": _operation(_relu, _conv(5), _bn),
    "relu_dilated_sepconv3x3_bn": _operation(_relu, *_sepconv(3, dilation=2)),
    "relu_dilated_sepconv5x5_bn": _operation(_relu, *_sepconv(5, dilation=2)),
    "relu_pool_conv1x1_bn": _operation(_relu, _downsample, _conv(1), _bn),
    "relu_sepconv3x3_bn": _operation(_relu, *_sepconv(3)),
    "relu_sepconv3x3_bn_twice": _operation(_relu, *_sepconv(3), _relu, *_sepconv(3)),
    "relu_sepconv5x5_bn": _operation(_relu, *_sepconv(5)),
    "relu_sepconv5x5_bn_twice": _operation(_relu, *_sepconv(5), _relu, *_sepconv(5)),
    "sepconv3x3_bn": _operation(*_sepconv(3)),
    "series": _operation(_flatten(2)),
    "vector": _operation(_flatten(1)),
    "zero": _operation(_alone(Zeros())),
}
"""All operations by name; a name lists the layers in order.

`conv` has no bias; `sepconv` is a depthwise convolution, a pointwise convolution and one batch norm. Kernels are named
by their size on images: on signals `conv3x3` has a kernel of 3, and on vectors it is a linear layer. On vectors a
stride, a pool and a depthwise convolution have no effect.
"""


def is_folded_into(layer: Layer) -> bool:
    """Whether a batch norm after this layer can be folded into it."""
    return isinstance(layer, Convolution | Linear) and not layer.bias


def _folded(build: Operation) -> Operation:
    def without_norms(width: Width) -> tuple[Layer, ...]:
        made: list[Layer] = []
        for layer in build(width):
            if isinstance(layer, BatchNorm) and made and is_folded_into(made[-1]):
                made[-1] = replace(cast(Convolution | Linear, made[-1]), bias=True)
            else:
                made.append(layer)
        return tuple(made)

    return without_norms


_SAMPLE = Width(12, 12)
OPERATIONS |= {
    name + FOLDED: _folded(build) for name, build in OPERATIONS.items() if _folded(build)(_SAMPLE) != build(_SAMPLE)
}
