"""Prune, then distil (Park and No 2022, https://arxiv.org/abs/2109.14960): a sparse teacher, and a student of its size.

The teacher loses its smallest weights over several rounds; a student is then given the widths at which its layers have
as many weights as the pruned teacher's, and learns from that teacher.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from autokd.errors import InputError

__all__ = ["prune_globally", "prune_iteratively", "remaining_widths", "remove_masks"]

Prunable = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear

_WEIGHT = "weight"


def prune_iteratively(
    network: nn.Module, retrain: Callable[[nn.Module], object], rounds: int, share: float = 0.2
) -> None:
    """Prune a trained network in rounds, in place: `(1 - share)^rounds` of its weights remain, the others are 0.

    As Park and No 2022: after each round the weights that remain go on from where they are, in a whole training with
    the schedule from its beginning (learning-rate rewinding, Renda et al. 2020, https://arxiv.org/abs/2003.02389).

    Args:
        network: Trained. In `retrain` it has masks, see `prune_globally`; in the end it has none.
        retrain: Trains the network's parameters once, in place, with an optimiser of its own.
        rounds: At least 1.
        share: Of the remaining weights, to be pruned in each round, in `(0, 1)`.

    Raises:
        InputError: If a setting makes no sense, or there is nothing to prune.
    """
    if rounds < 1:
        raise InputError(f"`rounds >= 1` must hold, but got {rounds=}.")
    for _ in range(rounds):
        prune_globally(network, share)
        retrain(network)
    remove_masks(network)


def prune_globally(network: nn.Module, share: float) -> None:
    """Set the smallest of the remaining weights of convolutions and linear layers to 0, over all layers, in place.

    Masks keep them at 0 in training: a pruned layer has the parameter `weight_orig` and the buffer `weight_mask`, of
    which each forward call makes `weight`. Until `remove_masks`, torch cannot copy such a network. Biases and batch
    norms stay.

    Args:
        network: May have been pruned before.
        share: Of the weights that are not pruned yet, in `(0, 1)`.

    Raises:
        InputError: If the share is outside of that, or there is nothing to prune.
    """
    if not 0 < share < 1:
        raise InputError(f"`0 < share < 1` must hold, but got {share=}.")
    layers = [layer for _, layer in _prunable(network)]
    if not layers:
        raise InputError(f"{type(network).__name__} has no convolution or linear layer whose weights could be pruned.")
    magnitudes = torch.cat([_magnitudes(layer) for layer in layers])
    n_pruned = round(share * int(magnitudes.isfinite().sum()))
    kept = torch.ones_like(magnitudes, dtype=torch.bool)
    kept[magnitudes.topk(n_pruned, largest=False).indices] = False
    masks = kept.split([layer.weight.numel() for layer in layers])  # type: ignore[no-untyped-call]
    for layer, mask in zip(layers, masks, strict=True):
        prune.custom_from_mask(layer, _WEIGHT, mask.reshape(layer.weight.shape))  # type: ignore[no-untyped-call]


def remove_masks(network: nn.Module) -> None:
    """Make what is pruned plain zeros in plain weights, in place; layers without masks are left as they are."""
    for _, layer in _prunable(network):
        if hasattr(layer, "weight_mask"):
            prune.remove(layer, _WEIGHT)  # type: ignore[no-untyped-call]


def remaining_widths(network: nn.Module) -> dict[str, int]:
    """Output channels for each layer of a student with about as many weights as remain in a pruned network.

    Park and No 2022: `c_l = round(nnz_l / (k_l^2 c_{l-1}))`, at least 1, from the first layer on; `c_0` is the number
    of channels of the samples, and the last layer keeps its outputs, the classes. What follows is ours, for networks
    that are no chains: the layer before is the latest that gives as many channels as this one takes, or, where a map is
    flattened, a divisor of it; where there is none, the inputs are taken as they are. Of a convolution in groups, the
    groups become fewer, not narrower.

    Args:
        network: Pruned, with masks or without; its layers are in the order in which they run.
    """
    widths: dict[str, int] = {}
    before: list[tuple[int, int]] = []  # channels that each layer gave and is to give
    layers = list(_prunable(network))
    for name, layer in layers:
        outputs, inputs, *kernel = layer.weight.shape
        fan_in = _channels_in(inputs, before, getattr(layer, "groups", 1)) * math.prod(kernel)
        remaining = int(layer.weight.detach().count_nonzero())
        widths[name] = outputs if layer is layers[-1][1] else max(1, round(remaining / fan_in))
        before.append((outputs, widths[name]))
    return widths


def _magnitudes(layer: Prunable) -> Tensor:
    """Of all weights as the last step of an optimiser left them, flat; infinite for those that are pruned already."""
    current: Tensor = getattr(layer, "weight_orig", layer.weight)  # `weight` is from before that step
    left = getattr(layer, "weight_mask", torch.ones_like(current)).bool()
    return current.detach().abs().where(left, math.inf).reshape(-1)


def _prunable(network: nn.Module) -> Iterator[tuple[str, Prunable]]:
    return ((name, module) for name, module in network.named_modules() if isinstance(module, Prunable))


def _channels_in(inputs: int, before: list[tuple[int, int]], groups: int) -> int:
    """Channels that a layer takes which took `inputs` in each group, after layers of new widths."""
    if groups > 1:
        return inputs
    for given, width in reversed(before):
        if given == inputs:
            return width
    for given, width in reversed(before):
        if inputs % given == 0:
            return inputs // given * width
    return inputs
