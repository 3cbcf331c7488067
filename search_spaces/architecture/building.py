"""Builders of operations: extensions of a stack of layers, and the operation that a sequence of them gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd

from search_spaces.architecture.layers import (
    Activation,
    Attention,
    AveragePool,
    AverageWindow,
    BatchNorm,
    ChannelSlice,
    Convolution,
    Flatten,
    GlobalPool,
    Layer,
    Linear,
    MaxPool,
    Shuffle,
)
from search_spaces.errors import SpaceError

__all__ = [
    "Extend",
    "Operation",
    "Width",
    "alone",
    "attention",
    "average",
    "bn",
    "conv",
    "depthwise",
    "downsample",
    "flat",
    "global_pool",
    "linear",
    "maximum",
    "on_vector",
    "relu",
    "sepconv",
    "sequence",
    "shuffled",
    "sliced",
    "vector",
]


@dataclass(frozen=True)
class Width:
    """Sizes that an operation is built for: channels in and out, stride, and rank of its input (see `layers.py`)."""

    inputs: int
    outputs: int
    stride: int = 1
    rank: int = 2


Operation = Callable[[Width], tuple[Layer, ...]]
"""The layers for given sizes."""


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


Extend = Callable[[_Stack], _Stack]


def sequence(*parts: Extend) -> Operation:
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


def alone(layer: Layer) -> Extend:
    """Extension by one layer that is the same for every width."""
    return lambda stack: stack.add(layer)


relu = alone(Activation("ReLU"))


def bn(stack: _Stack) -> _Stack:
    """Batch norm."""
    return stack.add(BatchNorm(stack.channels, stack.width.rank))


def conv(
    *kernel: int,
    times: float | None = None,
    padding: tuple[int, ...] | None = None,
    dilation: int = 1,
    bias: bool = False,
) -> Extend:
    """Convolution to the output channels, or to `times` the input channels.

    On a signal, the larger of two kernel sizes is used; on a vector, which has no spatial axes, it is a linear layer.

    Args:
        *kernel: One size, or one for each axis of an image.
        times: Multiple of the operation's input channels that the convolution gives.
        padding: As many numbers as sizes; by default such that a convolution of an odd size keeps the resolution.
        dilation: Distance between the values that a kernel reads.
        bias: Whether there is a bias.
    """
    pads = padding or tuple(dilation * (size // 2) for size in kernel)

    def part(stack: _Stack) -> _Stack:
        width, before = stack.width, stack.channels
        after = width.outputs if times is None else max(1, int(times * width.inputs))
        if not width.rank:
            return stack.add(Linear(before, after, bias), after)
        sizes, around = (_one_or_each(kernel), _one_or_each(pads)) if width.rank == 2 else (max(kernel), max(pads))
        made = Convolution(before, after, sizes, stack.stride, around, dilation, bias=bias, rank=width.rank)
        return stack.add(made, after, strided=True)

    return part


def depthwise(*kernel: int, padding: tuple[int, ...] | None = None, dilation: int = 1, bias: bool = False) -> Extend:
    """Depthwise convolution; no layer on a vector. See `conv`.

    Args:
        *kernel: See `conv`.
        padding: See `conv`.
        dilation: See `conv`.
        bias: See `conv`.
    """
    pads = padding or tuple(dilation * (size // 2) for size in kernel)

    def layer(stack: _Stack) -> Layer:
        n, rank = stack.channels, stack.width.rank
        sizes, around = (_one_or_each(kernel), _one_or_each(pads)) if rank == 2 else (max(kernel), max(pads))
        return Convolution(n, n, sizes, stack.stride, around, dilation, groups=n, bias=bias, rank=rank)

    return _along_axes(layer)


def _one_or_each(sizes: tuple[int, ...]) -> int | tuple[int, ...]:
    """One number if all sizes are equal."""
    return sizes[0] if len(set(sizes)) == 1 else sizes


def _along_axes(make: Callable[[_Stack], Layer]) -> Extend:
    """Extension by one layer that keeps the channels and applies the stride; none on a vector."""
    return lambda stack: stack.add(make(stack), strided=True) if stack.width.rank else stack


downsample = _along_axes(lambda stack: AveragePool(stack.stride, stack.width.rank))


def average(kernel: int, padding: int | None = None, is_counted: bool = False) -> Extend:
    """Average over windows, see `AverageWindow`; no layer on a vector.

    Args:
        kernel: Size of the windows.
        padding: Zeros around the input; half a window by default.
        is_counted: Whether the zeros count.
    """
    around = kernel // 2 if padding is None else padding
    return _along_axes(lambda stack: AverageWindow(kernel, stack.stride, around, is_counted, stack.width.rank))


def maximum(kernel: int, padding: int | None = None) -> Extend:
    """Max pooling; no layer on a vector.

    Args:
        kernel: Size of the windows.
        padding: Around the input; by default half a window of an odd size, none of an even one.
    """
    around = kernel // 2 * (kernel % 2) if padding is None else padding
    return _along_axes(lambda stack: MaxPool(kernel, stack.stride, around, stack.width.rank))


def global_pool(stack: _Stack) -> _Stack:
    """Mean over all positions; no layer on a vector."""
    return stack.add(GlobalPool(stack.width.rank)) if stack.width.rank else stack


def flat(stack: _Stack) -> _Stack:
    """A vector of the channels of a single position; no layer on a vector."""
    return stack.add(Flatten()) if stack.width.rank else stack


def linear(stack: _Stack) -> _Stack:
    """Linear layer with a bias, to the output channels."""
    return stack.add(Linear(stack.channels, stack.width.outputs), stack.width.outputs)


def on_vector(stack: _Stack) -> _Stack:
    """The stack itself, if the operation's input is a vector."""
    if stack.width.rank:
        raise SpaceError(f"accepts vectors only, but got {stack.width}. Put a vector or a global pool before it.")
    return stack


def sliced(end: bool) -> Extend:
    """Slice of the first channels, or of the last; no layer if it would take all of them."""

    def part(stack: _Stack) -> _Stack:
        before, after = stack.channels, stack.width.outputs
        if after > before:
            raise SpaceError(f"gives at most as many channels as its input has, but got {stack.width}.")
        if after == before:
            return stack
        return stack.add(ChannelSlice(before - after if end else 0, after), after)

    return part


def shuffled(groups: int) -> Extend:
    """Channel shuffle of so many groups of equally many channels."""

    def part(stack: _Stack) -> _Stack:
        if stack.channels % groups:
            raise SpaceError(
                f"splits the channels into {groups} equal groups, but got {stack.width}. Derive the width from equal "
                "parts."
            )
        return stack.add(Shuffle(groups))

    return part


def attention(stack: _Stack) -> _Stack:
    """Attention between all positions, with up to four heads; on a vector, a single position, it gives the values."""
    channels = stack.channels // 3
    layer = Attention(gcd(channels, 4)) if stack.width.rank else ChannelSlice(2 * channels, channels)
    return stack.add(layer, channels)


def vector(stack: _Stack) -> _Stack:
    """All values of a sample as one vector; the node states how many they are."""
    return stack.add(Flatten(), stack.width.outputs)


def sepconv(kernel: int, dilation: int = 1) -> tuple[Extend, ...]:
    """Depthwise convolution, pointwise convolution and batch norm."""
    return depthwise(kernel, dilation=dilation), conv(1), bn
