"""Pruning before distillation (Park and No 2022, https://arxiv.org/abs/2109.14960).

The smallest weights of the teacher are pruned in several rounds. The student's widths are then chosen such that each of
its layers has as many weights as remain in the pruned teacher's, and it learns from the pruned teacher.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.utils import prune

from autokd.errors import InputError

__all__ = [
    "is_prunable",
    "mask_zeros",
    "prune_globally",
    "prune_iteratively",
    "remaining_widths",
    "remove_masks",
    "trained_weight",
]

Prunable = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear

_WEIGHT = "weight"


def prune_iteratively(
    network: nn.Module, retrain: Callable[[nn.Module], object], rounds: int, share: float = 0.2
) -> None:
    """Prune a trained network in rounds, in place; `(1 - share)^rounds` of its weights remain, the others are 0.

    As in Park and No 2022, each round is followed by a whole training with the learning-rate schedule from its
    beginning, which starts from the remaining weights as they are (learning-rate rewinding, Renda et al. 2020,
    https://arxiv.org/abs/2003.02389).

    Args:
        network: Trained network. During `retrain` it has masks, see `prune_globally`; afterwards it has none.
        retrain: Function that trains the network's parameters once, in place, with an optimiser of its own.
        rounds: Number of rounds, at least 1.
        share: Share of the remaining weights to prune in each round, in `(0, 1)`.

    Raises:
        InputError: If an argument is out of range, or the network has no prunable layer.
    """
    if rounds < 1:
        raise InputError(f"`rounds >= 1` must hold, but got {rounds=}.")
    for _ in range(rounds):
        prune_globally(network, share)
        retrain(network)
    remove_masks(network)


def prune_globally(network: nn.Module, share: float) -> None:
    """Set the smallest remaining weights of all convolutions and linear layers together to 0, in place.

    Masks keep them at 0 during training: a pruned layer has the parameter `weight_orig` and the buffer `weight_mask`,
    from which each forward call computes `weight`. PyTorch cannot copy such a network before `remove_masks`. Biases and
    batch normalisation are not pruned, nor are weights that are computed, as by `weight_norm`, or that are read without
    a call, as by `nn.MultiheadAttention`.

    Args:
        network: The network, which may have been pruned before.
        share: Share of the weights that are not pruned yet, in `(0, 1)`.

    Raises:
        InputError: If the share is out of range, or the network has no prunable layer.
    """
    if not 0 < share < 1:
        raise InputError(f"`0 < share < 1` must hold, but got {share=}.")
    layers = [layer for _, layer in _prunable(network)]
    if not is_prunable(network):
        raise InputError(f"{type(network).__name__} has no convolution or linear layer whose weights could be pruned.")
    magnitudes = torch.cat([_magnitudes(layer) for layer in layers])
    n_pruned = round(share * int(magnitudes.isfinite().sum()))
    kept = torch.ones_like(magnitudes, dtype=torch.bool)
    kept[magnitudes.topk(n_pruned, largest=False).indices] = False
    masks = kept.split([layer.weight.numel() for layer in layers])  # type: ignore[no-untyped-call]
    for layer, mask in zip(layers, masks, strict=True):
        prune.custom_from_mask(layer, _WEIGHT, mask.reshape(layer.weight.shape))  # type: ignore[no-untyped-call]


def mask_zeros(network: nn.Module) -> None:
    """Mask the weights of all convolutions and linear layers that are 0, in place: those of an earlier pruning."""
    for _, layer in _prunable(network):
        prune.custom_from_mask(layer, _WEIGHT, layer.weight != 0)  # type: ignore[no-untyped-call]


def is_prunable(network: nn.Module) -> bool:
    """Whether the network has a convolution or a linear layer."""
    return any(True for _ in _prunable(network))


def remove_masks(network: nn.Module) -> None:
    """Replace masked weights by ordinary weights that contain zeros, in place; layers without masks are unchanged."""
    for _, layer in _prunable(network):
        if hasattr(layer, "weight_mask"):
            prune.remove(layer, _WEIGHT)  # type: ignore[no-untyped-call]


def trained_weight(layer: nn.Module) -> Tensor:
    """What is trained of a layer's weight: the weight itself, or the parameter from which a masked one is computed."""
    trained = getattr(layer, f"{_WEIGHT}_orig", layer.weight)
    assert isinstance(trained, Tensor)
    return trained


def remaining_widths(network: nn.Module) -> dict[str, int]:
    """Output channels of each layer of a student that has about as many weights as remain in a pruned network.

    Park and No 2022: `c_l = round(nnz_l / (k_l^2 c_{l-1}))`, at least 1, from the first layer on. `c_0` is the number
    of channels of the samples, and the last layer keeps its outputs, the classes. [ours] In networks that are not
    chains, the preceding layer is the last one whose output channels equal this layer's input channels, or divide them
    if a map is flattened; if there is none, the input channels do not change. A grouped convolution gets fewer groups,
    not narrower ones.

    Args:
        network: Pruned network, with or without masks, whose layers are registered in execution order.
    """
    widths: dict[str, int] = {}
    before: list[tuple[int, int]] = []  # old and new output channels of each layer
    layers = list(_prunable(network))
    for name, layer in layers:
        outputs, inputs, *kernel = layer.weight.shape
        fan_in = _channels_in(inputs, before, getattr(layer, "groups", 1)) * math.prod(kernel)
        remaining = int(layer.weight.detach().count_nonzero())
        widths[name] = outputs if layer is layers[-1][1] else max(1, round(remaining / fan_in))
        before.append((outputs, widths[name]))
    return widths


def _magnitudes(layer: Prunable) -> Tensor:
    """Magnitudes of all weights after the optimiser's last step, flat; infinite for those already pruned."""
    current = trained_weight(layer)  # `weight` is older: from the last forward call
    left = getattr(layer, "weight_mask", torch.ones_like(current)).bool()
    return current.detach().abs().where(left, math.inf).reshape(-1)


def _prunable(network: nn.Module) -> Iterator[tuple[str, Prunable]]:
    return (
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, Prunable)
        and not isinstance(module, NonDynamicallyQuantizableLinear)  # of `nn.MultiheadAttention`
        and {_WEIGHT, f"{_WEIGHT}_orig"} & module._parameters.keys()
    )


def _channels_in(inputs: int, before: list[tuple[int, int]], groups: int) -> int:
    """New input channels of a layer that had `inputs` in each group, given the old and new widths before it."""
    if groups > 1:
        return inputs
    for given, width in reversed(before):
        if given == inputs:
            return width
    for given, width in reversed(before):
        if inputs % given == 0:
            return inputs // given * width
    return inputs
