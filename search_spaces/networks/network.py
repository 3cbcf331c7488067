"""The PyTorch module of an architecture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.architecture.format import Architecture, Node
from search_spaces.architecture.layers import Layer, Shape
from search_spaces.architecture.operations import Width, layers
from search_spaces.errors import SpaceError
from search_spaces.networks import modules
from search_spaces.networks.initialisation import initialise
from search_spaces.networks.kernels.batch_norm import BatchNorm2d
from search_spaces.networks.kernels.bindings import is_traced
from search_spaces.networks.kernels.convolution import Conv2d
from search_spaces.networks.kernels.pooling import AvgPool2d
from search_spaces.networks.merging import concatenated, gathered, mean, product, spread, summed, weighted_sum

__all__ = ["Network", "build"]

Gates = tuple[Tensor, ...]
Readers = tuple[int | None, ...]
"""Index of the gate of each reader of a tensor, None if it has none; in reverse order of execution."""


def build(
    architecture: Architecture,
    seed: int = 0,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Network:
    """Network with initial weights that depend only on `seed`; global random states are neither read nor changed.

    Args:
        architecture: What to build.
        seed: Seed of the initial weights; see `initialisation.py`.
        device: Device of the weights; their values are the same on every device.
        dtype: Data type of the weights.

    Raises:
        SpaceError: If a node's name is an attribute of `nn.Module`.
    """
    network = Network(architecture, device="meta", dtype=dtype)
    network.to_empty(device=device or torch.get_default_device())
    initialise(network, architecture, seed)
    return network


class Network(nn.Module):
    """Module that runs the nodes of an architecture in order and frees each tensor after its last use.

    Every node but the input is a child module under the node's name, in execution order; it is an `nn.Identity` if the
    node only merges its inputs. A child may be replaced by another module under the same name. All merge weights are
    one parameter, `merge_weights`, in the order of nodes and their inputs, so that a forward pass needs a single
    sigmoid. The ReLU of a merging node overwrites its input: a hook that keeps the input, or a call of the child alone,
    must copy it first.

    Use `build` for weights that do not depend on torch's global random state.

    Args:
        architecture: What to build; it is stored as `architecture`.
        device: Device of the weights.
        dtype: Data type of the weights.

    Raises:
        SpaceError: If a node's name is an attribute of `nn.Module`.
    """

    merge_weights: nn.Parameter

    def __init__(
        self,
        architecture: Architecture,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        named = zip(architecture.nodes, architecture.names, architecture.entering(), strict=True)
        for node, name, shape in islice(named, 1, None):
            if hasattr(self, name):
                raise SpaceError(
                    f"A node's name must not be an attribute of `nn.Module`, but got {name!r}. Choose another name."
                )
            self.add_module(name, _module(node, shape, device, dtype))
        self._steps = _steps(architecture)
        self._readers = _readers(self._steps)
        self._n_gates = sum(len(node.inputs) for node in architecture.nodes if node.merge == "weighted_sum")
        if self._n_gates:
            self.merge_weights = nn.Parameter(torch.ones(self._n_gates, device=device, dtype=dtype))

    def forward(self, image: Tensor) -> Tensor:
        """Logits, `batch x classes`, of inputs whose shape is `batch x` the architecture's `input_shape`."""
        gates: Gates = torch.sigmoid(self.merge_weights).unbind() if self._n_gates else ()
        learning = torch.is_grad_enabled() and not is_traced()
        weighted, trained = (gathered, gates) if learning else (weighted_sum, ())
        unread = [_copies(image, self._readers[0], trained)]
        for step, module, readers in zip(self._steps, self._modules.values(), self._readers[1:], strict=True):
            tensors = [unread[source].pop() for source in step.inputs]
            entering = weighted(gates[step.gates], *tensors) if step.gates else _MERGES[step.merge](*tensors)
            del tensors  # otherwise they would stay alive while the module runs,
            unread.append(_copies(cast(nn.Module, module)(entering), readers, trained))
            del entering  # and this tensor during the next node's merge
        return unread[-1].pop()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Set all merge weights to 1; the layers have a function of this name for theirs."""
        if self._n_gates:
            self.merge_weights.fill_(1.0)


@dataclass(frozen=True)
class _Step:
    """Merge and inputs of a node; `gates` are the positions of a weighted sum's gates among the network's."""

    merge: str
    inputs: tuple[int, ...]
    gates: slice | None = None


def _steps(architecture: Architecture) -> list[_Step]:
    steps: list[_Step] = []
    start = 0
    for node in architecture.nodes[1:]:
        if node.merge == "weighted_sum":
            steps.append(_Step(node.merge, node.inputs, slice(start, start + len(node.inputs))))
            start += len(node.inputs)
        else:
            steps.append(_Step(node.merge, node.inputs))
    return steps


def _readers(steps: list[_Step]) -> list[Readers]:
    """Readers of each node's output; the caller reads that of the last node."""
    readers: list[list[int | None]] = [[] for _ in range(len(steps) + 1)]
    readers[-1].append(None)
    for step in reversed(steps):
        numbers = range(step.gates.start, step.gates.stop) if step.gates else [None] * len(step.inputs)
        for source, number in zip(step.inputs, numbers, strict=True):
            readers[source].append(number)
    return [tuple(of_one) for of_one in readers]


def _copies(tensor: Tensor, readers: Readers, gates: Gates) -> list[Tensor]:
    """The tensor once for each reader, so that it is freed after the last one."""
    if gates and any(number is not None for number in readers):
        return spread(tensor, [None if number is None else gates[number] for number in readers])
    return [tensor] * len(readers)


def _only(tensor: Tensor) -> Tensor:
    return tensor


_MERGES: dict[str, Callable[..., Tensor]] = {
    "none": _only,
    "sum": summed,
    "mean": mean,
    "concat": concatenated,
    "product": product,
}


_FASTER: dict[str, type[nn.Module]] = {"AvgPool2d": AvgPool2d, "BatchNorm2d": BatchNorm2d, "Conv2d": Conv2d}
"""Faster replacements of classes of `torch.nn`, by name."""


class _OverwritingReLU(nn.ReLU):
    """In-place ReLU for the first layer of a node with a merge, whose result no other node reads.

    It is not in place if autograd forbids it: for a view, which a backward hook on the node passes in, and for a leaf.
    """

    def forward(self, input: Tensor) -> Tensor:
        kept = is_traced() or input._is_view() or (input.is_leaf and input.requires_grad)
        return F.relu(input, inplace=not kept)


def _module(node: Node, shape: Shape, device: torch.device | str | None, dtype: torch.dtype | None) -> nn.Module:
    """Module of a node's layers, an `nn.Sequential` if there are several."""
    made: list[nn.Module] = []
    for layer in layers(node.operation, Width(shape[0], node.channels, node.stride, len(shape) - 1)):
        made.append(_torch_layer(layer, shape, device, dtype))
        shape = layer.output(shape)
    if not made:
        return nn.Identity()
    if node.merge != "none" and isinstance(made[0], nn.ReLU):
        made[0] = _OverwritingReLU()
    return made[0] if len(made) == 1 else nn.Sequential(*made)


def _torch_layer(layer: Layer, shape: Shape, device: torch.device | str | None, dtype: torch.dtype | None) -> nn.Module:
    call = layer.call(shape)
    keywords = dict(call.keywords)
    if layer.parameters:
        keywords |= {"device": device, "dtype": dtype}
    made = _FASTER.get(call.name) or getattr(modules if call.own else nn, call.name)
    module = made(*call.arguments, **keywords)
    assert isinstance(module, nn.Module)
    return module
