"""Initial weights with which every architecture trains, however deep and narrow.

Batch norm keeps the forward pass of any architecture in scale, but not the backward pass: in a plain chain of
convolution, batch norm and ReLU, each layer multiplies the expected square of the gradient by pi / (pi - 1) = 1.47
(Yang et al. 2019, "A mean field theory of batch normalization", https://arxiv.org/abs/1902.08129). The gradient grows
by a factor of 7 over 10 layers, and of 10^8 over 100. Narrow layers add fluctuations; in a layer of one channel, a ReLU
loses all that is negative, and a sum of two inputs can be zero for every sample. Residual branches would prevent this,
but most architectures have none.

The initial weights alone prevent it, too. Let the depth D be the number of ReLUs between sample and logits, as counted
by `relu_depths`. A network with D <= `SHALLOW` starts as usual (He et al. 2015). In a deeper one,

* a kernel is `sqrt(s) random + sqrt(1 - s) identity` with `s = SHALLOW / D`, so that all random parts together have the
  variance of `SHALLOW` layers. This is a residual network whose branches are scaled by the root of the depth (Hayou et
  al. 2021, "Stable ResNet", https://arxiv.org/abs/2010.12859), written into the kernels as in DiracNet (Zagoruyko and
  Komodakis 2017, https://arxiv.org/abs/1706.00388);
* batch norms have a positive shift, so that most values pass the ReLU: as large as needed for a gradient that grows
  over D layers as it does over `SHALLOW` layers without a shift. In a linear network, batch norm does not let gradients
  explode (Meterez et al. 2024, https://arxiv.org/abs/2310.02012, who shape the activation function by the depth).

Both are [ours] in this form. Training can undo them, as they change initial values only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, inf, log, prod
from statistics import NormalDist

import torch
from torch import Tensor, nn

from search_spaces.architecture.format import Architecture, Node
from search_spaces.architecture.layers import Activation, BatchNorm, Layer, Shape
from search_spaces.architecture.operations import Width, layers

__all__ = ["SHALLOW", "gradient_growth", "initialise", "relu_depths", "relu_shift"]

SHALLOW = 10
"""Largest depth that needs no help: the gradient of the first layer is then 7 times that of the last one."""

NARROW = 5
"""A ReLU on n values of a sample counts as `1 + NARROW / n` layers: in random networks without batch norm, each of them
adds 5 / n to the variance of the logarithm of the squared gradient (Hanin and Nica 2020,
https://arxiv.org/abs/1812.05994)."""

GATE = 1 / (1 + exp(-1))
"""Initial factor of each input of a weighted sum."""

RECTIFIERS = {Activation("ReLU"), Activation("ReLU6")}
"""Layers that count as a ReLU; leaky and smooth activations do not."""

WIDEST_SHIFT = 8.0
"""Upper bound of shifts, at which ReLUs are linear in float32."""

_GAUSS = NormalDist()


def initialise(module: nn.Module, architecture: Architecture, seed: int) -> None:
    """Overwrite all weights and statistics of a built network, or of its generated source, in place.

    * Convolutions, and linear layers in their place on vectors: normal with variance 2 / fan-out (He et al. 2015, the
      backward case, with the fan-out of one group), and bias 0.
    * In deep architectures, such a kernel is partly an identity of the same norm (see above), except in exposed nodes
      and where it reads the sample itself. The output of an exposed node reaches the classifier without a further batch
      norm.
    * Batch norm: scale 1; shift `relu_shift`, or 0 in exposed nodes, so that the classifier's inputs have a small mean.
    * The classifier, which is the last linear layer: normal with standard deviation 0.01, and bias 0.
    * Merge weights: 1.

    Args:
        module: The network; its children have the names of the architecture's nodes.
        architecture: What was built.
        seed: Seed of the weights. Global random states are neither read nor changed.
    """
    generator = torch.Generator().manual_seed(seed)
    depths, exposed = relu_depths(architecture), _exposed(architecture)
    share, shift = min(1.0, SHALLOW / max(depths[-1], SHALLOW)), relu_shift(depths[-1])
    children = dict(module.named_children())
    last = architecture.names[-1]
    with torch.no_grad():
        for number, (node, name) in enumerate(zip(architecture.nodes, architecture.names, strict=True)):
            is_random = exposed[number] or not any(depths[source] for source in node.inputs)
            for part in children[name].modules() if name in children else ():
                if isinstance(part, nn.Linear) and name == last:
                    _fill(part.weight, 0.01, generator)
                elif isinstance(part, nn.Conv1d | nn.Conv2d | nn.Linear):
                    _fill_kernel(part, 1.0 if is_random else share, generator)
                elif isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                    part.reset_parameters()
                    part.bias.fill_(0.0 if exposed[number] else shift)
                if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Linear) and part.bias is not None:
                    part.bias.zero_()
        if isinstance(gates := getattr(module, "merge_weights", None), nn.Parameter):
            gates.fill_(1.0)


def relu_depths(architecture: Architecture) -> list[float]:
    """For each node, the mean number of ReLUs that a gradient passes from its output back to the sample.

    A ReLU counts as much as gradients grow there, relative to a ReLU on values with mean 0; one after the sum of a
    residual block, which is mostly positive, counts less. If it has n values of a sample, `NARROW / n` is added. At a
    merge, the mean over the inputs is weighted by their variance, since that is how a gradient divides: at a sum of
    equal inputs evenly, but in a residual network, whose sums grow, mostly to the shortcut. Values are taken to be
    normal and inputs to be independent. At a product, all is that of the first input.
    """
    found = [_Output(0.0, 0.0, 1.0)]
    for node, shape in _nodes(architecture):
        output = _merged(node.merge, [found[source] for source in node.inputs])
        for layer, entering in _layers(node, shape):
            if layer in RECTIFIERS:
                output = _rectified(output, NARROW / prod(entering))
            elif isinstance(layer, BatchNorm):
                output = _Output(output.depth, 0.0, 1.0)
        found.append(output)
    return [output.depth for output in found]


