"""A teacher whose linear maps are in the basis of their principal components, so that a slim copy loses little of them.

A bottleneck of MobileNet or EfficientNet has no activation: convolutions write it, sums join it, other convolutions
read it. So its channels can be turned by any rotation that its readers undo, and the network computes the same. In the
basis of the principal components few channels hold most of what is read, whereas each of the teacher's own holds about
as much as any other [ours; Ashkboos et al. 2024, https://arxiv.org/abs/2401.15024, turn transformers so].
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from autokd.teachers.kept_channels import NORMS, mixes, parts
from search_spaces.architecture.format import Node
from search_spaces.design.open_graph import OpenGraph
from search_spaces.networks.network import Network

__all__ = ["in_principal_channels"]

_MERGES = ("none", "sum", "mean", "weighted_sum")
_PASSING = (nn.Identity, nn.Flatten, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)
"""Layers that are linear and do the same to each channel."""


@torch.no_grad()
def in_principal_channels(teacher: Network, batches: Iterable[Tensor]) -> Network:
    """The teacher with its linear maps turned, which computes the same; the teacher itself if it has none.

    The components are those of what layers read, the covariance of each layer's inputs divided by its trace.

    Args:
        teacher: In evaluation mode; it is not changed.
        batches: Some of its inputs.
    """
    turned = deepcopy(teacher)
    found = list(_linear_maps(turned))
    if not found:
        return teacher
    with ExitStack() as hooks:
        for maps in found:
            for reader in maps.readers:
                hooks.callback(reader.watch().remove)
            for writer in maps.writers:
                hooks.callback(writer.watch().remove)
        for batch in batches:
            turned(batch)
    for maps in found:
        maps.turn()
    return turned


class _Moments:
    """Sums over samples and positions, from which the covariance of channels follows."""

    def __init__(self) -> None:
        self._n = 0
        self._sum: Tensor | float = 0.0
        self._products: Tensor | float = 0.0

    def add(self, values: Tensor) -> None:
        by_channel = values.transpose(0, 1).flatten(1).double()
        self._n += by_channel.shape[1]
        self._sum = self._sum + by_channel.sum(1)
        self._products = self._products + by_channel @ by_channel.T

    @property
    def covariance(self) -> Tensor:
        mean = torch.as_tensor(self._sum) / self._n
        return torch.as_tensor(self._products) / self._n - torch.outer(mean, mean)


@dataclass(frozen=True)
class _Reader:
    """A layer that mixes channels, and what it reads."""

    layer: nn.Module
    inputs: _Moments = field(default_factory=_Moments)

    def watch(self) -> torch.utils.hooks.RemovableHandle:
        return self.layer.register_forward_pre_hook(lambda _, given: self.inputs.add(given[0]))

    def turn(self, basis: Tensor) -> None:
        weight = self.layer.get_parameter("weight")
        weight.copy_(torch.einsum("oi...,ij->oj...", weight.double(), basis))


@dataclass(frozen=True)
class _Writer:
    """A layer that mixes channels, perhaps with a batch norm behind it, and what the layer gives."""

    layer: nn.Module
    norm: nn.Module | None
    outputs: _Moments = field(default_factory=_Moments)

    def watch(self) -> torch.utils.hooks.RemovableHandle:
        return self.layer.register_forward_hook(lambda _, __, outputs: self.outputs.add(outputs))

    def turn(self, basis: Tensor) -> None:
        """Turn the outputs.

        The scale of the norm goes into the layer, and the deviation of each new channel takes its place, since a copy
        normalises by statistics of its own.
        """
        to_new = basis.T
        if self.norm is not None:
            eps = float(self.norm.eps)  # type: ignore[arg-type]
            state = {key: value.double() for key, value in self.norm.state_dict().items()}
            scale = state["weight"] / (state["running_var"] + eps).sqrt()
            to_new = to_new * scale
            variance = (to_new @ self.outputs.covariance @ to_new.T).diagonal()
            turned = {"running_mean": to_new @ state["running_mean"], "bias": basis.T @ state["bias"]}
            turned |= {"running_var": variance, "weight": (variance + eps).sqrt()}
            for key, value in turned.items():
                self.norm.state_dict()[key].copy_(value)
        for own in self.layer.parameters(recurse=False):
            own.copy_(torch.einsum("no,o...->n...", to_new, own.double()))


@dataclass(frozen=True)
class _LinearMaps:
    """Maps with the same channels, those who write them and those who read them."""

    writers: tuple[_Writer, ...]
    readers: tuple[_Reader, ...]

    def turn(self) -> None:
        covariances = [reader.inputs.covariance for reader in self.readers]
        shares = sum(each / each.trace().clamp_min(torch.finfo(each.dtype).tiny) for each in covariances)
        basis = torch.linalg.eigh(torch.as_tensor(shares)).eigenvectors.flip(1)  # by falling variance
        for writer in self.writers:
            writer.turn(basis)
        for reader in self.readers:
            reader.turn(basis)


def _linear_maps(network: Network) -> Iterator[_LinearMaps]:
    """Groups of maps that are only written, joined and read linearly."""
    graph, opened = network.architecture, OpenGraph.of(network.architecture)
    layers = {number: parts(network, name) for number, name in enumerate(graph.names) if number}
    for group in opened.free:
        members = [number for number, own in enumerate(opened.group_of) if own == group]
        passing = [number for number in members if _passes(graph.nodes[number], layers[number])]
        writers = [_writer(layers[number]) for number in members if number not in passing]
        reading = [number for number, node in enumerate(graph.nodes) if {*node.inputs} & {*members}]
        readers = [_reader(graph.nodes[number], layers[number]) for number in reading if number not in passing]
        if writers and readers and None not in writers and None not in readers:
            yield _LinearMaps(tuple(filter(None, writers)), tuple(filter(None, readers)))


def _passes(node: Node, layers: list[nn.Module]) -> bool:
    return node.merge in _MERGES and all(isinstance(layer, _PASSING) for layer in layers)


def _writer(layers: list[nn.Module]) -> _Writer | None:
    """The end of a node, if nothing follows a layer that mixes channels but perhaps a batch norm."""
    *_, last = layers
    norm = last if isinstance(last, NORMS) else None
    layer = layers[-2] if norm is not None and len(layers) > 1 else last
    return _Writer(layer, norm) if mixes(layer) else None


def _reader(node: Node, layers: list[nn.Module]) -> _Reader | None:
    """The beginning of a node with one input, if it is a layer that mixes channels."""
    return _Reader(layers[0]) if node.merge == "none" and mixes(layers[0]) else None
