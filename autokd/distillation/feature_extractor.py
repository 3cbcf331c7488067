"""Extraction of a network's embedding and feature maps by forward hooks.

The hooks change neither the network's outputs nor its state dict.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from operator import le
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from autokd.core.spelling import nearest_name
from autokd.distillation.base import Need, Outputs
from autokd.errors import InputError

__all__ = ["FeatureExtractor", "averaged", "default_layers", "layer_outputs", "modules_named"]

Size = tuple[int, ...]

_MOST_OF_CLASSIFIER = 8  # layers
_PROBED = 2  # samples; with a single one, other axes of size 1 could be taken for the batch axis


class FeatureExtractor:
    """Hooks on a network that provide the embedding and the features of its last forward call.

    The embedding is the flattened input of the last `nn.Linear` that ran; for a network without linear layers, the last
    feature map averaged over its positions. The features are the outputs of the named modules, copied before a later
    module can modify them in place. If a module runs several times, its last output counts. Copies of the network, also
    pickled ones, have no active hooks.

    Args:
        network: The network to hook; the hooks stay until `remove`.
        needs: Outputs needed in addition to logits.
        layers: Names of the modules whose outputs are the features, in this order. By default `default_layers`, chosen
            at the first forward call.

    Raises:
        InputError: If the network has no module of such a name; at the first forward call, if `layers` is None and no
            module's output qualifies as features.
    """

    def __init__(self, network: nn.Module, needs: Collection[Need], layers: Sequence[str] | None = None) -> None:
        self._needs = frozenset(needs)
        self._handles: list[RemovableHandle] = []
        self._layers: tuple[str, ...] = ()
        self._last_input: Tensor | None = None
        self._outputs: dict[str, Tensor] = {}
        linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
        if "embedding" in self._needs:
            self._handles += [module.register_forward_pre_hook(_Hook(self._keep_input)) for module in linear]
        if "features" in self._needs or ("embedding" in self._needs and not linear):
            if layers is None:
                self._handles.append(network.register_forward_pre_hook(_Hook(self._choose_layers)))
            else:
                self._register(network, layers)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the modules whose outputs are the features; empty before they are chosen."""
        return self._layers

    def outputs(self, logits: Tensor) -> Outputs:
        """Outputs of the last forward call, which returned these logits, in float32. They are released afterwards.

        Raises:
            InputError: If a named module did not run or returned no tensor, or no linear layer ran.
        """
        features = tuple(map(self._feature, self._layers))
        embedding = self._embedding(features) if "embedding" in self._needs else None
        self._release()
        return Outputs(logits.float(), embedding, features if "features" in self._needs else ())

    def remove(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._release()

    def _register(self, network: nn.Module, layers: Sequence[str]) -> None:
        modules = modules_named(network, layers, type(network).__name__)
        self._layers = tuple(layers)
        for name in layers:
            self._handles.append(modules[name].register_forward_hook(_Hook(partial(self._keep_output, name))))

    def _choose_layers(self, network: nn.Module, args: tuple[Tensor, ...]) -> None:
        if self._layers:
            return
        layers = default_layers(network, args[0][:_PROBED])
        if not layers:
            raise InputError(
                f"no module of {type(network).__name__} returns features with as many axes as its samples, "
                f"{tuple(args[0].shape[1:])}: name the layers, or choose a method that compares logits only."
            )
        self._register(network, layers)

    def _keep_input(self, module: nn.Module, args: tuple[Tensor, ...]) -> None:
        self._last_input = args[0]

    def _keep_output(self, name: str, module: nn.Module, args: object, output: object) -> None:
        if isinstance(output, Tensor):
            self._outputs[name] = _copied(output)

    def _release(self) -> None:
        self._last_input = None
        self._outputs.clear()

    def _feature(self, name: str) -> Tensor:
        if name not in self._outputs:
            raise InputError(f"module {name!r} has no features: it did not run, or returned no tensor.")
        return self._outputs[name]

    def _embedding(self, features: Sequence[Tensor]) -> Tensor:
        if self._last_input is not None:
            return self._last_input.flatten(1).float()
        if not features:
            raise InputError("the network has no embedding: none of its linear layers ran.")
        return averaged(features[-1])


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
    calls = _calls(network, example, _copied)
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


class _Hook:
    """Hook that passes a module's call to `record`. Its copies, on a copied or unpickled network, do nothing."""

    def __init__(self, record: Callable[..., None] | None = None) -> None:
        self._record = record

    def __call__(self, *call: Any) -> None:
        if self._record is not None:
            self._record(*call)

    def __reduce__(self) -> tuple[type["_Hook"], tuple[()]]:
        return _Hook, ()


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

    def record(name: str, module: nn.Module, args: tuple[object, ...], output: object) -> None:
        calls.pop(name, None)
        if isinstance(output, Tensor):
            given = args[0] if args else None
            entering = _size(given, batch)
            is_of_tokens = entering is None and isinstance(given, Tensor) and given.ndim > 2
            calls[name] = _Call(name, entering, is_of_tokens, _size(output, batch), output, kept(output))

    entered = batch.clone()
    with _hooked(network, record), _evaluating(network), torch.autocast(batch.device.type, enabled=False):
        returned = network.forward(entered)  # bypasses hooks on the network itself, one of which may be the caller
    ends = {_memory(entered), *map(_memory, _logits(returned))}
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
    weighted = [next(modules[call.name].parameters(recurse=False), None) is not None for call in calls]
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
