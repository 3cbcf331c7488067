"""Average pooling of images over adjacent windows, in one pass over memory forward and one backward.

On a CPU, torch's own pooling takes up to twice as long for channels_last images of few channels, most of all in
bfloat16.
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
    """`nn.AvgPool2d` that trains with the kernels of this package if possible; the results differ by rounding only.

    The kernels are used for images that `suits` accepts and that adjacent square windows fill without padding.
    Otherwise it uses torch's operations.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Output of shape `batch x channels x height x width`, with height and width divided by the stride."""
        if not (torch.is_grad_enabled() and self._tiles(input) and suits(input)):
            return super().forward(input)
        return cast(Tensor, _Pool.apply(input, self.kernel_size))  # type: ignore[no-untyped-call]

    def _tiles(self, x: Tensor) -> bool:
        side = self.kernel_size
        if not isinstance(side, int) or self.stride != side or self.padding != 0 or self.divisor_override is not None:
            return False
        return x.numel() > 0 and x.shape[-2] % side == 0 == x.shape[-1] % side


class _Pool(Function):
    """Saves nothing of its input for the backward pass."""

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
