"""Blocks of well-known networks: four stages, each with its own kind of block, depth and width.

After the block space of TRADE (Kim et al. 2022, https://arxiv.org/abs/2206.13130). Its list of blocks is not public, so
the list, the ranges and the layout are [ours]. Sources of the blocks:

* `basic`, `bottleneck`: He et al. 2016, https://arxiv.org/abs/1512.03385.
* `mbconv`: Sandler et al. 2018, https://arxiv.org/abs/1801.04381; kernels and squeeze-excitation as in Tan and Le 2019,
  https://arxiv.org/abs/1905.11946.
* `shuffle`: ShuffleNetV2, Ma et al. 2018, https://arxiv.org/abs/1807.11164.
* `convnext`: Liu et al. 2022, https://arxiv.org/abs/2201.03545.
* `pooling`, `attention`: MetaFormer, Yu et al. 2022, https://arxiv.org/abs/2111.11418.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import Shape
from search_spaces.design.blueprint import CLASSES, Blueprint, Sketch, Total
from search_spaces.design.budget import Budget
from search_spaces.design.space import WIDEST, Dimension, Parameters, Range, Space, Value
from search_spaces.design.stems import Stem, is_small
from search_spaces.errors import BudgetError, SpaceError

__all__ = ["DEEP_EARLY", "MOBILENETV2", "RESNET", "RESNET_20", "Blocks"]

STAGES = 4

EARLY = ("shuffle", "mbconv", "bottleneck", "convnext", "basic")
LATE = ("shuffle", "mbconv", "bottleneck", "pooling", "convnext", "attention", "basic")
"""Blocks of the first two and of the last two stages, ordered by their parameters at the same width."""

RESIDUAL = ("basic", "bottleneck")
"""Blocks that end with a ReLU, after which published networks have no head."""

PARTS = {"shuffle": 2, "bottleneck": 4, "attention": 4}
"""Number that divides a stage's width: for the two halves, for an inner width of a quarter, or for four heads."""

WORTH_A_STRIDE = 1.25
"""How many times as many multiply-accumulates a strided stem must let a network do, since it is worse at equal ones
[ours]; measured in `tests/benchmarks/RESULTS.md`."""

SMALL_MAP = 4
"""Longest side, in pixels, up to which the last stage keeps the resolution, since it would have too few positions."""


