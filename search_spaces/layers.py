"""Primitive layers: what each does to a shape, what it costs, and which `torch.nn` class it is.

Cost model, network builder and source generator know these few layers and nothing else, so an operation (a sequence of
layers, see `operations.py`) needs no code in any of them. Nothing here imports torch.

A shape leaves the batch out: `(channels, height, width)`, or `(features,)` for a vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

__all__ = [
    "AveragePool",
    "BatchNorm",
    "Call",
    "Convolution",
    "Dropout",
    "Flatten",
    "GlobalPool",
    "Layer",
    "Linear",
    "MaxPool",
    "ReLU",
    "Shape",
]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """The constructor call `nn.<name>(*arguments, **keywords)` of a layer; only arguments unlike torch's defaults."""

    name: str
    arguments: tuple[object, ...] = ()
    keywords: tuple[tuple[str, object], ...] = ()


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
        """Multiply-accumulates for one sample of `shape`, counted in convolutions and linear layers only."""
        return 0

    def call(self, shape: Shape | None = None) -> Call:
        """The torch constructor for an input of `shape`; without a shape, for sizes that the stride divides."""
        raise NotImplementedError


@dataclass(frozen=True)
class Convolution(Layer):
    """A 2-d convolution; `groups = inputs = outputs` makes it depthwise."""

    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    bias: bool = False

    @property
    def parameters(self) -> int:
        """Weights, and biases if any."""
        return self.outputs * (self.inputs // self.groups) * self.kernel**2 + self.outputs * self.bias

    def output(self, shape: Shape) -> Shape:
        """`outputs` channels on the strided grid."""
        reach = self.dilation * (self.kernel - 1) + 1
        return (self.outputs, *((size + 2 * self.padding - reach) // self.stride + 1 for size in shape[1:]))

    def macs(self, shape: Shape) -> int:
        """One for each weight and output position."""
        return prod(self.output(shape)) * (self.inputs // self.groups) * self.kernel**2

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.Conv2d`."""
        usual = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True}
        keywords = tuple((key, getattr(self, key)) for key, value in usual.items() if getattr(self, key) != value)
        return Call("Conv2d", (self.inputs, self.outputs, self.kernel), keywords)


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch normalisation with a trained scale and shift for each channel."""

    elementwise: ClassVar[bool] = True

    channels: int

    @property
    def parameters(self) -> int:
        """Scale and shift."""
        return 2 * self.channels

    @property
    def buffers(self) -> int:
        """Running mean and variance."""
        return 2 * self.channels

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.BatchNorm2d`."""
        return Call("BatchNorm2d", (self.channels,))


@dataclass(frozen=True)
class ReLU(Layer):
    """max(x, 0)."""

    elementwise: ClassVar[bool] = True

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.ReLU`."""
        return Call("ReLU")


@dataclass(frozen=True)
class Dropout(Layer):
    """Zeroes values with `probability` in training."""

    elementwise: ClassVar[bool] = True

    probability: float

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.Dropout`."""
        return Call("Dropout", (self.probability,))


@dataclass(frozen=True)
class AveragePool(Layer):
    """Average pooling to `ceil(size / stride)`, equal to torch's `adaptive_avg_pool2d` to that size.

    Where the stride divides the size it is a plain pooling of stride x stride windows, which exports everywhere.
    """

    stride: int

    def output(self, shape: Shape) -> Shape:
        """Sizes divided by the stride and rounded up."""
        return (shape[0], *(-(-size // self.stride) for size in shape[1:]))

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.AvgPool2d`, or `nn.AdaptiveAvgPool2d` for sizes that the stride does not divide."""
        if shape is None or all(size % self.stride == 0 for size in shape[1:]):
            return Call("AvgPool2d", (self.stride,))
        return Call("AdaptiveAvgPool2d", (self.output(shape)[1:],))


@dataclass(frozen=True)
class MaxPool(Layer):
    """Maximum over kernel x kernel windows."""

    kernel: int
    stride: int = 1
    padding: int = 0

    def output(self, shape: Shape) -> Shape:
        """Same channels on the strided grid."""
        return (shape[0], *((size + 2 * self.padding - self.kernel) // self.stride + 1 for size in shape[1:]))

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.MaxPool2d`, whose own default stride is the kernel."""
        return Call("MaxPool2d", (self.kernel,), (("stride", self.stride), ("padding", self.padding)))


@dataclass(frozen=True)
class GlobalPool(Layer):
    """Mean over all positions, kept as a 1 x 1 map."""

    def output(self, shape: Shape) -> Shape:
        """Same channels, every size 1."""
        return (shape[0], *(1 for _ in shape[1:]))

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.AdaptiveAvgPool2d(1)`."""
        return Call("AdaptiveAvgPool2d", (1,))


@dataclass(frozen=True)
class Flatten(Layer):
    """The map as a vector: the same memory under another shape."""

    elementwise: ClassVar[bool] = True

    def output(self, shape: Shape) -> Shape:
        """One long vector."""
        return (prod(shape),)

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.Flatten`."""
        return Call("Flatten")


@dataclass(frozen=True)
class Linear(Layer):
    """A full matrix with bias on a vector."""

    inputs: int
    outputs: int

    @property
    def parameters(self) -> int:
        """Matrix and bias."""
        return (self.inputs + 1) * self.outputs

    def output(self, shape: Shape) -> Shape:
        """A vector of `outputs`."""
        return (self.outputs,)

    def macs(self, shape: Shape) -> int:
        """One for each weight; the bias is free."""
        return self.inputs * self.outputs

    def call(self, shape: Shape | None = None) -> Call:
        """`nn.Linear`."""
        return Call("Linear", (self.inputs, self.outputs))
