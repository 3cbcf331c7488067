"""Primitive layers: the output shape and the cost of each, and its `torch.nn` class.

The cost model, the network builder and the source generator handle these layers only, so a new operation (a sequence of
layers, see `operations.py`) needs no code in any of them. Nothing here imports torch.

A shape excludes the batch: `(channels, height, width)` of an image, `(channels, length)` of a signal, or `(features,)`
of a vector. Its rank is its number of spatial axes: 2, 1 or 0. A kernel given as one number has that size along every
axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

__all__ = [
    "KINDS",
    "Activation",
    "Attention",
    "AveragePool",
    "AverageWindow",
    "BatchNorm",
    "Call",
    "ChannelSlice",
    "Convolution",
    "Dropout",
    "Flatten",
    "GlobalPool",
    "Layer",
    "Linear",
    "MaxPool",
    "Shape",
    "Shuffle",
    "Zeros",
]

Shape = tuple[int, ...]

KINDS = {3: "images", 2: "signals", 1: "vectors"}
"""Names of samples by the length of their shape."""


@dataclass(frozen=True)
class Call:
    """The constructor call `nn.<name>(*arguments, **keywords)` of a layer, without torch's default arguments.

    If `own` is true, the class is defined in `networks/modules.py` instead of `torch.nn`.
    """

    name: str
    arguments: tuple[object, ...] = ()
    keywords: tuple[tuple[str, object], ...] = ()
    own: bool = False


@dataclass(frozen=True)
class Layer:
    """Base class of primitive layers; by default without parameters, and with an output of the input's shape.

    Attributes:
        elementwise: Whether the layer can write its result over its input.
    """

    elementwise: ClassVar[bool] = False

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return 0

    @property
    def buffers(self) -> int:
        """Number of floating-point values that are saved but not trained."""
        return 0

    def output(self, shape: Shape) -> Shape:
        """Shape of the output for an input of `shape`."""
        return shape

    def macs(self, shape: Shape) -> int:
        """Multiply-accumulates for one sample of `shape`; only convolutions and matrix products have any."""
        return 0

    def working(self, shape: Shape) -> int:
        """Largest number of elements in memory besides the input while the layer runs; by default, the output's."""
        return prod(self.output(shape))

    def call(self, shape: Shape | None = None) -> Call:
        """Constructor call for an input of `shape`; if omitted, for sizes that are multiples of the stride."""
        raise NotImplementedError


