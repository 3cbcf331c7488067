"""Primitive layers: what each does to a shape, what it costs, and which `torch.nn` class it is.

Cost model, network builder and source generator know these few layers and nothing else, so an operation (a sequence of
layers, see `operations.py`) needs no code in any of them. Nothing here imports torch.

A shape leaves the batch out: `(channels, height, width)` of an image, `(channels, length)` of a signal, or
`(features,)` of a vector. Its rank is the number of its sizes after the first: 2, 1, 0. Kernels are the same along
every axis unless they are given for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

__all__ = [
    "GELU",
    "KINDS",
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
    "ReLU",
    "Shape",
    "Shuffle",
    "Sigmoid",
    "Zeros",
]

Shape = tuple[int, ...]

KINDS = {3: "images", 2: "signals", 1: "vectors"}
"""What samples are called, by the number of dimensions of their shape."""


@dataclass(frozen=True)
class Call:
    """The constructor call `nn.<name>(*arguments, **keywords)` of a layer; only arguments unlike torch's defaults.

    `own` says that the class is not of `torch.nn` but of our `modules.py`.
    """

    name: str
    arguments: tuple[object, ...] = ()
    keywords: tuple[tuple[str, object], ...] = ()
    own: bool = False


@dataclass(frozen=True)
class Layer:
    """One primitive layer without parameters that keeps its shape; subclasses say otherwise.

    An elementwise layer can write its result over its input. `parameters` counts trainable numbers, `buffers` the
    other float numbers that a saved model holds.
    """

    elementwise: ClassVar[bool] = False

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return 0

    @property
    def buffers(self) -> int:
        """Number of float values that are saved but not trained."""
        return 0

    def output(self, shape: Shape) -> Shape:
        """The shape that comes out for an input of `shape`."""
        return shape

    def macs(self, shape: Shape) -> int:
        """Multiply-accumulates for one sample of `shape`, counted in convolutions and matrix products only."""
        return 0

    def working(self, shape: Shape) -> int:
        """Most numbers that the layer holds besides its input while it runs; its output, unless it says otherwise."""
        return prod(self.output(shape))

    def call(self, shape: Shape | None = None) -> Call:
        """The torch constructor for an input of `shape`; without a shape, for sizes that the stride divides."""
        raise NotImplementedError


@dataclass(frozen=True)
class Convolution(Layer):
    """A convolution along `rank` axes, 1 or 2; `groups = inputs = outputs` makes it depthwise.

    Kernel and padding are one number for all axes, or one for each.
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
        """Weights, and biases if any."""
        return self.outputs * self._fan_in + self.outputs * self.bias

    def output(self, shape: Shape) -> Shape:
        """`outputs` channels on the strided grid."""
        axes = zip(shape[1:], self._each(self.kernel), self._each(self.padding), strict=True)
        return (
            self.outputs,
            *((size + 2 * pad - self.dilation * (kernel - 1) - 1) // self.stride + 1 for size, kernel, pad in axes),
        )

    def macs(self, shape: Shape) -> int:
        """One for each weight and output position."""
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
        """Scale and shift."""
        return 2 * self.channels

    @property
    def buffers(self) -> int:
        """Running mean and variance."""
        return 2 * self.channels

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.BatchNorm2d`; `nn.BatchNorm1d` for signals and vectors."""
        return Call(f"BatchNorm{max(self.rank, 1)}d", (self.channels,))


@dataclass(frozen=True)
class ReLU(Layer):
    """max(x, 0)."""

    elementwise: ClassVar[bool] = True

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.ReLU`."""
        return Call("ReLU")


@dataclass(frozen=True)
class GELU(Layer):
    """x times the normal distribution function of x."""

    elementwise: ClassVar[bool] = True

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.GELU`."""
        return Call("GELU")


@dataclass(frozen=True)
class Sigmoid(Layer):
    """1 / (1 + exp(-x))."""

    elementwise: ClassVar[bool] = True

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.Sigmoid`."""
        return Call("Sigmoid")


@dataclass(frozen=True)
class Dropout(Layer):
    """Zeroes values with `probability` in training."""

    elementwise: ClassVar[bool] = True

    probability: float

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.Dropout`."""
        return Call("Dropout", (self.probability,))


@dataclass(frozen=True)
class Zeros(Layer):
    """0 whatever comes in; a signal that nothing is connected."""

    def call(self, shape: Shape | None = None) -> Call:
        """`modules.Zero`."""
        return Call("Zero", own=True)


@dataclass(frozen=True)
class AveragePool(Layer):
    """Average pooling to `ceil(size / stride)`, equal to torch's adaptive average pooling to that size.

    Where the stride divides the size it is a plain pooling of windows of the stride, which exports everywhere.
    """

    stride: int
    rank: int = 2

    def output(self, shape: Shape) -> Shape:
        """Sizes divided by the stride and rounded up."""
        return (shape[0], *(-(-size // self.stride) for size in shape[1:]))

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.AvgPool2d`, or `nn.AdaptiveAvgPool2d` for sizes that the stride does not divide; 1d for signals."""
        if shape is None or all(size % self.stride == 0 for size in shape[1:]):
            return Call(f"AvgPool{self.rank}d", (self.stride,))
        sizes = self.output(shape)[1:]
        return Call(f"AdaptiveAvgPool{self.rank}d", (sizes if self.rank > 1 else sizes[0],))


@dataclass(frozen=True)
class AverageWindow(Layer):
    """Mean over windows of `kernel` (odd) round each position of the strided grid; what is outside does not count."""

    kernel: int
    stride: int = 1
    rank: int = 2

    def output(self, shape: Shape) -> Shape:
        """Same channels on the strided grid."""
        return (shape[0], *((size - 1) // self.stride + 1 for size in shape[1:]))

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.AvgPool2d`, or 1d for signals, whose own default stride is the kernel."""
        keywords = (("stride", self.stride), ("padding", self.kernel // 2), ("count_include_pad", False))
        return Call(f"AvgPool{self.rank}d", (self.kernel,), keywords)


@dataclass(frozen=True)
class MaxPool(Layer):
    """Maximum over windows of `kernel`."""

    kernel: int
    stride: int = 1
    padding: int = 0
    rank: int = 2

    def output(self, shape: Shape) -> Shape:
        """Same channels on the strided grid."""
        return (shape[0], *((size + 2 * self.padding - self.kernel) // self.stride + 1 for size in shape[1:]))

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.MaxPool2d`, or 1d for signals, whose own default stride is the kernel."""
        return Call(f"MaxPool{self.rank}d", (self.kernel,), (("stride", self.stride), ("padding", self.padding)))


@dataclass(frozen=True)
class GlobalPool(Layer):
    """Mean over all positions, kept as a map of size 1."""

    rank: int = 2

    def output(self, shape: Shape) -> Shape:
        """Same channels, every size 1."""
        return (shape[0], *(1 for _ in shape[1:]))

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.AdaptiveAvgPool2d(1)`, or 1d for signals."""
        return Call(f"AdaptiveAvgPool{self.rank}d", (1,))


@dataclass(frozen=True)
class ChannelSlice(Layer):
    """Channels `start` to `start + length`."""

    start: int
    length: int

    def output(self, shape: Shape) -> Shape:
        """Fewer channels."""
        return (self.length, *shape[1:])

    def call(self, shape: Shape | None = None) -> Call:
        """`modules.Slice`."""
        return Call("Slice", (self.start, self.length), own=True)


@dataclass(frozen=True)
class Shuffle(Layer):
    """Channels dealt out again, one of each of `groups` parts in turn."""

    groups: int

    def call(self, shape: Shape | None = None) -> Call:
        """`modules.ChannelShuffle`; that of `nn` takes no vectors."""
        return Call("ChannelShuffle", (self.groups,), own=True)


@dataclass(frozen=True)
class Attention(Layer):
    """Scaled dot-product attention between all positions; its input stacks queries, keys and values by channel."""

    heads: int

    def output(self, shape: Shape) -> Shape:
        """A third of the channels."""
        return (shape[0] // 3, *shape[1:])

    def macs(self, shape: Shape) -> int:
        """Queries times keys, and the weights times values."""
        return 2 * prod(self.output(shape)) * prod(shape[1:])

    def working(self, shape: Shape) -> int:
        """Scores and their softmax, then the softmax and the output."""
        scores = self.heads * prod(shape[1:]) ** 2
        return scores + max(scores, prod(self.output(shape)))

    def call(self, shape: Shape | None = None) -> Call:
        """`modules.SelfAttention`."""
        return Call("SelfAttention", (self.heads,), own=True)


@dataclass(frozen=True)
class Flatten(Layer):
    """The axes from `start` on as one: the same memory under another shape."""

    elementwise: ClassVar[bool] = True

    start: int = 1

    def output(self, shape: Shape) -> Shape:
        """One long vector for `start=1`, one long signal for `start=2`."""
        return (*shape[: self.start - 1], prod(shape[self.start - 1 :]))

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.Flatten`."""
        return Call("Flatten", (self.start,) if self.start != 1 else ())


@dataclass(frozen=True)
class Linear(Layer):
    """A full matrix on a vector."""

    inputs: int
    outputs: int
    bias: bool = True

    @property
    def parameters(self) -> int:
        """Matrix and bias."""
        return (self.inputs + self.bias) * self.outputs

    def output(self, shape: Shape) -> Shape:
        """A vector of `outputs`."""
        return (self.outputs,)

    def macs(self, shape: Shape) -> int:
        """One for each weight; the bias is free."""
        return self.inputs * self.outputs

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.Linear`."""
        return Call("Linear", (self.inputs, self.outputs), () if self.bias else (("bias", False),))
