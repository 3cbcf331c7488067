"""The memory that the activations of any module need, measured while it runs."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["peak_activation_bytes"]


def peak_activation_bytes(module: nn.Module, sample: Tensor) -> int:
    """Largest number of bytes of activations that are alive at the same time, in evaluation mode and without gradients.

    A tensor is alive from the operator that makes it to the last operator that reads or writes it or a view of it, as
    in `Cost.activation_bytes`; how long Python keeps a reference to it does not count. The input counts, too;
    parameters and buffers do not. Unlike `Cost`, which lets elementwise layers write over their input, this counts what
    the operators allocate.

    Args:
        module: The network; it is set to evaluation mode.
        sample: Input of one sample, `1 x` its shape, on the device of the module; or what holds several tensors.
    """
    lifetimes = _Lifetimes(module.eval(), sample)
    with torch.no_grad(), lifetimes:
        module(sample)
    return lifetimes.peak()


class _Lifetimes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """First and last operator that uses each storage, except those of parameters and buffers."""

    def __init__(self, module: nn.Module, sample: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._weights = {tensor.untyped_storage()._cdata for tensor in [*module.parameters(), *module.buffers()]}
        self._storages: dict[int, torch.UntypedStorage] = {}  # kept, so that none has the address of an earlier one
        self._first: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._n_operators = 0
        self._use_all(sample)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._n_operators += 1
        self._use_all((args, kwargs, result))
        return result

    def peak(self) -> int:
        """Largest sum of the sizes of storages that are alive during one operator."""
        changes = [0] * (self._n_operators + 2)
        for address, storage in self._storages.items():
            changes[self._first[address]] += storage.nbytes()
            changes[self._last[address] + 1] -= storage.nbytes()
        return max(accumulate(changes))

    def _use_all(self, values: Any) -> None:
        for value in tree_leaves(values):
            if isinstance(value, Tensor) and value.layout is torch.strided:  # others have no storage of their own
                self._use(value)

    def _use(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address not in self._weights:
            self._storages.setdefault(address, storage)
            self._first.setdefault(address, self._n_operators)
            self._last[address] = self._n_operators
