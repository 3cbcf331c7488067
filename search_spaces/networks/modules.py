"""Modules that `torch.nn` does not have.

The generated source contains these classes word for word, so they may depend on nothing but torch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ChannelShuffle", "SelfAttention", "Slice", "Zero"]


class ChannelShuffle(nn.Module):
    """Channel shuffle: the first channel of each of `groups` groups, then the second of each, and so on."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """Output of the shape of `x`, `batch x channels x ...`, in channels_last if `x` is."""
        if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):  # else what follows would be slow
            batch, channels, height, width = x.shape
            pixels = x.movedim(1, -1).reshape(batch, height, width, self.groups, channels // self.groups)
            return pixels.transpose(-1, -2).reshape(batch, height, width, channels).movedim(-1, 1)
        batch, channels, *sizes = x.shape
        parts = x.reshape(batch, self.groups, channels // self.groups, *sizes)
        return parts.transpose(1, 2).reshape(x.shape)


class Zero(nn.Module):
    """Zeros of the input's shape."""

    def forward(self, x: Tensor) -> Tensor:
        """Zeros of the shape of `x`."""
        return torch.zeros_like(x)


class Slice(nn.Module):
    """Channels from `start` up to, but excluding, `start + length`."""

    def __init__(self, start: int, length: int) -> None:
        super().__init__()
        self.start, self.length = start, length

    def forward(self, x: Tensor) -> Tensor:
        """Output of shape `batch x length x ...`: a copy, since a view would keep the whole input alive."""
        return x.narrow(1, self.start, self.length).clone()


class SelfAttention(nn.Module):
    """Scaled dot-product attention between all positions, with `heads` heads."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        """Output, `batch x channels x ...`, for the queries, keys and values in `x`, `batch x (3 * channels) x ...`."""
        batch, channels, *sizes = x.shape
        positions = x.shape[2:].numel()  # with -1 an empty batch would have no shape
        query, key, value = x.reshape(batch, 3, self.heads, channels // 3 // self.heads, positions).unbind(1)
        scores = query.transpose(-2, -1) @ key * query.shape[2] ** -0.5
        mixed = value @ scores.softmax(-1).transpose(-2, -1)
        return torch.reshape(mixed, (batch, channels // 3, *sizes))
