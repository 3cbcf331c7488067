"""Factors on the learning rate by width, so that one learning rate suits networks of different widths."""

from torch import Tensor, nn

from autokd.config.schema import OptimizerName
from autokd.distillation.pruning import trained_weight

__all__ = ["rate_factors"]

REFERENCE = 64  # inputs of a layer whose factor is 1
FURTHEST = 8.0  # factors are in [1/8, 8]
FEW = 4  # inputs, up to which the factor of a kernel is 1


def rate_factors(network: nn.Module, optimizer: OptimizerName) -> dict[Tensor, float]:
    """Factor on the learning rate of each parameter.

    Maximal update parametrisation, Yang et al. 2022, https://arxiv.org/abs/2203.03466, table 3, relative to a layer
    with 64 inputs:

    ============================================  ===========  ===========
    parameter                                     SGD, Muon    AdamW
    ============================================  ===========  ===========
    classifier: weights of a layer with bias      64 / inputs  64 / inputs
    hidden: kernels, linear layers without bias   1            64 / inputs
    anything else                                 1            1
    ============================================  ===========  ===========

    [ours] Initial weights are those of `search_spaces.networks.initialisation`, not the table's. Scales, shifts,
    merge weights and the first layer's kernels have a factor of 1 with SGD, too, where the paper has "fan-out": batch
    normalisation follows the kernels, so their norm does not matter. Inputs are channels, regardless of the kernel
    size, since students differ in their widths. A kernel with at most 4 inputs processes the sample or a single
    channel, and has a factor of 1. Factors are limited to 1/8 to 8.

    Args:
        network: A student, or a teacher in training, pruned or not.
        optimizer: "sgd", "adamw" or "muon".
    """
    factors: dict[Tensor, float] = dict.fromkeys(network.parameters(), 1.0)
    for module in network.modules():
        if isinstance(module, nn.Linear) and module.bias is not None:
            factors[trained_weight(module)] = _factor(module.in_features)
        elif optimizer == "adamw" and isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            inputs = module.weight.shape[1]
            factors[trained_weight(module)] = _factor(inputs) if inputs > FEW else 1.0
    return factors


def _factor(inputs: int) -> float:
    return min(max(REFERENCE / inputs, 1 / FURTHEST), FURTHEST)
