"""The kernels as functions of tensors, and where they may be used."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from search_spaces.networks.kernels.library import load

__all__ = [
    "convolution_backward",
    "convolution_forward",
    "convolution_limits",
    "norm_backward",
    "norm_forward",
    "one_pass_sum",
    "pool_backward",
    "pool_forward",
    "suits",
    "watched",
]

HALVES = {torch.float32: 0, torch.bfloat16: 1}
FEW_CHANNELS = 128  # fewer are taken in tiles of this many pixels, which fill whole registers:
PIXELS = 16
SCRATCH = 4  # float32 numbers for each element of a tile, beside two float64 numbers for each channel


def watched() -> bool:
    """Whether a compiler, an exporter or `torch.func` looks at the operations; they take torch's own only."""
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return torch.compiler.is_compiling() or tracing or torch._C._are_functorch_transforms_active()


def suits(*tensors: Tensor) -> bool:
    """Whether the kernels are there and can take these images, all of one shape and dtype.

    They are for one thread of a CPU, for float32 and bfloat16, and for tensors that fill their memory in the order
    batch, height, width, channels.
    """
    if watched():
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
        x: Images that `suits`, with two pixels or more.
        weight: Scale of each channel, float32 like all that follow.
        bias: Shift of each channel.
        running: Mean and unbiased variance of what came before, which go towards those of x in place, unnoticed by
            autograd as in torch, whose own batch norm may have saved them.
        momentum: How far they go, from 0 to 1.
        epsilon: Added to variances.
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
    """Gradients of x, weight and bias where `gradient` is that of `norm_forward`'s first result; it `suits` like x."""
    layout, scratch = _layout(x)
    found = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
    _library().norm_backward(*layout, *_pointers(gradient, x, weight, mean, inverse, *found, scratch))
    return found


def one_pass_sum(
    tensors: Sequence[Tensor], gates: Sequence[Tensor | None], other: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Sum of the tensors, each times its gate, rounded once; and the dot product of each with the other tensor.

    Args:
        tensors: One or more that suit, together with `other`.
        gates: One for each tensor, float32 scalars, or None for 1.
        other: If None, the dot products are 0; so are those of tensors without a gate.

    Returns:
        The sum, and the float64 vector of dot products.
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
    """Means of windows of `side x side` pixels that lie edge to edge in x and fill it; x `suits`."""
    batch, channels, height, width = x.shape
    y = _like(x, height // side, width // side)
    sums = torch.empty(width * channels)
    layout = (HALVES[x.dtype], batch * y.shape[2], y.shape[3], channels, side)
    _library().pool_forward(*layout, *_pointers(x, y, sums))
    return y


def pool_backward(gradient: Tensor, side: int) -> Tensor:
    """Gradient of x where `gradient`, which `suits`, is that of `pool_forward`'s result."""
    batch, channels, height, width = gradient.shape
    found = _like(gradient, height * side, width * side)
    layout = (HALVES[gradient.dtype], batch * height, width, channels, side)
    _library().pool_backward(*layout, *_pointers(gradient, found))
    return found


def convolution_limits() -> tuple[int, int]:
    """The most channels in or out, and the greatest height or width; zeros where the processor cannot do it."""
    limits = (ctypes.c_long * 2)()
    _library().convolution_limits(limits)
    return limits[0], limits[1]


def convolution_forward(x: Tensor, weight: Tensor) -> Tensor:
    """Convolution of the images `x` with 3 x 3 kernels, with stride 1 and padding 1.

    Args:
        x: Images in bfloat16 that `suits`, within `convolution_limits`.
        weight: float32, `outputs x inputs x 3 x 3`, in the order of these axes or with the inputs last; it is rounded
            to bfloat16 first.
    """
    return _convolved(x, weight, weight.shape[0], turned=False)


def convolution_backward(gradient: Tensor, x: Tensor, weight: Tensor, of_x: bool) -> tuple[Tensor | None, Tensor]:
    """Gradients of x, if wanted, and weight where `gradient`, bfloat16, is that of `convolution_forward`'s result."""
    (images, inputs, height, width), outputs = x.shape, weight.shape[0]
    found = torch.empty_like(weight)
    sizes = (images, height, width, inputs, outputs)
    _library().convolution_weights(*sizes, *_pointers(x, gradient), _tap_strides(found), found.data_ptr())
    return _convolved(gradient, weight, inputs, turned=True) if of_x else None, found


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
    """Format, pixels, channels and pixels of a tile; and the memory that the kernels of batch norm work in."""
    channels = x.shape[1]
    tile = PIXELS if channels < FEW_CHANNELS else 1
    scratch = torch.empty(channels * (2 + tile * SCRATCH // 2), dtype=torch.float64)
    return (HALVES[x.dtype], x.numel() // channels, channels, tile), scratch


def _pointers(*tensors: Tensor) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


def _library() -> ctypes.CDLL:
    library = load().library
    assert library is not None, "`suits` comes first"
    return library
