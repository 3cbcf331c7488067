"""Merges: functions that combine the input tensors of a node into one.

The generated source contains the plain functions word for word, so that it computes the same bits as the built network.

For training, weighted sums have a faster backward pass, which is split between two functions. Let `x_i` be the tensor
of node i, `m_j` the weighted sum at node j, `w_ij` the gate between them, and `g_j` the gradient of `m_j`:

    m_j = sum over i of w_ij x_i                    forward pass of `gathered`, where all x_i are known
    gradient of x_i = sum over j of w_ij g_j        backward pass of `spread`, where all g_j are known
    gradient of w_ij = <x_i, g_j>                   backward pass of `spread`

The backward pass of `gathered` therefore returns `g_j` itself for each of its tensors, which is not yet their gradient;
`spread` then needs one pass for each gate, where autograd would multiply, store and add. The result is correct only if
the two are used together.

On one CPU thread, each of the two is one pass of a kernel (`kernels/`), which needs no intermediate tensors. Otherwise
they use torch's operations, whose backward pass is differentiable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function

from search_spaces.networks.kernels.bindings import one_pass_sum, suits

__all__ = ["concatenated", "gathered", "mean", "product", "spread", "summed", "weighted_sum"]


def summed(*tensors: Tensor) -> Tensor:
    """Sum of two or more tensors of the same shape, computed in one accumulator."""
    total = tensors[0] + tensors[1]
    for tensor in tensors[2:]:
        total += tensor
    return total


def mean(*tensors: Tensor) -> Tensor:
    """Mean of two or more tensors of the same shape, computed in one accumulator."""
    total = tensors[0] + tensors[1]
    for tensor in tensors[2:]:
        total += tensor
    total /= len(tensors)
    return total


def weighted_sum(gates: tuple[Tensor, ...], *tensors: Tensor) -> Tensor:
    """Sum of the tensors, each multiplied by its gate (a scalar tensor), computed in one accumulator."""
    total = gates[0] * tensors[0]
    for gate, tensor in zip(gates[1:], tensors[1:], strict=True):
        total.addcmul_(gate, tensor)
    return total


def concatenated(*tensors: Tensor) -> Tensor:
    """Concatenation of the tensors along the channels."""
    return torch.cat(tensors, 1)


def product(tensor: Tensor, gate: Tensor) -> Tensor:
    """Product of a tensor and a gate that holds one number for each sample and channel."""
    return tensor * gate


def spread(tensor: Tensor, gates: Sequence[Tensor | None]) -> list[Tensor]:
    """One alias of a tensor for each of its readers, whose backward pass computes the gradients of weighted sums.

    Args:
        tensor: Output of a node that several nodes read.
        gates: For each reader, the gate by which `gathered` multiplies the tensor, or None for any other use.
    """
    return list(_Spread.apply(tensor, *gates))  # type: ignore[no-untyped-call]


def gathered(gates: Sequence[Tensor], *tensors: Tensor) -> Tensor:
    """`weighted_sum` of tensors that `spread` returned for the same gates; the kernels round the result only once."""
    return cast(Tensor, _Gathered.apply(tuple(gates), *tensors))  # type: ignore[no-untyped-call]


class _Gathered(Function):
    """Takes the gates as one tuple, which autograd ignores; `_Spread` computes their gradients."""

    @staticmethod
    def forward(ctx: Any, gates: tuple[Tensor, ...], *tensors: Tensor) -> Tensor:
        if suits(*tensors) and _are_plain(gates):
            return one_pass_sum(tensors, gates)[0]
        return weighted_sum(gates, *tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *[gradient] * (len(ctx.needs_input_grad) - 1)


class _Spread(Function):
    """Has a backward pass of differentiable operations, so that second derivatives are correct, too."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, *gates: Tensor | None) -> tuple[Tensor, ...]:
        ctx.save_for_backward(tensor if any(ctx.needs_input_grad[1:]) else None, *gates)
        ctx.set_materialize_grads(False)
        return tuple([tensor.detach() for _ in gates])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        tensor, *gates = ctx.saved_tensors
        wants_total, *wants_dot = ctx.needs_input_grad
        if wants_total and _fits_one_pass(tensor, gates, gradients):
            return _in_one_pass(tensor, gates, gradients)
        dot = None if tensor is None else _Dot(tensor)
        total: Tensor | None = None
        dots: list[Tensor | None] = [None] * len(gates)
        plain: list[Tensor] = []
        for number, (gate, gradient) in enumerate(zip(gates, gradients, strict=True)):
            if gradient is not None and gate is None:
                plain.append(gradient)
            elif gradient is not None:
                if wants_total:
                    total = gate * gradient if total is None else total.addcmul_(gate, gradient)
                if dot and wants_dot[number]:  # here, while the gradient is still in the CPU's cache
                    dots[number] = dot(gradient)
        return _plus(total, plain) if wants_total else None, *dots


def _fits_one_pass(tensor: Tensor | None, gates: Sequence[Tensor | None], gradients: Sequence[Tensor | None]) -> bool:
    """Whether there is a gradient to multiply and the kernels accept all tensors; they have no second derivative."""
    there = [gradient for gradient in (*gradients, tensor) if gradient is not None]
    gated = [gate is not None and gradient is not None for gate, gradient in zip(gates, gradients, strict=True)]
    return any(gated) and not torch.is_grad_enabled() and _are_plain(gates) and suits(*there)


def _in_one_pass(
    tensor: Tensor | None, gates: Sequence[Tensor | None], gradients: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    """Gradient of the tensor, then those of the gates; autograd ignores those of frozen gates."""
    arrived = [number for number, gradient in enumerate(gradients) if gradient is not None]
    there = [cast(Tensor, gradients[number]) for number in arrived]
    total, dots = one_pass_sum(there, [gates[number] for number in arrived], tensor)
    of_gates: list[Tensor | None] = [None] * len(gates)
    for number, dot in zip(arrived, dots.float().unbind(), strict=True):
        if gates[number] is not None and tensor is not None:
            of_gates[number] = dot
    return total, *of_gates


def _are_plain(gates: Sequence[Tensor | None]) -> bool:
    """Whether the kernels can read these gates."""
    return all(
        gate is None or (gate.ndim == 0 and gate.dtype == torch.float32 and gate.device.type == "cpu") for gate in gates
    )


def _plus(total: Tensor | None, gradients: list[Tensor]) -> Tensor | None:
    """Sum of the total, which is overwritten, and the gradients, which are not."""
    if total is None:
        return summed(*gradients) if len(gradients) > 1 else next(iter(gradients), None)
    for gradient in gradients:
        total += gradient
    return total


class _Dot:
    """Dot products of one tensor with others of its shape and dtype.

    Tensors with the same dense memory layout are treated as vectors, so that the elementwise products need not be
    stored. On a CPU this is slower for 16-bit formats, which are therefore multiplied and summed.
    """

    def __init__(self, tensor: Tensor) -> None:
        dense = tensor.is_contiguous() or tensor.is_contiguous(memory_format=torch.channels_last)
        self._tensor, self._strides, self._size = tensor, tensor.stride(), (tensor.numel(),)
        fast = dense and tensor.dtype in (torch.float32, torch.float64)
        self._vector = tensor.as_strided(self._size, (1,)) if fast else None

    def __call__(self, other: Tensor) -> Tensor:
        if self._vector is not None and other.stride() == self._strides:
            return torch.dot(self._vector, other.as_strided(self._size, (1,)))
        return (self._tensor * other).sum()
