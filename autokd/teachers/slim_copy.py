"""First weights of a slim copy of the teacher: as much of the teacher's as fits into fewer channels.

A slim copy has the teacher's graph with other widths, and keeps some of its channels (`kept_channels.py`). It is filled
layer by layer, each fitted to what the layers before it in the copy really give:

* A convolution or linear layer gets the weights by which the copy's own inputs give, by least squares, most nearly what
  the teacher's layer gives in these channels (He et al. 2017, https://arxiv.org/abs/1707.06168, equation 1). A small
  ridge draws them towards the kept weights [ours], and layers on both sides of a sum are fitted like all others [ours].
* Batch norms keep scale and shift; their running statistics are those of the copy [ours].
* Bottlenecks without an activation are turned into their principal components first (`principal_channels.py`).

Channels beyond the teacher's number have fresh weights, and so have nodes that do anything else than convolutions,
linear layers and batch norms, such as attention.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autokd.teachers.kept_channels import (
    DENSE,
    FRESH,
    NORMS,
    KeptChannels,
    joined,
    kept_channels,
    mixes,
    most_important,
    parts,
)
from autokd.teachers.principal_channels import in_principal_channels
from search_spaces.architecture.format import Architecture
from search_spaces.architecture.patterns import ACTIVATION_LAYERS
from search_spaces.networks.network import Network, build

__all__ = ["fill", "least_squares", "most_samples"]

RIDGE = 0.01  # over the mean variance of a layer's inputs
TINY = 1e-30  # of a ridge where all inputs are 0
POSITIONS = 20_000  # of all samples together, at which a layer is fitted
MOST_SAMPLES = 2_000
MOST_ELEMENTS = 2**25  # of the copy's largest map of all samples together
MOST_VALUES = 4_096  # that a layer sees at a position; with more, it is fitted at so many points
TO_CHOOSE = 5  # batches of samples by which channels are chosen
AT_ONCE = 100  # samples of which the teacher's maps, or all patches of the copy's, are in memory together

_OTHERS = (
    *(nn.Identity, nn.Dropout, nn.Flatten, *(getattr(nn, layer.kind) for layer in ACTIVATION_LAYERS.values())),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d),
)
"""Layers without weights that leave the order of channels as it is."""


def most_samples(copy: Architecture) -> int:
    """How many samples `fill` should get: fewer where the copy's maps are large, so that they fit into memory."""
    return max(1, min(MOST_SAMPLES, MOST_ELEMENTS // max(map(prod, copy.entering()))))


@torch.no_grad()
def fill(
    copy: Network, teacher: Network, samples: Tensor, prepared: Tensor, classes: Sequence[int] | None = None
) -> None:
    """Give a slim copy first weights by those of its teacher, in place.

    Args:
        copy: A fresh network of the space `like-teacher`.
        teacher: The teacher in the one format, whose inputs have the same shape.
        samples: Inputs of the copy, `batch x` its input shape, on the device of both networks.
        prepared: What the teacher gets for these samples, of the same shape.
        classes: The copy's classes among the teacher's; None if they are the same.
    """
    was_training, batches = copy.training, torch.split(prepared, AT_ONCE)
    teacher = in_principal_channels(_in_order_of(copy.architecture, teacher).eval(), batches[:TO_CHOOSE])
    channels = kept_channels(copy.architecture, teacher, batches[:TO_CHOOSE], classes)
    layers = list(_layers(copy, teacher, channels))
    for layer in layers:
        layer.keep()
    if isinstance(gates := getattr(copy, "merge_weights", None), nn.Parameter):
        gates.copy_(teacher.merge_weights)
    wanted = {number: _Points(len(prepared), number) for number, layer in enumerate(layers) if layer.is_dense}

    def note(number: int, outputs: Tensor) -> None:
        wanted[number].add(_as_map(outputs)[:, layers[number].kept])

    def fit(number: int, inputs: Tensor) -> None:
        layer = layers[number]
        if not layer.is_dense:
            _settle(layer.copy, inputs)
            return
        seen = _Points(len(inputs), number)
        for part in torch.split(inputs, AT_ONCE):
            seen.add(_patches(layer.copy, part))
        layer.fit(seen.values, wanted.pop(number).values)

    with ExitStack() as hooks:
        for number, layer in enumerate(layers):
            if layer.is_dense:
                noting = layer.teacher.register_forward_hook(
                    lambda _, __, outputs, number=number: note(number, outputs)
                )
                hooks.callback(noting.remove)
            fitting = layer.copy.register_forward_pre_hook(lambda _, inputs, number=number: fit(number, inputs[0]))
            hooks.callback(fitting.remove)
        for batch in batches:
            teacher(batch)
        copy.eval()(samples)
    copy.train(was_training)


def least_squares(x: Tensor, y: Tensor, prior: Tensor, is_shifted: bool) -> tuple[Tensor, Tensor]:
    """Weights w and offsets b that make x w + b nearest to y, with a ridge of strength `RIDGE` towards a prior.

    Args:
        x: `systems x points x values`.
        y: `systems x points x outputs`.
        prior: `systems x values x outputs`.
        is_shifted: Whether there are offsets; otherwise they are 0.
    """
    x, y = (each[:, : MOST_VALUES if x.shape[2] > MOST_VALUES else None] for each in (x, y))
    means = [each.mean(1, keepdim=True) if is_shifted else torch.zeros_like(each[:, :1]) for each in (x, y)]
    x, y = x - means[0], y - means[1] - (x - means[0]) @ prior  # what the prior leaves
    ridge = RIDGE * x.square().sum(1).mean(1).clamp_min(TINY)[:, None, None]
    if x.shape[1] < x.shape[2]:
        change = x.mT @ torch.linalg.solve(x @ x.mT + ridge * torch.eye(x.shape[1], dtype=x.dtype), y)
    else:
        change = torch.linalg.solve(x.mT @ x + ridge * torch.eye(x.shape[2], dtype=x.dtype), x.mT @ y)
    found = prior + change
    return found, means[1] - means[0] @ found


@dataclass(frozen=True)
class _Layer:
    """A layer with weights, in both networks.

    Attributes:
        copy: That of the copy.
        teacher: That of the teacher.
        entering: Channels of its inputs.
        leaving: Channels of its outputs.
        is_shifted: Whether a bias, or a batch norm right behind it, decides the mean of its outputs.
    """

    copy: nn.Module
    teacher: nn.Module
    entering: KeptChannels
    leaving: KeptChannels
    is_shifted: bool

    @property
    def rows(self) -> Tensor:
        """Output channels of the copy that the teacher has, too."""
        return (self.leaving != FRESH).nonzero().flatten()

    @property
    def kept(self) -> Tensor:
        """Their channels of the teacher."""
        return self.leaving[self.rows]

    @property
    def is_dense(self) -> bool:
        """Whether its weights are fitted."""
        return isinstance(self.copy, DENSE)

    @property
    def is_by_channel(self) -> bool:
        """Whether it is a depthwise convolution, of which the copy may have one channel left, or a batch norm."""
        return getattr(self.teacher, "groups", 1) > 1 or isinstance(self.copy, NORMS)

    def keep(self) -> None:
        """Keep the teacher's weights between the channels that the copy has; those from other channels are 0."""
        given = self.teacher.state_dict()
        for name, own in self.copy.state_dict().items():
            if own.ndim == 0:  # a batch norm counts its batches
                continue
            kept = given[name].to(own)[self.kept]
            if own.ndim > 1 and not self.is_by_channel:
                kept = kept[:, self.entering.clamp_min(0)]
                kept[:, self.entering == FRESH] = 0
            own[self.rows] = kept

    def fit(self, inputs: Tensor, outputs: Tensor) -> None:
        """Let the layer give these outputs as nearly as possible.

        Args:
            inputs: Float64, `points x values`, as `_patches` has them.
            outputs: Float64, `points x` the kept channels, at the same points.
        """
        rows, weight = self.rows, self.copy.get_parameter("weight")
        prior = weight[rows].flatten(1).double().cpu()
        if self.is_by_channel:
            x = inputs.view(len(inputs), len(weight), -1)[:, rows].transpose(0, 1)
            found, offset = least_squares(x, outputs.T[..., None], prior[..., None], self.is_shifted)
        else:
            found, offset = least_squares(inputs[None], outputs[None], prior.T[None], self.is_shifted)
        weight[rows] = found.mT.flatten(0, 1).view_as(weight[rows]).to(weight)
        if isinstance(bias := getattr(self.copy, "bias", None), nn.Parameter):
            bias[rows] = offset.flatten().to(bias)


def _in_order_of(copy: Architecture, teacher: Network) -> Network:
    """The teacher with its nodes in the order of a copy's, which may execute branches in another one."""
    graph = teacher.architecture
    if graph.names == copy.names or {*graph.names} != {*copy.names}:
        return teacher
    numbers = [graph.names.index(name) for name in copy.names]
    nodes = [replace(graph.nodes[number], inputs=node.inputs) for number, node in zip(numbers, copy.nodes, strict=True)]
    ordered = build(replace(graph, nodes=tuple(nodes))).to(next(teacher.parameters()))
    weights = teacher.state_dict()
    if "merge_weights" in weights:
        gates = dict(zip(_gated(graph), weights["merge_weights"], strict=True))
        weights["merge_weights"] = torch.stack([gates[pair] for pair in _gated(ordered.architecture)])
    ordered.load_state_dict(weights)
    return ordered


def _gated(graph: Architecture) -> list[tuple[str, str]]:
    """Each node that weighs its inputs and each of these, by name, in the order of a network's merge weights."""
    named = zip(graph.nodes, graph.names, strict=True)
    return [(name, graph.names[each]) for node, name in named if node.merge == "weighted_sum" for each in node.inputs]


def _layers(copy: Network, teacher: Network, channels: Sequence[KeptChannels]) -> Iterator[_Layer]:
    """All layers whose weights the copy can have from the teacher, in the order in which they run."""
    nodes = teacher.architecture.nodes
    for node, name, leaving in list(zip(nodes, copy.architecture.names, channels, strict=True))[1:]:
        own, given = parts(copy, name), parts(teacher, name)
        if all(isinstance(part, (*DENSE, *NORMS, *_OTHERS)) for part in own):
            sources = node.inputs if node.merge == "concat" else node.inputs[:1]
            entering = joined([channels[each] for each in sources], [nodes[each].channels for each in sources])
            yield from _layers_of_node(own, given, entering, leaving)


def _layers_of_node(
    copies: Sequence[nn.Module], teachers: Sequence[nn.Module], entering: KeptChannels, leaving: KeptChannels
) -> Iterator[_Layer]:
    """The layers of a node; the last of them that mixes channels gives those of the node.

    Args:
        copies: Modules of the copy's node.
        teachers: Those of the teacher's.
        entering: Channels of the node's inputs.
        leaving: Channels of its outputs.
    """
    dense = [own for own, given in zip(copies, teachers, strict=True) if mixes(given)]
    for own, given, behind in zip(copies, teachers, [*copies[1:], None], strict=True):
        if isinstance(own, _OTHERS):
            continue
        after = entering
        if own in dense:
            after = leaving if own is dense[-1] else _largest(given, own)
        yield _Layer(own, given, entering, after, isinstance(behind, NORMS) or getattr(own, "bias", None) is not None)
        entering = after


def _largest(teacher: nn.Module, copy: nn.Module) -> KeptChannels:
    """Channels between two layers of a node: those of the teacher's with the largest weights."""
    weight = teacher.get_parameter("weight").detach().flatten(1)
    return most_important(weight.norm(dim=1).cpu(), len(copy.get_parameter("weight")))


class _Points:
    """Values of maps at some positions of each sample, the same positions for the same seed.

    Args:
        n_samples: Number of samples.
        seed: Seed of the positions.
    """

    def __init__(self, n_samples: int, seed: int) -> None:
        self._n_places = max(1, POSITIONS // n_samples)
        self._generator = torch.Generator().manual_seed(seed)
        self._found: list[Tensor] = []

    def add(self, maps: Tensor) -> None:
        """Values of the next samples, `samples x values x positions`, always as many at once but for the last time."""
        size = len(maps), min(self._n_places, maps.shape[2])
        places = torch.randint(maps.shape[2], size, generator=self._generator).to(maps.device)
        chosen = maps.gather(2, places[:, None].expand(-1, maps.shape[1], -1))
        self._found.append(chosen.transpose(1, 2).flatten(0, 1).cpu())

    @property
    def values(self) -> Tensor:
        """Float64, `points x values`, on the CPU."""
        return torch.cat(self._found).double()


def _as_map(outputs: Tensor) -> Tensor:
    """Outputs as `samples x channels x positions`."""
    return outputs.flatten(2) if outputs.ndim > 2 else outputs[..., None]


def _patches(layer: nn.Module, inputs: Tensor) -> Tensor:
    """The values that a layer sees at each position of its outputs, `samples x values x positions`."""
    if isinstance(layer, nn.Linear):
        return inputs[..., None]
    assert isinstance(layer, nn.Conv1d | nn.Conv2d)
    assert not isinstance(layer.padding, str)
    rows = inputs if inputs.ndim > 3 else inputs[:, :, None]  # a signal is an image of one row
    kernel, dilation, stride = (_pair(each, 1) for each in (layer.kernel_size, layer.dilation, layer.stride))
    return F.unfold(rows, kernel, dilation, _pair(layer.padding, 0), stride)


def _pair(numbers: Sequence[int], first: int) -> tuple[int, int]:
    """Two numbers, of which a signal's layer has the second one only."""
    return (first, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def _settle(norm: nn.Module, inputs: Tensor) -> None:
    """Let the running statistics of a batch norm be those of its inputs."""
    values = _as_map(inputs).transpose(0, 1).flatten(1)
    norm.get_buffer("running_mean").copy_(values.mean(1))
    norm.get_buffer("running_var").copy_(values.var(1, correction=0))
