"""The kernels as functions of tensors, and the conditions under which they can be used."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn

from search_spaces.networks.kernels.library import load

__all__ = [
    "convolution_backward",
    "convolution_forward",
    "convolution_limits",
    "depthwise_backward",
    "has_amx",
    "is_traced",
    "norm_backward",
    "norm_forward",
    "one_pass_sum",
    "pool_backward",
    "pool_forward",
    "suits",
]

HALVES = {torch.float32: 0, torch.bfloat16: 1}
FEW_CHANNELS = 128  # images with fewer channels are processed in tiles of `PIXELS` pixels, which fill registers
PIXELS = 16
LANES = 16  # channels of a plane of the depthwise kernels
SCRATCH = 4  # float32 numbers for each element of a tile, beside two float64 numbers for each channel


def is_traced() -> bool:
    """Whether a compiler, an exporter or `torch.func` traces the operations, which then must be torch's own."""
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return torch.compiler.is_compiling() or tracing or torch._C._are_functorch_transforms_active()


def suits(*tensors: Tensor) -> bool:
    """Whether the kernels are available and accept these images, which must have the same shape and dtype.

    The kernels support one CPU thread, float32 and bfloat16, and the channels_last memory format.
    """
    if is_traced():
        return False
    first = tensors[0]
    here = first.dtype in HALVES and first.device.type == "cpu" and torch.get_num_threads() == 1
    return here and all(_is_like(tensor, first) for tensor in tensors) and load().library is not None


def _is_like(tensor: Tensor, first: Tensor) -> bool:
    real = type(tensor) in (Tensor, nn.Parameter)
    same = tensor.dtype == first.dtype and tensor.shape == first.shape and tensor.device == first.device
    return real and same and tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)


