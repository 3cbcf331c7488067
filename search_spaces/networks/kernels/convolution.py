"""3 x 3 convolutions between few channels in bfloat16, and the backward pass of depthwise convolutions.

Torch's own convolutions take up to three times as long for channels_last images of few channels, because they fill the
lanes of vector registers with channels, whereas the kernels fill them with pixels. Where torch has matrix instructions
(AMX), it is the kernel that takes up to three times as long, unless there are very few channels. Torch's backward pass
of depthwise convolutions takes up to twenty times as long as the kernel in bfloat16, and up to three times in float32.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from search_spaces.networks.kernels.bindings import (
    convolution_backward,
    convolution_forward,
    convolution_limits,
    depthwise_backward,
    has_amx,
    suits,
)

__all__ = ["Conv2d"]

MOST_PAIRS_BESIDE_AMX = 24
"""Pairs of input and output channel up to which the kernel takes less time than torch's matrix instructions."""


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` with the kernels of this package if possible; the results differ by rounding only.

    The kernels are used on images that `suits` accepts, without bias, in two cases; the weights are rounded to bfloat16
    as by autocast, but their gradient is not rounded:

    * Under bfloat16 autocast on CPUs with instructions for that format, for 3 x 3 convolutions with stride 1 and
      padding 1, without groups, between at most 12 channels, on images of at most 32 x 32 pixels. On CPUs with matrix
      instructions (AMX), which torch uses, only between up to 24 pairs of channels: beyond, torch's take less time.
    * In the backward pass of depthwise convolutions of side 3, 5 or 7, with a padding of half the side and no dilation;
      of side 3 only under bfloat16 autocast, since torch's own are as fast in float32.

    Otherwise, and for second derivatives, it uses torch's operations.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Output, `batch x channels x height x width`, bfloat16 under autocast."""
        if self._is_usual() and _is_autocast() and suits(input) and self._is_small(input):
            return cast(Tensor, _Convolved.apply(input.to(torch.bfloat16), self.weight))  # type: ignore[no-untyped-call]
        if torch.is_grad_enabled() and self._is_depthwise(input.dtype) and suits(input) and input.numel() > 0:
            x = input.to(torch.bfloat16) if _is_autocast() else input
            return cast(Tensor, _Depthwise.apply(x, self.weight, self.stride[0]))  # type: ignore[no-untyped-call]
        return super().forward(input)

    def _is_depthwise(self, dtype: torch.dtype) -> bool:
        side, stride = self.kernel_size[0], self.stride[0]
        plain = self.bias is None and self.padding_mode == "zeros" and self.dilation == (1, 1)
        square = self.kernel_size == (side, side) and self.stride == (stride, stride)
        sizes = side in (3, 5, 7) and self.padding == (side // 2, side // 2) and (side > 3 or _is_autocast())
        each = self.groups == self.in_channels == self.out_channels
        full = self.weight.dtype == torch.float32 and (dtype == torch.float32 or _is_autocast())
        return plain and square and sizes and each and full

    def _is_usual(self) -> bool:
        shape = self.kernel_size, self.stride, self.padding, self.dilation
        plain = self.groups == 1 and self.bias is None and self.padding_mode == "zeros"
        return plain and shape == ((3, 3), (1, 1), (1, 1), (1, 1))

    def _is_small(self, x: Tensor) -> bool:
        weight = self.weight
        in_order = weight.is_contiguous() or weight.is_contiguous(memory_format=torch.channels_last)
        channels, side = convolution_limits()
        outputs, inputs = weight.shape[:2]
        is_quicker = outputs * inputs <= MOST_PAIRS_BESIDE_AMX or not has_amx()
        fits = max(outputs, inputs) <= channels and max(x.shape[2:]) <= side and x.shape[1] == inputs and is_quicker
        return fits and x.numel() > 0 and in_order and weight.dtype == torch.float32 and weight.device == x.device


def _is_autocast() -> bool:
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16


class _Convolved(Function):
    """Saves its input and the weights for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return convolution_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        if gradient.dtype == x.dtype and suits(gradient) and not torch.is_grad_enabled():
            return convolution_backward(gradient, x, weight, ctx.needs_input_grad[0])
        torchs, ones = torch.ops.aten.convolution_backward, [1, 1]
        settings = (None, ones, ones, ones, False, [0, 0], 1, [True, True, False])
        of_x, of_weight, _ = torchs(gradient, x, weight.to(x.dtype), *settings)
        return of_x, of_weight.to(weight.dtype)


class _Depthwise(Function):
    """Torch's forward pass; saves its input and the weights for the kernel's backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        pad = weight.shape[-1] // 2
        return F.conv2d(x, weight.to(x.dtype), None, stride, pad, 1, weight.shape[0])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        rounded = weight.to(x.dtype)
        if gradient.dtype == x.dtype and suits(gradient) and not torch.is_grad_enabled():
            of_x = ctx.needs_input_grad[0]
            return *depthwise_backward(gradient, x, rounded.float(), ctx.stride, of_x), None
        torchs, pads, steps = torch.ops.aten.convolution_backward, [weight.shape[-1] // 2] * 2, [ctx.stride] * 2
        settings = (None, steps, pads, [1, 1], False, [0, 0], weight.shape[0], [True, True, False])
        of_x, of_weight, _ = torchs(gradient, x, rounded, *settings)
        return of_x, of_weight.to(weight.dtype), None