def relu_shift(depth: float) -> float:
    """Shift of batch norms for which gradients grow over this depth as over `SHALLOW` without a shift; 0 below it."""
    wanted = gradient_growth(0.0) ** (SHALLOW / depth) if depth > SHALLOW else inf
    low, high = 0.0, WIDEST_SHIFT
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if gradient_growth(middle) > wanted else (low, middle)
    return low


def gradient_growth(shift: float) -> float:
    """Factor on the expected square of a gradient, back through a convolution, batch norm and ReLU of a wide network.

    For z from the standard normal distribution, the ReLU multiplies it by `P(z + shift > 0)`, and the batch norm
    divides it by the variance of `max(z + shift, 0)`. Without a shift, this is pi / (pi - 1).
    """
    return _GAUSS.cdf(shift) / _rectified_moments(shift)[1]


def _rectified_moments(shift: float) -> tuple[float, float]:
    """Mean and variance of `max(z + shift, 0)` for z from the standard normal distribution."""
    if shift > WIDEST_SHIFT:  # where the variance below would be the difference of large numbers
        return shift, 1.0
    passing, density = _GAUSS.cdf(shift), _GAUSS.pdf(shift)
    mean = density + shift * passing
    return mean, (1 + shift**2) * passing + shift * density - mean**2


@dataclass(frozen=True)
class _Output:
    """Depth of a node's output, and mean and variance of its values."""

    depth: float
    mean: float
    variance: float


def _merged(merge: str, inputs: Sequence[_Output]) -> _Output:
    if len(inputs) == 1 or merge == "product":
        return inputs[0]
    total = sum(each.variance for each in inputs)
    depth = sum(each.variance * each.depth for each in inputs) / total
    mean = sum(each.mean for each in inputs)
    gate = {"weighted_sum": GATE, "mean": 1 / len(inputs)}.get(merge, 1.0)
    if merge == "concat":
        return _Output(depth, mean / len(inputs), total / len(inputs))
    return _Output(depth, gate * mean, gate**2 * total)


def _rectified(output: _Output, narrow: float) -> _Output:
    """The same after a ReLU, whose narrowness adds to the depth."""
    deviation = output.variance**0.5
    shift = output.mean / deviation
    mean, variance = _rectified_moments(shift)
    depth = output.depth + log(gradient_growth(shift)) / log(gradient_growth(0.0)) + narrow
    return _Output(depth, deviation * mean, deviation**2 * variance)


def _exposed(architecture: Architecture) -> list[bool]:
    """Whether each node's output reaches the classifier without passing a batch norm."""
    exposed = [False] * len(architecture.nodes)
    exposed[-1] = True
    for number in range(len(exposed) - 1, 0, -1):
        node, shape = architecture.nodes[number], architecture.entering()[number]
        if exposed[number] and not any(isinstance(layer, BatchNorm) for layer, _ in _layers(node, shape)):
            for source in node.inputs:
                exposed[source] = True
    return exposed


def _nodes(architecture: Architecture) -> Iterator[tuple[Node, Shape]]:
    """All nodes but the input, with the shapes that enter their operations."""
    return zip(architecture.nodes[1:], architecture.entering()[1:], strict=True)


def _layers(node: Node, shape: Shape) -> Iterator[tuple[Layer, Shape]]:
    """Layers of a node, with the shapes that enter them."""
    for layer in layers(node.operation, Width(shape[0], node.channels, node.stride, len(shape) - 1)):
        yield layer, shape
        shape = layer.output(shape)


def _fill_kernel(part: nn.Conv1d | nn.Conv2d | nn.Linear, share: float, generator: torch.Generator) -> None:
    """Fill a kernel of which the random part has this share of the squared norm; the rest is an identity."""
    weight = part.weight
    groups = 1 if isinstance(part, nn.Linear) else part.groups
    deviation = (2 / (weight.shape[0] // groups * prod(weight.shape[2:]))) ** 0.5
    _fill(weight, deviation * share**0.5, generator)
    if share < 1:
        identity = _identity(weight)
        norm = deviation * weight.numel() ** 0.5
        weight.add_(identity, alpha=(1 - share) ** 0.5 * norm / float(identity.norm()))


def _identity(weight: Tensor) -> Tensor:
    """Kernel whose outputs are copies of the inputs in turn, or sums of several inputs if there are fewer outputs."""
    outputs, inputs = torch.arange(weight.shape[0])[:, None], torch.arange(weight.shape[1])
    fewer = min(weight.shape[:2])
    identity = torch.zeros_like(weight)
    centre = identity.view(*weight.shape[:2], -1)[:, :, prod(weight.shape[2:]) // 2]
    centre.copy_(outputs % fewer == inputs % fewer)
    return identity


def _fill(weight: Tensor, deviation: float, generator: torch.Generator) -> None:
    """Fill a weight with normal values drawn on the CPU in float32, so that they are the same on every device."""
    weight.copy_(torch.randn(weight.shape, generator=generator) * deviation)
