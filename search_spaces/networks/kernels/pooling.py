"""Average pooling of images by windows that lie edge to edge, in one pass forward and one backward.

Torch's own takes up to twice as long for channels_last images of few channels on a CPU, most of all in bfloat16.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from search_spaces.networks.kernels.bindings import pool_backward, pool_forward, suits

__all__ = ["AvgPool2d"]


class AvgPool2d(nn.AvgPool2d):
    """`nn.AvgPool2d`, up to rounding, which trains with the kernels of this package where they can be used.

    That is for images that `suits` in square windows without padding that fill them; everywhere else it is torch's
    own.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Of `batch x channels x height x width`, with height and width divided by the stride."""
        if not (torch.is_grad_enabled() and self._tiles(input) and suits(input)):
            return super().forward(input)
        return cast(Tensor, _Pool.apply(input, self.kernel_size))  # type: ignore[no-untyped-call]

    def _tiles(self, x: Tensor) -> bool:
        side = self.kernel_size
        if not isinstance(side, int) or self.stride != side or self.padding != 0 or self.divisor_override is not None:
            return False
        return x.numel() > 0 and x.shape[-2] % side == 0 == x.shape[-1] % side


class _Pool(Function):
    """Keeps nothing of its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, side: int) -> Tensor:
        ctx.side = side
        return pool_forward(x, side)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        if suits(gradient) and not torch.is_grad_enabled():
            return pool_backward(gradient, ctx.side), None
        return F.interpolate(gradient, scale_factor=float(ctx.side)) / ctx.side**2, None
