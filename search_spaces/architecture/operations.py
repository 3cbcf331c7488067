"""The table of operations; an operation is a named sequence of primitive layers.

A new operation is one line in `OPERATIONS`, composed of the builders of `building.py`, and at most one new builder. If
the channels of its layers are multiples of its input or output channels, the generated source can refer to them by
name. Operations whose names carry numbers, such as `conv5x5_bias_relu`, are in `patterns.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from typing import cast

from search_spaces.architecture.building import (
    Operation,
    Width,
    alone,
    attention,
    average,
    bn,
    conv,
    depthwise,
    downsample,
    flat,
    global_pool,
    linear,
    maximum,
    relu,
    sepconv,
    sequence,
    shuffled,
    sliced,
    vector,
)
from search_spaces.architecture.layers import (
    BatchNorm,
    Convolution,
    Dropout,
    Flatten,
    Layer,
    Linear,
    Shape,
    Zeros,
)
from search_spaces.architecture.patterns import ACTIVATIONS, patterned
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
    "folded",
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


def layers(operation: str, width: Width) -> tuple[Layer, ...]:
    """The layers of an operation, in the order in which they run.

    Raises:
        SpaceError: If the operation is unknown, cannot change the number of channels or the resolution as `width`
            requires, or does not accept inputs of this rank.
    """
    build = _find(operation)
    if build is None:
        raise unknown("operation", operation, OPERATIONS)
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


def keeps_channels(operation: str, rank: int = 2) -> bool:
    """Whether an operation on inputs of this rank always has as many output channels as input channels."""
    try:
        layers(operation, Width(1, 2, rank=rank))
    except SpaceError:
        return True
    return False


def known_operation(operation: str) -> str:
    """The given name, after a check that there is such an operation.

    Raises:
        SpaceError: If there is none; the message suggests the nearest name in `OPERATIONS`.
    """
    if _find(operation) is None:
        raise unknown("operation", operation, OPERATIONS)
    return operation


def folded(operation: str) -> str:
    """Name of the operation with its batch norms folded into its convolutions; the given one if there is none."""
    return operation if _find(operation + FOLDED) is None else operation + FOLDED


@lru_cache(maxsize=1 << 12)
def _find(name: str) -> Operation | None:
    if name in OPERATIONS or not name.endswith(FOLDED):
        return OPERATIONS.get(name) or patterned(name)
    plain = patterned(name.removesuffix(FOLDED))
    return _folded(plain) if plain and "_bn" in name else None


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
    if min(shape) < 1:
        raise SpaceError(f"`{operation}` gives a map of {shape} here: its input is too small.")
    if shape[0] != channels:
        raise SpaceError(f"`{operation}` gives {shape[0]} channels here, but the node has {channels}.")
    return Profile(shape, parameters, buffers, macs, running, running_kept)


_mlp = (conv(1, times=4, bias=True), ACTIVATIONS["gelu"], conv(1, bias=True))

OPERATIONS: dict[str, Operation] = {
    "average3x3": sequence(average(3)),
    "bn": sequence(bn),
    "bn_attention": sequence(bn, conv(1, times=3, bias=True), attention, conv(1, bias=True)),
    "bn_average3x3": sequence(bn, average(3)),
    "bn_mlp": sequence(bn, *_mlp),
    "bn_relu_classifier": sequence(bn, relu, global_pool, flat, linear),
    "channel_shuffle": sequence(shuffled(2)),
    "classifier": sequence(relu, global_pool, flat, alone(Dropout(DROPOUT)), linear),
    "conv1x1_bn": sequence(conv(1), bn),
    "conv1x1_bn_relu": sequence(conv(1), bn, relu),
    "conv3x3_bn": sequence(conv(3), bn),
    "conv3x3_bn_relu": sequence(conv(3), bn, relu),
    "depthwise3x3_bn": sequence(depthwise(3), bn),
    "depthwise3x3_bn_relu": sequence(depthwise(3), bn, relu),
    "depthwise5x5_bn_relu": sequence(depthwise(5), bn, relu),
    "depthwise7x7_bn_mlp": sequence(depthwise(7), bn, *_mlp),
    "depthwise7x7_bn_relu": sequence(depthwise(7), bn, relu),
    "first_channels": sequence(sliced(end=False)),
    "global_gate": sequence(
        global_pool, conv(1, times=0.25, bias=True), relu, conv(1, bias=True), ACTIVATIONS["sigmoid"]
    ),
    "global_pool": sequence(global_pool),
    "global_pool_vector": sequence(global_pool, flat),
    "identity": sequence(),
    "last_channels": sequence(sliced(end=True)),
    "maxpool2x2": sequence(maximum(2)),
    "maxpool3x3": sequence(maximum(3)),
    "pool": sequence(downsample),
    "pool_classifier": sequence(global_pool, flat, linear),
    "pool_conv1x1": sequence(downsample, conv(1)),
    "pool_conv1x1_bn": sequence(downsample, conv(1), bn),
    "relu_conv1x1_bn": sequence(relu, conv(1), bn),
    "relu_conv1x3_bn": sequence(relu, conv(1, 3), bn),
    "relu_conv3x1_bn": sequence(relu, conv(3, 1), bn),
    "relu_conv3x3_bn": sequence(relu, conv(3), bn),
    "relu_conv5x5_bn": sequence(relu, conv(5), bn),
    "relu_dilated_sepconv3x3_bn": sequence(relu, *sepconv(3, dilation=2)),
    "relu_dilated_sepconv5x5_bn": sequence(relu, *sepconv(5, dilation=2)),
    "relu_pool_conv1x1_bn": sequence(relu, downsample, conv(1), bn),
    "relu_sepconv3x3_bn": sequence(relu, *sepconv(3)),
    "relu_sepconv3x3_bn_twice": sequence(relu, *sepconv(3), relu, *sepconv(3)),
    "relu_sepconv5x5_bn": sequence(relu, *sepconv(5)),
    "relu_sepconv5x5_bn_twice": sequence(relu, *sepconv(5), relu, *sepconv(5)),
    "sepconv3x3_bn": sequence(*sepconv(3)),
    "series": sequence(alone(Flatten(2))),
    "vector": sequence(vector),
    "zero": sequence(alone(Zeros())),
    **{name: sequence(part) for name, part in ACTIVATIONS.items()},
}
"""All operations by name; a name lists the layers in order.

`conv` has no bias; `sepconv` is a depthwise convolution, a pointwise convolution and one batch norm. Kernels are named
by their size on images: on signals `conv3x3` has a kernel of 3, and on vectors it is a linear layer. On vectors a
stride, a pool and a depthwise convolution have no effect.
"""


def is_folded_into(layer: Layer) -> bool:
    """Whether a batch norm after this layer can be folded into it."""
    return isinstance(layer, Convolution | Linear)


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
