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

    A tensor is alive from the operator that makes it to the last operator that reads or writes it or a view of it; how
    long Python keeps a reference to it does not count. The input counts, too; parameters and buffers do not, nor does
    what nothing reads, such as the positions of a max pool. A batch norm or an elementwise operator of one tensor
    writes over it if nothing reads it afterwards, as in `Cost.activation_bytes`, so that both can be compared:
    deployed, such an operator is part of the one before. While PyTorch runs it, it needs up to one map more.

    Args:
        module: The network; it is set to evaluation mode.
        sample: Input of one sample, `1 x` its shape, on the device of the module; or what holds several tensors.
    """
    lifetimes = _Lifetimes(module.eval(), sample)
    with torch.no_grad(), lifetimes:
        result = module(sample)
    return lifetimes.peak(result)


class _Lifetimes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """First and last operator that uses each storage but those of parameters and buffers, and what may be reused."""

    def __init__(self, module: nn.Module, sample: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._weights = {tensor.untyped_storage()._cdata for tensor in [*module.parameters(), *module.buffers()]}
        self._storages: dict[int, torch.UntypedStorage] = {}  # kept, so that none has the address of an earlier one
        self._first: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._sources: dict[int, int] = {}  # the one storage that an elementwise operator reads to write another
        self._n_operators = 0
        self._use_all(sample)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._n_operators += 1
        read, returned = self._use_all((args, kwargs)), self._use_all(result)
        if len(read) == 1 and _is_elementwise(func):
            self._sources |= dict.fromkeys(returned - read, *read)
        return result

    def peak(self, result: Any) -> int:
        """Largest sum of the sizes of storages that are alive during one operator, or when the result is read."""
        self._n_operators += 1
        self._use_all(result)
        changes = [0] * (self._n_operators + 2)
        for address, storage in self._storages.items():
            if self._first[address] < self._last[address]:
                changes[self._first[address] + self._takes_the_place_of_another(address)] += storage.nbytes()
                changes[self._last[address] + 1] -= storage.nbytes()
        return max(accumulate(changes))

    def _takes_the_place_of_another(self, address: int) -> bool:
        """Whether the operator that makes a storage could as well write over what it reads, of which it is the last."""
        source = self._sources.get(address)
        if source is None or self._storages[source].nbytes() != self._storages[address].nbytes():
            return False
        return self._last[source] == self._first[address]

    def _use_all(self, values: Any) -> set[int]:
        """Addresses of the storages among the values, which are used by the operator that runs."""
        tensors = (value for value in tree_leaves(values) if isinstance(value, Tensor))
        storages = [each.untyped_storage() for each in tensors if each.layout is torch.strided]  # others have none
        used = {storage._cdata: storage for storage in storages if storage._cdata not in self._weights}
        for address, storage in used.items():
            self._storages.setdefault(address, storage)
            self._first.setdefault(address, self._n_operators)
            self._last[address] = self._n_operators
        return set(used)


def _is_elementwise(operator: Any) -> bool:
    return torch.Tag.pointwise in operator.tags or "batch_norm" in operator.name()
