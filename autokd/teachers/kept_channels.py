"""Which of its teacher's channels a slim copy keeps.

Channels that must be equal, as those that meet in a sum, are kept together (`OpenGraph`). The most important ones are
those that contribute most to the layers behind them: the root mean square of a channel over samples and positions,
times the L2 norm of the weights by which a layer reads it, over the mean of the layer's channels, added up over all
layers that do [ours; He et al. 2017, https://arxiv.org/abs/1707.06168, choose for one layer by a LASSO].
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import accumulate
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.architecture.format import Architecture, Node
from search_spaces.design.open_graph import FLATTENING, SHUFFLE, OpenGraph
from search_spaces.networks.network import Network

__all__ = ["DENSE", "FRESH", "NORMS", "KeptChannels", "joined", "kept_channels", "mixes", "most_important", "parts"]

FRESH = -1
"""In place of the teacher's channel, for a channel that it does not have."""

DENSE = (nn.Conv1d, nn.Conv2d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)

KeptChannels = Tensor
"""int64: for each channel of the copy the teacher's that it keeps, or `FRESH`."""


def kept_channels(
    copy: Architecture, teacher: Network, batches: Iterable[Tensor], classes: Sequence[int] | None = None
) -> list[KeptChannels]:
    """The channels that are kept of each node's outputs.

    Args:
        copy: The teacher's graph with other widths.
        teacher: The teacher, in evaluation mode.
        batches: Some inputs of the teacher.
        classes: The copy's classes among the teacher's; None if they are the same.
    """
    graph, opened = teacher.architecture, OpenGraph.of(teacher.architecture)
    importance, last = _importance(teacher, opened, batches), opened.group_of[-1]

    def of_group(group: int) -> KeptChannels:
        node, width = graph.nodes[group], copy.nodes[group].channels
        if group in opened.free:
            return most_important(importance.get(group, torch.zeros(node.channels)), width)
        if group in opened.joining:
            joint, n_positions = _joint(opened, group)
            of_sources = [of_group(opened.group_of[source]) for source in joint.inputs]
            together = joined(of_sources, _sizes(graph, joint))
            if joint.operation == SHUFFLE:
                return _shuffled(together, node.channels)
            return _at_each_position(together, n_positions)
        kept = torch.tensor(classes) if classes and group == last else torch.arange(node.channels)
        return kept if len(kept) == width else torch.full((width,), FRESH)

    found = {group: of_group(group) for group in {*opened.group_of}}
    return [found[group] for group in opened.group_of]


def most_important(importance: Tensor, width: int) -> KeptChannels:
    """So many channels, the most important ones, in their order, and fresh ones behind them if there are too few."""
    chosen = importance.argsort(descending=True, stable=True)[:width].sort().values
    return F.pad(chosen, (0, width - len(chosen)), value=FRESH)


def joined(channels: Sequence[KeptChannels], sizes: Sequence[int]) -> KeptChannels:
    """Channels of a concatenation.

    Args:
        channels: Those of its parts.
        sizes: How many the teacher has of each part.
    """
    starts = accumulate(sizes, initial=0)
    pairs = zip(channels, starts, strict=False)
    return torch.cat([torch.where(part == FRESH, FRESH, part + start) for part, start in pairs])


def mixes(layer: nn.Module) -> bool:
    """Whether each output channel of a layer is computed from all input channels."""
    return isinstance(layer, DENSE) and getattr(layer, "groups", 1) == 1


def parts(network: Network, name: str) -> list[nn.Module]:
    """The layers of a node, in order."""
    module = network.get_submodule(name)
    return list(module) if isinstance(module, nn.Sequential) else [module]


def _importance(teacher: Network, opened: OpenGraph, batches: Iterable[Tensor]) -> dict[int, Tensor]:
    """How important each channel of each free group is, float32, on the CPU; groups that no layer reads are missing."""
    found: dict[int, Tensor] = {}

    def add(node: Node, layer: nn.Module, entering: Tensor) -> None:
        shares = _contributions(layer, entering)
        shares = shares / shares.mean().clamp_min(torch.finfo(shares.dtype).tiny)
        sources = node.inputs if node.merge == "concat" else node.inputs[:1]
        own_shares = torch.split(shares, [opened.graph.nodes[source].channels for source in sources])
        for source, own in zip(sources, own_shares, strict=True):
            for group, share in _by_group(opened, opened.group_of[source], own):
                found[group] = found.get(group, torch.zeros_like(share)) + share

    with ExitStack() as hooks:
        for node, name in list(zip(opened.graph.nodes, opened.graph.names, strict=True))[1:]:
            first = next((each for each in parts(teacher, name) if isinstance(each, DENSE)), None)
            if first is not None:
                hook = first.register_forward_pre_hook(lambda layer, given, node=node: add(node, layer, given[0]))
                hooks.callback(hook.remove)
        for batch in batches:
            teacher(batch)
    return found


def _contributions(layer: nn.Module, entering: Tensor) -> Tensor:
    """Root mean square of each channel of a layer's inputs, times the norm of the weights that read it."""
    weight = layer.get_parameter("weight")
    by_channel = weight if getattr(layer, "groups", 1) > 1 else weight.transpose(0, 1)
    values = entering.transpose(0, 1).flatten(1)
    found: Tensor = values.square().mean(1).sqrt() * by_channel.flatten(1).norm(dim=1)
    return found.float().cpu()


def _by_group(opened: OpenGraph, group: int, shares: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Shares of a group's channels, as those of the free groups of which it is joined."""
    if group not in opened.joining:
        yield group, shares
        return
    joint, n_positions = _joint(opened, group)
    is_shuffled = joint.operation == SHUFFLE
    by_channel = shares.view(-1, 2).T.flatten() if is_shuffled else shares.view(-1, n_positions).norm(dim=1)
    for source, own in zip(joint.inputs, torch.split(by_channel, _sizes(opened.graph, joint)), strict=True):
        yield from _by_group(opened, opened.group_of[source], own)


def _joint(opened: OpenGraph, group: int) -> tuple[Node, int]:
    """The node that joins others to a group, and at how many positions it takes each of their channels."""
    number = opened.joining[group]
    node = opened.graph.nodes[number]
    return node, prod(opened.graph.entering()[number][1:]) if node.operation == FLATTENING else 1


def _sizes(graph: Architecture, node: Node) -> list[int]:
    return [graph.nodes[source].channels for source in node.inputs]


def _at_each_position(channels: KeptChannels, n_positions: int) -> KeptChannels:
    """Values of the vector of a map with these channels."""
    values = channels[:, None] * n_positions + torch.arange(n_positions)
    return torch.where(channels[:, None] == FRESH, FRESH, values).flatten()


def _shuffled(channels: KeptChannels, n_channels: int) -> KeptChannels:
    """Channels of two halves, one after the other, as a shuffle alternates them.

    Args:
        channels: Those of the halves together.
        n_channels: How many the teacher has of both together.
    """
    alternating = channels.view(2, -1).T.flatten()
    half = n_channels // 2
    return torch.where(alternating == FRESH, FRESH, alternating % half * 2 + alternating // half)