@dataclass(frozen=True)
class Convolution(Layer):
    """Convolution along `rank` axes, 1 or 2; it is depthwise if `groups = inputs = outputs`.

    `kernel` and `padding` are one number for all axes, or one for each axis.
    """

    inputs: int
    outputs: int
    kernel: int | tuple[int, ...]
    stride: int = 1
    padding: int | tuple[int, ...] = 0
    dilation: int = 1
    groups: int = 1
    bias: bool = False
    rank: int = 2

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return self.outputs * self._fan_in + self.outputs * self.bias

    def output(self, shape: Shape) -> Shape:
        """Shape with `outputs` channels, and sizes that follow from kernel, stride, padding and dilation."""
        axes = zip(shape[1:], self._each(self.kernel), self._each(self.padding), strict=True)
        return (
            self.outputs,
            *((size + 2 * pad - self.dilation * (kernel - 1) - 1) // self.stride + 1 for size, kernel, pad in axes),
        )

    def macs(self, shape: Shape) -> int:
        """One for each weight at each output position."""
        return prod(self.output(shape)) * self._fan_in

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.Conv1d` or `nn.Conv2d`."""
        usual = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True}
        keywords = tuple((key, getattr(self, key)) for key, value in usual.items() if getattr(self, key) != value)
        return Call(f"Conv{self.rank}d", (self.inputs, self.outputs, self.kernel), keywords)

    @property
    def _fan_in(self) -> int:
        return self.inputs // self.groups * prod(self._each(self.kernel))

    def _each(self, value: int | tuple[int, ...]) -> tuple[int, ...]:
        return value if isinstance(value, tuple) else (value,) * self.rank


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch normalisation with a trained scale and shift for each channel."""

    elementwise: ClassVar[bool] = True

    channels: int
    rank: int = 2

    @property
    def parameters(self) -> int:
        """Number of scales and shifts."""
        return 2 * self.channels

    @property
    def buffers(self) -> int:
        """Number of running means and variances."""
        return 2 * self.channels

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.BatchNorm2d`; `nn.BatchNorm1d` for signals and vectors."""
        return Call(f"BatchNorm{max(self.rank, 1)}d", (self.channels,))


@dataclass(frozen=True)
class Activation(Layer):
    """Elementwise function: the class of this name in `torch.nn`, without those of its arguments that are defaults."""

    elementwise: ClassVar[bool] = True

    kind: str
    arguments: tuple[float, ...] = ()

    def call(self, shape: Shape | None = None) -> Call:
        """The class itself."""
        return Call(self.kind, self.arguments)


@dataclass(frozen=True)
class Dropout(Layer):
    """Dropout, which zeroes values with `probability` in training."""

    elementwise: ClassVar[bool] = True

    probability: float

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.Dropout`."""
        return Call("Dropout", (self.probability,))


@dataclass(frozen=True)
class Zeros(Layer):
    """Zeros of the input's shape: the missing edge of a cell."""

    def call(self, shape: Shape | None = None) -> Call:
        """`modules.Zero`."""
        return Call("Zero", own=True)


@dataclass(frozen=True)
class AveragePool(Layer):
    """Average pooling to `ceil(size / stride)`, equal to torch's adaptive average pooling to that size.

    If the stride divides all sizes, the call is plain average pooling, which every export format supports.
    """

    stride: int
    rank: int = 2

    def output(self, shape: Shape) -> Shape:
        """Shape with sizes divided by the stride and rounded up."""
        return (shape[0], *(-(-size // self.stride) for size in shape[1:]))

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.AvgPool2d`, or `nn.AdaptiveAvgPool2d` if the stride does not divide the sizes; 1d for signals."""
        if shape is None or all(size % self.stride == 0 for size in shape[1:]):
            return Call(f"AvgPool{self.rank}d", (self.stride,))
        sizes = self.output(shape)[1:]
        return Call(f"AdaptiveAvgPool{self.rank}d", (sizes if self.rank > 1 else sizes[0],))


@dataclass(frozen=True)
class AverageWindow(Layer):
    """Average pooling over windows of size `kernel`; the zeros of the padding count only if `is_counted`."""

    kernel: int
    stride: int = 1
    padding: int = 0
    is_counted: bool = False
    rank: int = 2

    def output(self, shape: Shape) -> Shape:
        """Shape with the same channels, and sizes that follow from the stride."""
        return (shape[0], *((size + 2 * self.padding - self.kernel) // self.stride + 1 for size in shape[1:]))

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.AvgPool2d`, or 1d for signals, whose own default stride is the kernel."""
        keywords = (("stride", self.stride), ("padding", self.padding), ("count_include_pad", self.is_counted))
        return Call(f"AvgPool{self.rank}d", (self.kernel,), keywords)


@dataclass(frozen=True)
class MaxPool(Layer):
    """Max pooling over windows of size `kernel`."""

    kernel: int
    stride: int = 1
    padding: int = 0
    rank: int = 2

    def output(self, shape: Shape) -> Shape:
        """Shape with the same channels, and sizes that follow from the stride."""
        return (shape[0], *((size + 2 * self.padding - self.kernel) // self.stride + 1 for size in shape[1:]))

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.MaxPool2d`, or 1d for signals, whose own default stride is the kernel."""
        return Call(f"MaxPool{self.rank}d", (self.kernel,), (("stride", self.stride), ("padding", self.padding)))


@dataclass(frozen=True)
class GlobalPool(Layer):
    """Mean over all positions, with every size kept as 1."""

    rank: int = 2

    def output(self, shape: Shape) -> Shape:
        """Shape with the same channels, and every size 1."""
        return (shape[0], *(1 for _ in shape[1:]))

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.AdaptiveAvgPool2d(1)`, or 1d for signals."""
        return Call(f"AdaptiveAvgPool{self.rank}d", (1,))


@dataclass(frozen=True)
class ChannelSlice(Layer):
    """Channels from `start` up to, but excluding, `start + length`."""

    start: int
    length: int

    def output(self, shape: Shape) -> Shape:
        """Shape with `length` channels."""
        return (self.length, *shape[1:])

    def call(self, shape: Shape | None = None) -> Call:
        """`modules.Slice`."""
        return Call("Slice", (self.start, self.length), own=True)


@dataclass(frozen=True)
class Shuffle(Layer):
    """Channel shuffle: the first channel of each of `groups` groups, then the second of each, and so on."""

    groups: int

    def call(self, shape: Shape | None = None) -> Call:
        """`modules.ChannelShuffle`; `nn.ChannelShuffle` does not accept vectors."""
        return Call("ChannelShuffle", (self.groups,), own=True)


@dataclass(frozen=True)
class Attention(Layer):
    """Scaled dot-product attention between all positions; the input's channels are queries, keys and values."""

    heads: int

    def output(self, shape: Shape) -> Shape:
        """Shape with a third of the channels."""
        return (shape[0] // 3, *shape[1:])

    def macs(self, shape: Shape) -> int:
        """Those of queries times keys, and of attention weights times values."""
        return 2 * prod(self.output(shape)) * prod(shape[1:])

    def working(self, shape: Shape) -> int:
        """Elements of the scores and their softmax, or of the softmax and the output if those are more."""
        scores = self.heads * prod(shape[1:]) ** 2
        return scores + max(scores, prod(self.output(shape)))

    def call(self, shape: Shape | None = None) -> Call:
        """`modules.SelfAttention`."""
        return Call("SelfAttention", (self.heads,), own=True)


@dataclass(frozen=True)
class Flatten(Layer):
    """All axes from `start` on as one; it only changes the shape, so it needs no memory."""

    elementwise: ClassVar[bool] = True

    start: int = 1

    def output(self, shape: Shape) -> Shape:
        """Shape of a vector for `start=1`, of a signal for `start=2`."""
        return (*shape[: self.start - 1], prod(shape[self.start - 1 :]))

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.Flatten`."""
        return Call("Flatten", (self.start,) if self.start != 1 else ())


@dataclass(frozen=True)
class Linear(Layer):
    """Linear layer on vectors."""

    inputs: int
    outputs: int
    bias: bool = True

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return (self.inputs + self.bias) * self.outputs

    def output(self, shape: Shape) -> Shape:
        """Shape of a vector of `outputs` features."""
        return (self.outputs,)

    def macs(self, shape: Shape) -> int:
        """One for each weight; the bias is not counted."""
        return self.inputs * self.outputs

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.Linear`."""
        return Call("Linear", (self.inputs, self.outputs), () if self.bias else (("bias", False),))
