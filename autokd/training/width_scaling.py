"""A rule by which one learning rate serves networks of different widths."""

from typing import Literal

from torch import Tensor, nn

__all__ = ["rate_factors"]

REFERENCE = 64  # inputs of a layer for which all factors are 1
FURTHEST = 8.0  # factors are within 1/8 and 8
FEW = 4  # inputs


def rate_factors(network: nn.Module, optimizer: Literal["sgd", "adamw"]) -> dict[Tensor, float]:
    """For each parameter the factor on the learning rate.

    Maximal update parametrisation, Yang et al. 2022, https://arxiv.org/abs/2203.03466, table 3, relative to a layer of
    64 inputs:

    ============================================  ===========  ===========
    parameter                                     SGD          AdamW
    ============================================  ===========  ===========
    classifier: weights of a layer with bias      64 / inputs  64 / inputs
    hidden: kernels, linear layers without bias   1            64 / inputs
    anything else                                 1            1
    ============================================  ===========  ===========

    [ours] Initial weights are those of `search_spaces.networks.network.initialise`, not the table's. Scales, shifts,
    merge weights and the first layer's kernels keep 1 under SGD too, where the paper has "fan-out": batch norm follows
    the kernels, so that their length does not matter. Inputs are channels, whatever the kernel's size, since widths are
    what differs between students. A kernel of at most 4 inputs reads the sample, or each channel alone, and keeps 1.
    Factors are within 1/8 and 8.

    Args:
        network: A student.
        optimizer: Which one.
    """
    factors: dict[Tensor, float] = dict.fromkeys(network.parameters(), 1.0)
    for module in network.modules():
        if isinstance(module, nn.Linear) and module.bias is not None:
            factors[module.weight] = _factor(module.in_features)
        elif optimizer == "adamw" and isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            inputs = module.weight.shape[1]
            factors[module.weight] = _factor(inputs) if inputs > FEW else 1.0
    return factors


def _factor(inputs: int) -> float:
    return min(max(REFERENCE / inputs, 1 / FURTHEST), FURTHEST)
