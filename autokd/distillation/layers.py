"""The layers of a network: which of them are its feature maps by default, and what each of them returns."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from operator import le
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from autokd.core.spelling import nearest_name
from autokd.errors import InputError

__all__ = ["averaged", "default_layers", "has_weights", "layer_outputs", "modules_named"]

Size = tuple[int, ...]

_MOST_OF_CLASSIFIER = 8  # layers


@runtime_checkable
class _Reads(Protocol):
    """A network that reads its logits from what another returns, as teachers do."""

    network: nn.Module | None
    reading: Callable[..., Tensor]


def modules_named(network: nn.Module, names: Iterable[str], owner: str) -> dict[str, nn.Module]:
    """Modules of a network by their names; one that it holds twice has both.

    Args:
        network: The network.
        names: Names as `named_modules` gives them.
        owner: What the network is called in the error.

    Raises:
        InputError: If there is no module of such a name; the nearest one is named.
    """
    modules = dict(network.named_modules(remove_duplicate=False))
    for name in names:
        if name not in modules:
            raise InputError(f"{owner} has no module {name!r}{nearest_name(name, modules)}.")
    return {name: modules[name] for name in names}


def default_layers(network: nn.Module, example: Tensor) -> tuple[str, ...]:
    """Names of the last module of each resolution, in the order in which the resolutions first appear.

    A block that takes maps of one resolution and returns maps of the next one belongs to the next: modules inside it
    that run before the resolution changes are not chosen, unless there are no others. All layers of a network of
    vectors have the same resolution, so its last hidden layer is chosen. Outputs with another number of axes than the
    samples are ignored, as are the logits, outputs that are the samples themselves, and maps of one position if there
    are larger ones. So is what is no map though it has as many axes, as where channels come last or an attention has
    heads: it has a longer axis than the maps before, or is not square although samples are, or a module around it takes
    tokens.

    Args:
        network: The network; its modes and statistics are not changed.
        example: A batch of at least two samples; with one, other axes could be taken for the batch axis.

    Raises:
        InputError: If most layers run after the last map, as in transformers.
    """
    calls = _calls(network, example, lambda output: output)
    inside = tuple(f"{call.name}." for call in calls if call.takes_tokens)
    outside = [call for call in calls if not call.name.startswith(inside)]
    sizes = _shrinking(tuple(example.shape[2:]), [call.leaving for call in outside if call.leaving is not None])
    sizes = [size for size in sizes if not _is_pooled(size)] or sizes
    layers = tuple(_last(outside, size, following) for size, following in pairwise([*sizes, None]) if size is not None)
    _check_depth(network, calls, layers)
    return layers


def layer_outputs(
    network: nn.Module, batch: Tensor, kept: Callable[[Tensor], Tensor] | None = None
) -> dict[str, Tensor]:
    """Output of each layer by name, float32, in execution order, without the samples and the logits.

    Outputs with another number of axes than the samples, `batch x channels x` any resolution, are ignored, as are maps
    of one position if there are larger ones. A tensor that several modules return, such as a block and its last layer,
    occurs once, under the name of the outermost module; if it is modified in place, with its last values.

    Args:
        network: Run in evaluation mode without gradient; its modes and statistics are not changed.
        batch: At least two samples; with one, other axes could be taken for the batch axis.
        kept: Function applied to each output, such as `averaged`; by default the whole output is kept.
    """
    outermost: dict[int, _Call] = {}
    for call in reversed(_calls(network, batch, kept or _copied)):
        if call.leaving is not None:
            outermost.setdefault(id(call.output), call)
    calls = list(reversed(outermost.values()))
    calls = [call for call in calls if not _is_pooled(call.leaving)] or calls
    return {call.name: call.kept for call in calls}


def averaged(maps: Tensor) -> Tensor:
    """Mean of a map over its positions, float32, `batch x channels`; vectors are returned unchanged."""
    maps = maps.float()
    return maps.flatten(2).mean(2) if maps.ndim > 2 else maps


def has_weights(module: nn.Module) -> bool:
    """Whether a module has parameters of its own, without those of modules inside it."""
    return next(module.parameters(recurse=False), None) is not None


@dataclass(frozen=True)
class _Call:
    """A call of a module.

    Attributes:
        name: Name of the module.
        entering: Resolution of the input map, None if the input is not a map.
        takes_tokens: Whether the input is a tensor of more than one axis beside the batch, and no map.
        leaving: Resolution of the output map, None if the output is not a map, or is the network's input or output.
        output: The output.
        kept: What was computed from the output right after the call.
    """

    name: str
    entering: Size | None
    takes_tokens: bool
    leaving: Size | None
    output: Tensor
    kept: Tensor


def _calls(network: nn.Module, batch: Tensor, kept: Callable[[Tensor], Tensor]) -> list[_Call]:
    """Last call of each module except the network itself, in the order in which the calls end."""
    calls: dict[str, _Call] = {}
    read: list[Tensor] = []  # what a teacher reads its logits from

    def record(name: str, module: nn.Module, args: tuple[object, ...], output: object) -> None:
        calls.pop(name, None)
        if isinstance(network, _Reads) and module is network.network:
            read[:] = _logits(output)
        if isinstance(output, Tensor):
            given = args[0] if args else None
            entering = _size(given, batch)
            is_of_tokens = entering is None and isinstance(given, Tensor) and given.ndim > 2
            calls[name] = _Call(name, entering, is_of_tokens, _size(output, batch), output, kept(output))

    entered = batch.clone()
    with _hooked(network, record), _evaluating(network), torch.autocast(batch.device.type, enabled=False):
        returned = network.forward(entered)  # bypasses hooks on the network itself, one of which may be the caller
    ends = set(map(_memory, (entered, *_logits(returned), *read)))
    return [replace(call, leaving=None) if _memory(call.output) in ends else call for call in calls.values()]


def _logits(returned: object) -> list[Tensor]:
    """What a network returns: a tensor, or those of several values that may be logits and are no map."""
    if isinstance(returned, Tensor):
        return [returned]
    values = returned.values() if isinstance(returned, Mapping) else returned
    if not isinstance(values, Iterable):
        return []
    return [each for each in values if isinstance(each, Tensor) and each.ndim == 2]


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@contextmanager
def _hooked(network: nn.Module, record: Callable[..., None]) -> Iterator[None]:
    inner = [(name, module) for name, module in network.named_modules() if name]
    handles = [module.register_forward_hook(partial(record, name)) for name, module in inner]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Context with evaluation mode and without gradient, which restores the mode of each module."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _size(value: object, batch: Tensor) -> Size | None:
    """Resolution of a map, `()` for a vector; None if the value has another number of axes than the batch."""
    if isinstance(value, Tensor) and value.ndim == batch.ndim and len(value) == len(batch):
        return tuple(value.shape[2:])
    return None


def _last(calls: Sequence[_Call], size: Size, following: Size | None) -> str:
    """Name of the last module that returns maps of `size` outside blocks that map from `size` to `following`."""
    names = [call.name for call in calls if call.leaving == size]
    blocks = tuple(f"{call.name}." for call in calls if (call.entering, call.leaving) == (size, following))
    outside = [name for name in names if not name.startswith(blocks)]
    return (outside or names)[-1]


def _shrinking(samples: Size, sizes: Iterable[Size]) -> list[Size]:
    """Each resolution of which no axis is longer than that of the one before; square ones only of square samples."""
    kept: list[Size] = []
    for size in dict.fromkeys(sizes):
        is_shorter = not kept or all(map(le, size, kept[-1]))
        if is_shorter and (len(set(size)) <= 1 or len(set(samples)) > 1):
            kept.append(size)
    return kept


def _check_depth(network: nn.Module, calls: Sequence[_Call], layers: Sequence[str]) -> None:
    """Raise `InputError` if most layers with weights, and more than a classifier has, run after the last map."""
    modules = dict(network.named_modules())
    deepest = max((number for number, call in enumerate(calls) if call.name in layers), default=len(calls))
    weighted = [has_weights(modules[call.name]) for call in calls]
    before, after = sum(weighted[: deepest + 1]), sum(weighted[deepest + 1 :])
    if after > max(before, _MOST_OF_CLASSIFIER):
        raise InputError(
            f"the last map of {type(network).__name__}, batch x channels x positions, is that of "
            f"{calls[deepest].name!r}, after which {after} of its {before + after} layers take tokens, or have their "
            "channels last: choose a method that compares logits or embeddings, or name layers that return maps."
        )


def _is_pooled(size: Size | None) -> bool:
    return size is not None and set(size) == {1}


def _copied(output: Tensor) -> Tensor:
    return output.to(torch.float32, copy=True)
