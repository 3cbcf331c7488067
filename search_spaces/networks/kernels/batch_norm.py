"""Batch norm of images in two passes over memory forward and two backward.

On a CPU, torch's own batch norm takes two to six times as long for channels_last images of few channels.

For the n = batch x height x width values x of one channel, their mean m and variance v, r = (v + epsilon)^-1/2, and the
gradient g of y:

    y = (x - m) r weight + bias
    gradient of bias = sum of g
    gradient of weight = r times the sum of g (x - m)
    gradient of x = r weight (g - (sum of g) / n - (x - m) r^2 (sum of g (x - m)) / n)
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function

from search_spaces.networks.kernels.bindings import norm_backward, norm_forward, suits

__all__ = ["BatchNorm2d"]


class BatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` that trains with the kernels of this package if possible; the results differ by rounding only.

    The kernels are used for images that `suits` accepts and float32 weights, one for each of their channels. Otherwise,
    in evaluation and for second derivatives, it uses torch's operations.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Output of the shape of `input`, `batch x channels x height x width`."""
        if not (self.training and suits(input) and self._is_usual(input) and input.numel() > self.num_features):
            return super().forward(input)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        running = (self.running_mean, self.running_var)
        settings = (running, self.momentum, self.eps)
        return cast(Tensor, _Norm.apply(input, self.weight, self.bias, *settings))  # type: ignore[no-untyped-call]

    def _is_usual(self, x: Tensor) -> bool:
        numbers = (self.weight, self.bias, self.running_mean, self.running_var)
        return self.momentum is not None and all(
            number is not None
            and number.dtype == torch.float32
            and number.device == x.device
            and number.shape == x.shape[1:2]
            and number.is_contiguous()
            for number in numbers
        )


class _Norm(Function):
    """Saves its input and two numbers for each channel for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running: tuple[Tensor, Tensor],
        momentum: float,
        epsilon: float,
    ) -> Tensor:
        y, mean, inverse = norm_forward(x, weight, bias, running, momentum, epsilon)
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.epsilon = epsilon
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        if suits(gradient, x) and not torch.is_grad_enabled():
            return *norm_backward(gradient, x, weight, mean, inverse), None, None, None
        torchs = torch.ops.aten.native_batch_norm_backward
        wanted = [True, True, True]
        return *torchs(gradient, x, weight, None, None, mean, inverse, True, ctx.epsilon, wanted), None, None, None
