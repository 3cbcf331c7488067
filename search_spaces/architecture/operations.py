"""The one table of operations: an operation is a named sequence of primitive layers.

A new operation is one line in `OPERATIONS`, made of the small builders above it, at most one more such function. Where
its channel arguments to layers are multiples of its inputs or outputs the generated source can name them.
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
"""Operation of node 0, which only hands the network's input on."""

MERGES = {
    "none": "one input",
    "sum": "sum of the inputs",
    "mean": "mean of the inputs",
    "weighted_sum": "sum of the inputs, each times the sigmoid of its own trained weight",
    "concat": "the inputs' channels one after another, in the order of the inputs",
    "product": "the first input times the second, which has one number for each channel",
}
"""How a node makes one tensor of its inputs, before its operation."""

ORDERED = frozenset({"concat", "product"})
"""Merges for which the order of the inputs counts."""

FOLDED = "_folded"
"""Ending of an operation's name whose batch norms are folded into the convolutions before them; see `folding.py`."""

DROPOUT = 0.2
"""Before the last linear layer: the value of NAGO (Ru et al. 2020)."""


@dataclass(frozen=True)
class Width:
    """What an operation is made for: channels in and out, stride, and the rank of its input (see `layers.py`)."""

    inputs: int
    outputs: int
    stride: int = 1
    rank: int = 2


Operation = Callable[[Width], tuple[Layer, ...]]


def layers(operation: str, width: Width) -> tuple[Layer, ...]:
    """The layers of an operation, in the order in which they run.

    Raises:
        SpaceError: If the operation is unknown or cannot change the number of channels or the stride as asked, or is
            not for inputs of this rank.
    """
    build = OPERATIONS[known_operation(operation)]
    try:
        return build(width)
    except SpaceError as error:
        raise SpaceError(f"`{operation}` {error}") from None


def merged_shape(merge: str, shapes: Sequence[Shape]) -> Shape:
    """The shape that a node's merge gives, for one sample.

    Raises:
        SpaceError: If these shapes cannot be merged so.
    """
    first = shapes[0]
    if len(shapes) == 1 or (merge not in ("concat", "product") and shapes.count(first) == len(shapes)):
        return first
    others = shapes[1:]
    if merge == "concat" and all(shape[1:] == first[1:] for shape in others):
        return (sum(shape[0] for shape in shapes), *first[1:])
    if merge == "product" and others == [(first[0], *(1 for _ in first[1:]))]:
        return first
    raise SpaceError(f"A {merge} cannot merge {list(shapes)}. Put a pool_conv1x1_bn before the inputs that differ.")


def keeps_channels(operation: str) -> bool:
    """Whether an operation can only put out as many channels as come in."""
    try:
        layers(operation, Width(1, 2))
    except SpaceError:
        return True
    return False


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

    A layer that is not elementwise holds its input and what it works on, which is at least its output; an elementwise
    one writes over its input, or makes a copy first where the input must be kept.
    """
    parameters = buffers = macs = 0
    running, running_kept = prod(shape), 0
    steps = layers(operation, Width(shape[0], channels, stride, len(shape) - 1))
    owned = 0  # what running_kept must count of the current tensor: nothing while that is the kept input itself
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
        raise SpaceError(f"`{operation}` gives {shape[0]} channels here, but the node says {channels}.")
    return Profile(shape, parameters, buffers, macs, running, running_kept)


@dataclass(frozen=True)
class _Stack:
    """Layers on top of each other, the channels that come out of them, and the stride that is still to be taken."""

    width: Width
    channels: int
    stride: int
    made: tuple[Layer, ...] = ()

    def add(self, layer: Layer, channels: int | None = None, strided: bool = False) -> _Stack:
        """With one more layer; `strided` says that it took the stride."""
        channels = self.channels if channels is None else channels
        return _Stack(self.width, channels, 1 if strided else self.stride, (*self.made, layer))


_Extend = Callable[[_Stack], _Stack]


def _operation(*parts: _Extend) -> Operation:
    """One part after another; the first that can take the stride takes it, and so does the change of channels."""

    def build(width: Width) -> tuple[Layer, ...]:
        stack = _Stack(width, width.inputs, width.stride if width.rank else 1)
        for part in parts:
            stack = part(stack)
        if stack.channels != width.outputs:
            raise SpaceError(f"keeps the channels, but got {width}. Put conv1x1_bn before it.")
        if stack.stride != 1:
            raise SpaceError(f"has no stride, but got {width}. Put a pool before it.")
        return stack.made

    return build


def _alone(layer: Layer) -> _Extend:
    """A layer that is the same for every width."""
    return lambda stack: stack.add(layer)


_relu = _alone(ReLU())


def _bn(stack: _Stack) -> _Stack:
    return stack.add(BatchNorm(stack.channels, stack.width.rank))


def _conv(*kernel: int, times: float | None = None, dilation: int = 1, bias: bool = False) -> _Extend:
    """A convolution to the outputs, or to `times` the inputs.

    On a signal a kernel of two numbers is the larger one; on a vector, which has no axes, it is a full matrix.
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
    """One filter for each channel; nothing on a vector."""

    def layer(stack: _Stack) -> Layer:
        n, padding = stack.channels, dilation * (kernel // 2)
        return Convolution(n, n, kernel, stack.stride, padding, dilation, groups=n, rank=stack.width.rank)

    return _along_axes(layer)


def _along_axes(make: Callable[[_Stack], Layer]) -> _Extend:
    """A layer that keeps the channels and takes the stride; nothing on a vector."""
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
    """The first channels, or the last; nothing where that is all of them."""

    def part(stack: _Stack) -> _Stack:
        before, after = stack.channels, stack.width.outputs
        if after > before:
            raise SpaceError(f"has at most the input's channels, but got {stack.width}.")
        if after == before:
            return stack
        return stack.add(ChannelSlice(before - after if end else 0, after), after)

    return part


def _attention(stack: _Stack) -> _Stack:
    """Between all positions, with up to four heads; on a vector, the only position, the values themselves."""
    channels = stack.channels // 3
    layer = Attention(gcd(channels, 4)) if stack.width.rank else ChannelSlice(2 * channels, channels)
    return stack.add(layer, channels)


def _flatten(start: int) -> _Extend:
    """All axes from `start` on as one; the number of channels is then the node's to say."""
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
"""Names read in the order of the layers; `conv` has no bias, `sepconv` is depthwise then pointwise with one BN.

Kernels are named by their size on images; on signals `conv3x3` has a kernel of 3, and on vectors it is a full matrix.
There a stride, a pool and a depthwise convolution do nothing.
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
