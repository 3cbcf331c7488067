"""Folding of batch norm into the convolution before it: the same function in inference with less work and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import BatchNorm, Layer
from search_spaces.architecture.operations import Width, folded, is_folded_into, layers

__all__ = ["fold", "fold_weights"]

EPSILON = 1e-5
"""The default of `nn.BatchNorm2d`, which all our networks use."""


def fold(architecture: Architecture) -> Architecture:
    """The same architecture with a bias in place of each batch norm that directly follows a convolution."""
    nodes = tuple(replace(node, operation=folded(node.operation)) for node in architecture.nodes)
    return replace(architecture, nodes=nodes)


def fold_weights(architecture: Architecture, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict for `fold(architecture)`, which then computes in inference what `architecture` computes with `state`.

    Scales and shifts are computed in float64 and rounded once, so the two results differ by rounding only.
    """
    result = {name: tensor for name, tensor in state.items() if name == "merge_weights"}
    named = zip(architecture.nodes, architecture.names, architecture.entering(), strict=True)
    for node, name, shape in list(named)[1:]:
        made = layers(node.operation, Width(shape[0], node.channels, node.stride, len(shape) - 1))
        parts = [_part(state, _prefix(name, place, len(made))) for place in range(len(made))]
        merged = _fold_parts(made, parts)
        for place, part in enumerate(merged):
            result |= {_prefix(name, place, len(merged)) + key: tensor for key, tensor in part.items()}
    return result


def _prefix(name: str, place: int, n_layers: int) -> str:
    """Prefix of a layer's keys; a node of several layers is an `nn.Sequential`."""
    return f"{name}." if n_layers == 1 else f"{name}.{place}."


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}


def _fold_parts(made: tuple[Layer, ...], parts: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    folded: list[dict[str, Tensor]] = []
    for place, (layer, part) in enumerate(zip(made, parts, strict=True)):
        if isinstance(layer, BatchNorm) and place and is_folded_into(made[place - 1]):
            folded[-1] = _scaled(folded[-1], part)
        else:
            folded.append(part)
    return folded


def _scaled(convolution: Mapping[str, Tensor], norm: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weight and bias of a convolution after its batch norm is folded into it."""
    weight, shift = convolution["weight"], -norm["running_mean"].double()
    if "bias" in convolution:
        shift += convolution["bias"].double()
    scale = norm["weight"].double() * torch.rsqrt(norm["running_var"].double() + EPSILON)
    scaled = weight.double() * scale.view(-1, *[1] * (weight.ndim - 1))
    return {"weight": scaled.to(weight.dtype), "bias": (norm["bias"].double() + shift * scale).to(weight.dtype)}
