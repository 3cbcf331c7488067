"""The few modules that `torch.nn` does not have.

The generated source holds these classes word for word, so they need nothing but torch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ChannelShuffle", "SelfAttention", "Slice", "Zero"]


class ChannelShuffle(nn.Module):
    """Channels dealt out again, one of each of `groups` parts in turn."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """As `x`, `batch x channels x ...`."""
        batch, channels, *sizes = x.shape
        parts = x.reshape(batch, self.groups, channels // self.groups, *sizes)
        return parts.transpose(1, 2).reshape(x.shape)


class Zero(nn.Module):
    """Zeros of the input's shape."""

    def forward(self, x: Tensor) -> Tensor:
        """As `x`."""
        return torch.zeros_like(x)


class Slice(nn.Module):
    """Channels `start` to `start + length`."""

    def __init__(self, start: int, length: int) -> None:
        super().__init__()
        self.start, self.length = start, length

    def forward(self, x: Tensor) -> Tensor:
        """Of `batch x channels x ...`; a copy, since a view would keep the whole input alive."""
        return x.narrow(1, self.start, self.length).clone()


class SelfAttention(nn.Module):
    """Scaled dot-product attention between all positions, with `heads` heads."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        """`batch x channels x ...` of `batch x (3 * channels) x ...`: queries, then keys, then values."""
        batch, channels, *sizes = x.shape
        query, key, value = x.reshape(batch, 3, self.heads, channels // 3 // self.heads, -1).unbind(1)
        scores = query.transpose(-2, -1) @ key * query.shape[2] ** -0.5
        mixed = value @ scores.softmax(-1).transpose(-2, -1)
        return torch.reshape(mixed, (batch, channels // 3, *sizes))
