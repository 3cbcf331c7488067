"""How a node makes one tensor of several, in torch.

The generated source holds these functions word for word, so that it computes the same bits as the built network.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["concatenated", "mean", "product", "summed", "weighted_sum"]


def summed(*tensors: Tensor) -> Tensor:
    """Sum of two or more tensors of one shape, in one accumulator."""
    total = tensors[0] + tensors[1]
    for tensor in tensors[2:]:
        total += tensor
    return total


def mean(*tensors: Tensor) -> Tensor:
    """Mean of two or more tensors of one shape, in one accumulator."""
    total = tensors[0] + tensors[1]
    for tensor in tensors[2:]:
        total += tensor
    total /= len(tensors)
    return total


def weighted_sum(gates: tuple[Tensor, ...], *tensors: Tensor) -> Tensor:
    """Sum of the tensors, each times its gate (a scalar tensor), in one accumulator."""
    total = gates[0] * tensors[0]
    for gate, tensor in zip(gates[1:], tensors[1:], strict=True):
        total.addcmul_(gate, tensor)
    return total


def concatenated(*tensors: Tensor) -> Tensor:
    """The tensors' channels one after another."""
    return torch.cat(tensors, 1)


def product(tensor: Tensor, gate: Tensor) -> Tensor:
    """The tensor times one number for each sample and channel."""
    return tensor * gate