def _stage_dimensions(stage: int) -> dict[str, Dimension]:
    block = f"stage{stage}_block"
    mbconv = (block, ("mbconv",))
    return {
        block: Dimension(CategoricalDistribution(EARLY if stage <= STAGES // 2 else LATE)),
        f"stage{stage}_depth": Dimension(IntDistribution(int(stage < STAGES), 4), legal=(0, 100)),
        f"stage{stage}_ratio": Dimension(FloatDistribution(0.25, 1.5), legal=(0.01, 100)),
        f"stage{stage}_expansion": Dimension(CategoricalDistribution((1, 3, 6)), *mbconv),
        f"stage{stage}_kernel": Dimension(IntDistribution(3, 7, step=2), *mbconv, legal=(3, 7)),
        f"stage{stage}_squeeze": Dimension(IntDistribution(0, 1), *mbconv, legal=(0, 1)),
    }


def _uniform(ratios: tuple[float, ...], **stage: int | str) -> dict[str, Value]:
    """Parameters of a network whose stages differ only in their ratios."""
    values = ((number, {**stage, "ratio": ratio}) for number, ratio in enumerate(ratios, 1))
    return {f"stage{number}_{key}": value for number, own in values for key, value in own.items()}


RESNET = _uniform((1.0, 1.0, 1.0, 0.5), block="basic", depth=1)
"""A ResNet of one basic block a stage; its last stage is narrow, as it would take most of the parameters."""

RESNET_20 = _uniform((1.0, 1.0, 1.0, 0.5), block="basic", depth=3) | {"stage4_depth": 0}
"""The ResNet of 20 layers for images of 32 px: three stages of three blocks, as in He et al. 2016, section 4.2."""

DEEP_EARLY = RESNET_20 | {"stage2_depth": 4, "stage2_ratio": 1.5, "stage3_depth": 1, "stage3_ratio": 0.75}
"""The same with blocks and widths moved to higher resolutions, where a parameter buys more multiply-accumulates [ours];
measured in `tests/benchmarks/RESULTS.md`."""

MOBILENETV2 = _uniform((1.0, 0.67, 0.67, 0.83), block="mbconv", depth=2, expansion=6, kernel=3, squeeze=0)
"""A MobileNetV2: 24, 32, 64 and 160 channels, those of the first layers of each resolution in Sandler et al. 2018,
https://arxiv.org/abs/1801.04381, table 2."""


class Blocks(Space):
    """Networks of four stages whose kind of block, depth and relative width are searched.

    A stage's ratio multiplies its default width, which is 1, 2, 4 or 8 times the base width; if the budget decides the
    base width, only the proportions of the four ratios matter. Widths are multiples of 2 for `shuffle`, and of 4 for
    `bottleneck` (the inner width is a quarter) and `attention` (there are always four heads, so that a wider stage
    never needs less memory).

    Inputs of up to 39 px keep their resolution in the stem, a 3x3 convolution; larger ones enter through a 3x3
    convolution and a max pooling of stride 2 each, as in ShuffleNetV2, or with `with_stem("strided")` through a 7x7
    convolution of stride 4 [ours]: where activations are limited, the map between the two would decide how wide the
    first stage can be. Where hardly more than the input fits, the output of that convolution would do so, therefore it
    is half as wide as the first stage with `with_stem("narrow")` [ours]. With `with_stem("auto")` they enter through
    that of the two that makes the network do more, if these are at least 1.25 times as many multiply-accumulates
    within the same budget as with the pooling, or if nothing fits with that; with a fixed `width` they never do.

    The second and third stages halve the resolution; the fourth does so if the map is larger than 4 px. Any other
    stem is as wide as the first stage, so that the first block there equals the others. A stage of depth 0 is left out
    together with its halving of the resolution; it may be the last, or with ranges that begin there any other one. Of
    the first stage the stem remains.

    A block that changes width or resolution has a projection shortcut (`basic`, `bottleneck`), no shortcut (`mbconv`),
    or both branches on the whole input (`shuffle`); the other three follow an average pooling and a 1x1 convolution.

    `basic`, `bottleneck` (with the stride in the 3x3 convolution, as is common now) and `shuffle` are as published, and
    so is `mbconv` without squeeze-excitation, except for ReLU in place of ReLU6. Departures [ours]:

    * Squeeze-excitation narrows to a quarter of the expanded width, not of the block's input, and uses ReLU and
      sigmoid.
    * Batch norm, which can be folded for inference, replaces layer norm, and residual branches are not scaled.
    * `pooling` adds the mean of the neighbourhood, not its difference from the centre.
    * `attention` has no position encoding; only the zero padding of earlier convolutions indicates positions.

    Args:
        head_ratio: Width of the 1x1 convolution before the classifier as a multiple of the last stage's; with 0 it is
            omitted, and the classifier has no dropout then. By default it is 1, or 0 where the last stage is of `basic`
            or `bottleneck` blocks, as in a ResNet. The convolution takes about a tenth of the parameters, and adds the
            batch norm and ReLU that the sums of `mbconv`, `convnext`, `pooling` and `attention` lack.
        width: See `Space`; default width of the first stage.
        max_width: See `Space`.
        **ranges: See `Space`; also deeper stages, such as `stage3_depth=6`, or none, such as `stage1_depth=0`.
    """

    name = "blocks"
    random = False
    well_known = (RESNET, MOBILENETV2, DEEP_EARLY, RESNET_20)
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        name: dimension for stage in range(1, STAGES + 1) for name, dimension in _stage_dimensions(stage).items()
    }

    def __init__(
        self, *, head_ratio: float | None = None, width: float | None = None, max_width: int = 512, **ranges: Range
    ) -> None:
        super().__init__(width=width, max_width=max_width, **ranges)
        if head_ratio is not None and not 0 <= head_ratio <= WIDEST:
            raise SpaceError(f"`0 <= head_ratio <= {WIDEST}` must hold, but got {head_ratio=}.")
        self.head_ratio = head_ratio

    def each_stem(self, input_shape: Shape) -> Sequence[Space]:
        """All stems for larger inputs if the stem is "auto" and widths are open; see `Space`."""
        if self.stem != "auto" or self.width is not None or is_small(input_shape):
            return [self]
        return [self.with_stem("pooled"), self.with_stem("strided"), self.with_stem("narrow")]

    def sample(
        self, parameters: Parameters, budget: Budget, input_shape: Shape, classes: int, rng: np.random.Generator
    ) -> Architecture:
        """One architecture of the family, with the stem that makes more of the budget if it is "auto"; see `Space`."""
        given = (parameters, budget, input_shape, classes, rng)
        usual, *others = self.each_stem(input_shape)
        if not others:
            return super().sample(*given)
        drawn = list[Architecture]()
        for each in others:
            with suppress(BudgetError):
                drawn.append(each.sample(*given))
        best = max(drawn, key=lambda found: cost(found).macs, default=None)
        try:
            pooled = usual.sample(*given)
        except BudgetError:
            if best is None:
                raise
            return best
        return best if best and cost(best).macs >= WORTH_A_STRIDE * cost(pooled).macs else pooled

    def fit(
        self, parameters: Parameters, budget: Budget, input_shape: Shape, classes: int, rng: np.random.Generator
    ) -> dict[str, Value]:
        """Near parameters that fit the budget, with the usual stem or else another one of "auto"; see `Space`."""
        given = (parameters, budget, input_shape, classes, rng)
        *stems, last = self.each_stem(input_shape)
        for each in stems:
            with suppress(BudgetError):
                return each.fit(*given)
        return last.fit(*given) if stems else super().fit(*given)

    def blueprint(
        self, parameters: Parameters, input_shape: Shape, classes: int, rng: np.random.Generator
    ) -> Blueprint:
        """The network of the parameters; nothing is drawn. On vectors, which have no axes, `kernel` is always 3."""
        stages = _stages(parameters, has_axes=len(input_shape) > 1)
        is_narrow = self.stem == "narrow" and stages[0].depth > 0 and not is_small(input_shape)
        if is_narrow:
            stages[0] = replace(stages[0], least_parts=2)
        ratios = [2**stage.number * stage.ratio / stage.parts for stage in stages]
        head = self._head_ratio(stages[-1])
        sketch = Sketch(input_shape, classes, (*ratios, *([head] if head else [])), self.name)
        widths = [stage.width(sketch, part) for part, stage in enumerate(stages)]
        last = _stem(sketch, stages[0].half(sketch) if is_narrow else widths[0], self.stem)
        for part, (stage, width) in enumerate(zip(stages, widths, strict=True)):
            last = _run(sketch, stage, part, width, last)
        return _classified(sketch, last, len(stages) if head else None, stages[-1].number)

    def describe(self, parameters: Parameters) -> str:
        """Depth, block and ratio of each stage, such as `2 basic at 1, 3 mbconv(6,5,se) at 0.5, ...`."""
        complete = self.complete(parameters)
        return ", ".join(_stage(complete, number).text for number in range(STAGES))

    def _head_ratio(self, last: _Stage) -> float:
        """Ratio of the head's width after this last stage; 0 if there is no head."""
        by_default = 0.0 if last.block in RESIDUAL else 1.0
        return float(2**last.number) * last.ratio * (by_default if self.head_ratio is None else self.head_ratio)


@dataclass(frozen=True)
class _Stage:
    """Parameters of one stage.

    Attributes:
        number: Its number, from 0.
        block: Kind of its blocks.
        depth: Number of its blocks.
        ratio: Its width as a multiple of the default one.
        expansion: Of `mbconv`, as are the next two.
        kernel: Length of the kernel's sides.
        squeeze: 1 for squeeze-excitation, else 0.
        least_parts: Number by which the width can be divided, whatever the kind of block.
    """

    number: int
    block: str
    depth: int
    ratio: float
    expansion: int = 1
    kernel: int = 3
    squeeze: int = 0
    least_parts: int = 1

    @property
    def parts(self) -> int:
        """Divisor of the stage's width; see `PARTS`."""
        return max(PARTS.get(self.block, 1), self.least_parts)

    def width(self, sketch: Sketch, part: int) -> int:
        """Place of the stage's width, if the width of one of its `parts` is at place `part`."""
        return _times(sketch, part, self.parts)

    def half(self, sketch: Sketch) -> int:
        """Place of half the width of the first stage, if it has several parts."""
        return _times(sketch, 0, self.parts // 2)

    @property
    def text(self) -> str:
        """Description of the stage."""
        if not self.depth:
            return "none" if self.number else f"stem at {self.ratio:.2g}"
        details = f"({self.expansion},{self.kernel}{',se' * self.squeeze})" if self.block == "mbconv" else ""
        return f"{self.depth} {self.block}{details} at {self.ratio:.2g}"


def _times(sketch: Sketch, part: int, factor: int) -> int:
    """Place of so many times the width at a place."""
    return sketch.derive(Total((part,) * factor)) if factor > 1 else part


def _stages(parameters: Parameters, has_axes: bool) -> list[_Stage]:
    """The stages that are not left out."""
    stages = [_stage(parameters, number, has_axes) for number in range(STAGES)]
    return [stage for stage in stages if stage.depth or not stage.number]


def _stage(parameters: Parameters, number: int, has_axes: bool = True) -> _Stage:
    name = f"stage{number + 1}"
    block, depth = str(parameters[f"{name}_block"]), int(parameters[f"{name}_depth"])
    ratio = float(parameters[f"{name}_ratio"])
    if block != "mbconv":
        return _Stage(number, block, depth, ratio)
    expansion, squeeze = int(parameters[f"{name}_expansion"]), int(parameters[f"{name}_squeeze"])
    return _Stage(number, block, depth, ratio, expansion, int(parameters[f"{name}_kernel"]) if has_axes else 3, squeeze)


def _classified(sketch: Sketch, last: int, head: int | None, stage: int) -> Blueprint:
    """Blueprint with the classifier, and before it the head, whose width is at place `head`, if there is one."""
    if head is not None:
        last = sketch.add("conv1x1_bn", (last,), head, stage=stage, name="head")
    classifier = "pool_classifier" if head is None else "classifier"
    sketch.add(classifier, (last,), CLASSES, stage=stage, name="classifier")
    return sketch.finish()


def _stem(sketch: Sketch, width: int, stem: Stem) -> int:
    if is_small(sketch.input_shape):
        return sketch.add("conv3x3_bn_relu", (0,), width, name="stem")
    if stem in ("strided", "narrow"):
        return sketch.add("conv7x7_bn_relu", (0,), width, stride=4, name="stem")
    first = sketch.add("conv3x3_bn_relu", (0,), width, stride=2, name="stem")
    return sketch.add("maxpool3x3", (first,), width, stride=2, name="stem_pool")


def _run(sketch: Sketch, stage: _Stage, part: int, width: int, last: int) -> int:
    """Index of the last node of a stage's blocks, which follow node `last`."""
    stride = _stride(stage.number, sketch.shape(last))
    for number in range(stage.depth):
        name = f"stage{stage.number + 1}_block{number + 1}"
        site = _Site(sketch, stage, part, width, 1 if number else stride, name)
        last = _BLOCKS[stage.block](site, last)
    return last


def _stride(stage: int, entering: Shape) -> int:
    """Stride of a stage's first block for an input of this shape."""
    if stage == STAGES - 1:
        return 2 if max(entering[1:], default=1) > SMALL_MAP else 1
    return 2 if stage else 1


@dataclass(frozen=True)
class _Site:
    """Position of a block: `part` and `width` are places of widths (see `PARTS`), `name` is the prefix of its nodes."""

    sketch: Sketch
    stage: _Stage
    part: int
    width: int
    stride: int
    name: str

    def add(self, role: str, operation: str, *inputs: int, width: int, stride: int = 1, merge: str = "sum") -> int:
        """Index of a new node of the block."""
        return self.sketch.add(operation, inputs, width, stride, merge, self.stage.number, f"{self.name}_{role}")

    def changes(self, entering: int) -> bool:
        """Whether the block changes width or resolution."""
        return self.stride > 1 or self.place(entering) != self.width

    def place(self, node: int) -> int:
        """Place of a node's width."""
        return self.sketch.nodes[node].channels


def _basic(site: _Site, x: int) -> int:
    first = site.add("conv1", "conv3x3_bn_relu", x, width=site.width, stride=site.stride)
    second = site.add("conv2", "conv3x3_bn", first, width=site.width)
    return site.add("sum", "relu", _shortcut(site, x), second, width=site.width)


def _bottleneck(site: _Site, x: int) -> int:
    first = site.add("conv1", "conv1x1_bn_relu", x, width=site.part)
    second = site.add("conv2", "conv3x3_bn_relu", first, width=site.part, stride=site.stride)
    third = site.add("conv3", "conv1x1_bn", second, width=site.width)
    return site.add("sum", "relu", _shortcut(site, x), third, width=site.width)


def _shortcut(site: _Site, x: int) -> int:
    return site.add("shortcut", "conv1x1_bn", x, width=site.width, stride=site.stride) if site.changes(x) else x


def _mbconv(site: _Site, x: int) -> int:
    stage, inner = site.stage, site.place(x)
    filtered = x
    if stage.expansion > 1:
        inner = site.sketch.derive(Total((inner,) * stage.expansion))
        filtered = site.add("expand", "conv1x1_bn_relu", x, width=inner)
    depthwise = f"depthwise{stage.kernel}x{stage.kernel}_bn_relu"
    filtered = site.add("depthwise", depthwise, filtered, width=inner, stride=site.stride)
    gate = (site.add("gate", "global_gate", filtered, width=inner),) if stage.squeeze else ()
    projected = site.add("project", "conv1x1_bn", filtered, *gate, width=site.width, merge="product")
    return projected if site.changes(x) else site.add("sum", "identity", x, projected, width=site.width)


def _shuffle(site: _Site, x: int) -> int:
    half, left, right = site.part, x, x
    if site.changes(x):
        left = site.add("left_depthwise", "depthwise3x3_bn", x, width=site.place(x), stride=site.stride)
        left = site.add("left_conv", "conv1x1_bn_relu", left, width=half)
    else:
        left = site.add("left", "first_channels", x, width=half)
        right = site.add("right", "last_channels", x, width=half)
    right = site.add("right_conv1", "conv1x1_bn_relu", right, width=half)
    right = site.add("right_depthwise", "depthwise3x3_bn", right, width=half, stride=site.stride)
    right = site.add("right_conv2", "conv1x1_bn_relu", right, width=half)
    return site.add("shuffle", "channel_shuffle", left, right, width=site.width, merge="concat")


def _convnext(site: _Site, x: int) -> int:
    return _residual(site, "mix", "depthwise7x7_bn_mlp", _entered(site, x))


def _pooling(site: _Site, x: int) -> int:
    return _metaformer(site, "bn_average3x3", x)


def _attention(site: _Site, x: int) -> int:
    return _metaformer(site, "bn_attention", x)


def _metaformer(site: _Site, mixer: str, x: int) -> int:
    """Block that mixes the positions, then the channels of each position."""
    return _residual(site, "mlp", "bn_mlp", _residual(site, "mix", mixer, _entered(site, x)))


def _entered(site: _Site, x: int) -> int:
    """Index of the block's input, projected to its width and resolution if they differ."""
    return site.add("entry", "pool_conv1x1_bn", x, width=site.width, stride=site.stride) if site.changes(x) else x


def _residual(site: _Site, role: str, operation: str, x: int) -> int:
    change = site.add(role, operation, x, width=site.width)
    return site.add(f"{role}_sum", "identity", x, change, width=site.width)


_BLOCKS: dict[str, Callable[[_Site, int], int]] = {
    "attention": _attention,
    "basic": _basic,
    "bottleneck": _bottleneck,
    "convnext": _convnext,
    "mbconv": _mbconv,
    "pooling": _pooling,
    "shuffle": _shuffle,
}