def norm_forward(
    x: Tensor, weight: Tensor, bias: Tensor, running: tuple[Tensor, Tensor], momentum: float, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Output normalised by the batch's own moments, with the mean and the inverse standard deviation of each channel.

    Args:
        x: Images, `batch x channels x height x width`, that `suits` accepts, with at least two pixels in all.
        weight: Scale of each channel, float32.
        bias: Shift of each channel, float32.
        running: Running mean and unbiased variance of each channel, float32. They are updated in place without raising
            their version for autograd, as in torch, whose own batch norm may have saved them.
        momentum: Weight of the batch's moments in the update, from 0 to 1.
        epsilon: Number that is added to variances.
    """
    y, mean, inverse = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
    layout, scratch = _layout(x)
    settings = (epsilon, momentum)
    written = _pointers(*running, mean, inverse, y, scratch)
    _library().norm_forward(*layout, *_pointers(x, weight, bias), *settings, *written)
    return y, mean, inverse


def norm_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, mean: Tensor, inverse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `x`, `weight` and `bias` of `norm_forward`.

    Args:
        gradient: Gradient of the output; `suits` accepts it together with `x`.
        x: Images that were normalised.
        weight: Scale of each channel.
        mean: Mean of each channel, from `norm_forward`.
        inverse: Inverse standard deviation of each channel, from `norm_forward`.
    """
    layout, scratch = _layout(x)
    found = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
    _library().norm_backward(*layout, *_pointers(gradient, x, weight, mean, inverse, *found, scratch))
    return found


def one_pass_sum(
    tensors: Sequence[Tensor], gates: Sequence[Tensor | None], other: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Weighted sum of tensors, rounded once, and the dot product of each with another tensor.

    Args:
        tensors: One or more tensors that `suits` accepts together with `other`.
        gates: Weight of each tensor, a float32 scalar; None stands for 1.
        other: Tensor of the dot products; if omitted, they are 0, as are those of tensors without a gate.

    Returns:
        The sum, and the dot products as a float64 vector.
    """
    total = torch.empty_like(tensors[0])
    dots = torch.zeros(len(tensors), dtype=torch.float64)
    addresses = ctypes.c_void_p * len(tensors)
    each = addresses(*_pointers(*tensors))
    factors = addresses(*[None if gate is None else gate.data_ptr() for gate in gates])
    beside = None if other is None else other.data_ptr()
    layout = (HALVES[total.dtype], total.numel(), len(tensors))
    _library().weighted_sums(*layout, each, factors, beside, *_pointers(total, dots))
    return total, dots


def pool_forward(x: Tensor, side: int) -> Tensor:
    """Means over adjacent windows of `side x side` pixels that fill the images `x`, which `suits` accepts."""
    batch, channels, height, width = x.shape
    y = _like(x, height // side, width // side)
    sums = torch.empty(width * channels)
    layout = (HALVES[x.dtype], batch * y.shape[2], y.shape[3], channels, side)
    _library().pool_forward(*layout, *_pointers(x, y, sums))
    return y


def pool_backward(gradient: Tensor, side: int) -> Tensor:
    """Gradient of `x` of `pool_forward`, from the `gradient` of its output, which `suits` accepts."""
    batch, channels, height, width = gradient.shape
    found = _like(gradient, height * side, width * side)
    layout = (HALVES[gradient.dtype], batch * height, width, channels, side)
    _library().pool_backward(*layout, *_pointers(gradient, found))
    return found


def convolution_limits() -> tuple[int, int]:
    """Largest number of channels in or out, and largest height or width; zeros if the CPU lacks the instructions."""
    limits = (ctypes.c_long * 2)()
    _library().convolution_limits(limits)
    return limits[0], limits[1]


@cache
def has_amx() -> bool:
    """Whether torch multiplies bfloat16 matrices with the CPU's own instructions for it."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def convolution_forward(x: Tensor, weight: Tensor) -> Tensor:
    """Convolution of the images `x` with 3 x 3 kernels, with stride 1 and padding 1.

    Args:
        x: Images in bfloat16 that `suits` accepts, within `convolution_limits`.
        weight: Kernels in float32, `outputs x inputs x 3 x 3`, contiguous or channels_last; they are first rounded to
            bfloat16.
    """
    return _convolved(x, weight, weight.shape[0], turned=False)


def convolution_backward(gradient: Tensor, x: Tensor, weight: Tensor, of_x: bool) -> tuple[Tensor | None, Tensor]:
    """Gradients of `x` and `weight` of `convolution_forward`.

    Args:
        gradient: Gradient of the output, bfloat16.
        x: Images that were convolved.
        weight: Kernels.
        of_x: Whether to compute the gradient of `x`; None is returned in its place otherwise.
    """
    (images, inputs, height, width), outputs = x.shape, weight.shape[0]
    found = torch.empty_like(weight)
    sizes = (images, height, width, inputs, outputs)
    _library().convolution_weights(*sizes, *_pointers(x, gradient), _tap_strides(found), found.data_ptr())
    return _convolved(gradient, weight, inputs, turned=True) if of_x else None, found


def depthwise_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, of_x: bool
) -> tuple[Tensor | None, Tensor]:
    """Gradients of `x` and `weight` of a depthwise convolution whose padding is half the side of its kernels.

    Args:
        gradient: Gradient of the output, of the dtype of `x`; `suits` accepts both.
        x: Images that were convolved, `batch x channels x height x width`.
        weight: Kernels in float32, `channels x 1 x side x side`, of side 3, 5 or 7.
        stride: Stride in both directions.
        of_x: Whether to compute the gradient of `x`; None is returned in its place otherwise.
    """
    images, channels, height, width = x.shape
    side = weight.shape[-1]
    planes = -(-channels // LANES)
    filters = torch.zeros(2, side * side, planes * LANES)  # of the weights and of their gradient
    filters[0, :, :channels] = weight.detach().reshape(channels, -1).t()
    buffers = torch.empty(2, height + side - 1, width + side - 1, LANES)
    found = torch.empty_like(x) if of_x else None
    sizes = (HALVES[x.dtype], images, channels, height, width, *gradient.shape[2:], side, stride)
    written = (None if found is None else found.data_ptr(), *_pointers(filters[1], *buffers))
    _library().depthwise_backward(*sizes, *_pointers(x, gradient, filters[0]), *written)
    return found, filters[1, :, :channels].t().reshape(weight.shape).contiguous()


def _convolved(x: Tensor, weight: Tensor, outputs: int, turned: bool) -> Tensor:
    images, inputs, height, width = x.shape
    y = torch.empty((images, outputs, height, width), dtype=x.dtype, memory_format=torch.channels_last)
    pointers = (*_pointers(x, weight), _tap_strides(weight), y.data_ptr())
    _library().convolution_forward(images, height, width, inputs, outputs, turned, *pointers)
    return y


def _tap_strides(weight: Tensor) -> ctypes.Array[ctypes.c_long]:
    return (ctypes.c_long * 3)(weight.stride(0), weight.stride(1), weight.stride(3))


def _like(x: Tensor, height: int, width: int) -> Tensor:
    return torch.empty((*x.shape[:2], height, width), dtype=x.dtype, memory_format=torch.channels_last)


def _layout(x: Tensor) -> tuple[tuple[int, int, int, int], Tensor]:
    """Format, pixels, channels and pixels of a tile, and the scratch memory of the batch norm kernels."""
    channels = x.shape[1]
    tile = PIXELS if channels < FEW_CHANNELS else 1
    scratch = torch.empty(channels * (2 + tile * SCRATCH // 2), dtype=torch.float64)
    return (HALVES[x.dtype], x.numel() // channels, channels, tile), scratch


def _pointers(*tensors: Tensor) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


def _library() -> ctypes.CDLL:
    library = load().library
    assert library is not None, "call `suits` first"
    return library
