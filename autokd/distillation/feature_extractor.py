"""What goes on inside a network: embedding and feature maps of a forward call, seen by hooks.

The network is only watched: its outputs and its state dict are what they are without.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from autokd.core.spelling import nearest_name
from autokd.distillation.base import Need, Outputs
from autokd.errors import InputError

__all__ = ["FeatureExtractor", "averaged", "default_layers", "layer_outputs"]

Size = tuple[int, ...]

_PROBED = 2  # samples: with a single one, other axes of size 1 could pass for the batch


class FeatureExtractor:
    """Watches a network and tells what its last forward call gave.

    The embedding is the flattened input of the last `nn.Linear` that ran; of a network that has none, the last feature
    map averaged over space. Features are what the named modules returned, also where a later module writes over it; of
    a module that runs several times, what it returned last. A copied or unpickled network is not watched.

    Args:
        network: What to watch, by hooks that stay until `remove`.
        needs: What its outputs must hold beside logits.
        layers: Names of the modules whose outputs are the features, in this order; None means `default_layers`, chosen
            on the first samples that the network sees.

    Raises:
        InputError: If the network has no module of such a name; at the first call, if none was named and none gives
            features.
    """

    def __init__(self, network: nn.Module, needs: Collection[Need], layers: Sequence[str] | None = None) -> None:
        self._needs = frozenset(needs)
        self._handles: list[RemovableHandle] = []
        self._layers: tuple[str, ...] = ()
        self._entered: Tensor | None = None
        self._returned: dict[str, Tensor] = {}
        linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
        if "embedding" in self._needs:
            self._handles += [module.register_forward_pre_hook(_Hook(self._keep_input)) for module in linear]
        if "features" in self._needs or ("embedding" in self._needs and not linear):
            if layers is None:
                self._handles.append(network.register_forward_pre_hook(_Hook(self._choose_layers)))
            else:
                self._watch(network, layers)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the modules whose outputs are the features; none before they are chosen."""
        return self._layers

    def outputs(self, logits: Tensor) -> Outputs:
        """All of the forward call that gave these logits, in float32; it is then forgotten.

        Raises:
            InputError: If a named module did not run or returned no tensor, or no linear layer ran.
        """
        features = tuple(map(self._feature, self._layers))
        embedding = self._embedding(features) if "embedding" in self._needs else None
        self._forget()
        return Outputs(logits.float(), embedding, features if "features" in self._needs else ())

    def remove(self) -> None:
        """Stop watching."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._forget()

    def _watch(self, network: nn.Module, layers: Sequence[str]) -> None:
        modules = dict(network.named_modules(remove_duplicate=False))
        for name in layers:
            if name not in modules:
                raise InputError(f"{type(network).__name__} has no module {name!r}{nearest_name(name, modules)}.")
        self._layers = tuple(layers)
        for name in layers:
            self._handles.append(modules[name].register_forward_hook(_Hook(partial(self._keep_output, name))))

    def _choose_layers(self, network: nn.Module, args: tuple[Tensor, ...]) -> None:
        if self._layers:
            return
        layers = default_layers(network, args[0][:_PROBED])
        if not layers:
            raise InputError(
                f"no module of {type(network).__name__} gives features with the axes of its samples, "
                f"{tuple(args[0].shape[1:])}: name the layers, or choose a method that compares logits alone."
            )
        self._watch(network, layers)

    def _keep_input(self, module: nn.Module, args: tuple[Tensor, ...]) -> None:
        self._entered = args[0]

    def _keep_output(self, name: str, module: nn.Module, args: object, output: object) -> None:
        if isinstance(output, Tensor):
            self._returned[name] = _copied(output)

    def _forget(self) -> None:
        self._entered = None
        self._returned.clear()

    def _feature(self, name: str) -> Tensor:
        if name not in self._returned:
            raise InputError(f"module {name!r} gives no features: it did not run, or returned no tensor.")
        return self._returned[name]

    def _embedding(self, features: Sequence[Tensor]) -> Tensor:
        if self._entered is not None:
            return self._entered.flatten(1).float()
        if not features:
            raise InputError("the network gives no embedding: none of its linear layers ran.")
        return averaged(features[-1])


def default_layers(network: nn.Module, example: Tensor) -> tuple[str, ...]:
    """Names of the last module of each resolution, in the order in which they run.

    A block that takes maps of one resolution and returns the next belongs to the next: what it does before it changes
    the resolution is passed over, unless there is nothing else. Of vectors all layers have one resolution, so that the
    last hidden layer is left. Outputs with other axes than the samples' are ignored, and so are the logits, what only
    hands the samples on, and maps of one position where there are others.

    Args:
        network: Left as it is, with its modes and statistics.
        example: A batch of samples, at least two: one could have other axes taken for the batch.
    """
    calls = _calls(network, example, _copied)
    sizes = list(dict.fromkeys(call.leaving for call in calls if call.leaving is not None))
    sizes = [size for size in sizes if not _is_pooled(size)] or sizes
    last = {_last(calls, size, following) for size, following in pairwise([*sizes, None]) if size is not None}
    return tuple(call.name for call in calls if call.name in last)


def layer_outputs(
    network: nn.Module, batch: Tensor, kept: Callable[[Tensor], Tensor] | None = None
) -> dict[str, Tensor]:
    """Output of each layer by its name, float32, in the order in which they run, without samples and logits.

    Outputs with other axes than the samples', `batch x channels x` any resolution, are ignored, and so are maps of one
    position where there are others. A tensor that several modules return, such as a block and its last layer, is there
    once, under the name of the outermost; one that is written over is there as the last of them left it.

    Args:
        network: Run in evaluation mode without gradient; left as it is, with its modes and statistics.
        batch: Samples, at least two: one could have other axes taken for the batch.
        kept: What is wanted of an output, such as `averaged`; None means all of it.
    """
    outermost: dict[int, _Call] = {}
    for call in reversed(_calls(network, batch, kept or _copied)):
        if call.leaving is not None:
            outermost.setdefault(id(call.output), call)
    calls = list(reversed(outermost.values()))
    calls = [call for call in calls if not _is_pooled(call.leaving)] or calls
    return {call.name: call.kept for call in calls}


def averaged(maps: Tensor) -> Tensor:
    """`batch x channels`, float32: the mean over all positions; vectors as they are."""
    maps = maps.float()
    return maps.flatten(2).mean(2) if maps.ndim > 2 else maps


class _Hook:
    """Tells `record` of a module's call. A copy, which goes with a copied or unpickled network, tells nobody."""

    def __init__(self, record: Callable[..., None] | None = None) -> None:
        self._record = record

    def __call__(self, *call: Any) -> None:
        if self._record is not None:
            self._record(*call)

    def __reduce__(self) -> tuple[type["_Hook"], tuple[()]]:
        return _Hook, ()


@dataclass(frozen=True)
class _Call:
    """A module's call with maps of size `entering` that returned `output`, from which `kept` was taken at once.

    A size is None where there is no map, and `leaving` for the network's own input and output.
    """

    name: str
    entering: Size | None
    leaving: Size | None
    output: Tensor
    kept: Tensor


def _calls(network: nn.Module, batch: Tensor, kept: Callable[[Tensor], Tensor]) -> list[_Call]:
    """The last call of each module but the network itself, in the order in which they end."""
    calls: dict[str, _Call] = {}

    def record(name: str, module: nn.Module, args: tuple[object, ...], output: object) -> None:
        calls.pop(name, None)
        if isinstance(output, Tensor):
            entering = _size(args[0], batch) if args else None
            calls[name] = _Call(name, entering, _size(output, batch), output, kept(output))

    entered = batch.clone()
    with _hooked(network, record), _evaluating(network), torch.autocast(batch.device.type, enabled=False):
        logits = network.forward(entered)  # past hooks on the network itself: one of them may be who asks
    ends = {_memory(entered), _memory(logits)}
    return [replace(call, leaving=None) if _memory(call.output) in ends else call for call in calls.values()]


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
    """Evaluation mode without gradient; then each module's own mode again."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _size(value: object, batch: Tensor) -> Size | None:
    """Resolution of a map, `()` of a vector; None of what has other axes than the batch."""
    if isinstance(value, Tensor) and value.ndim == batch.ndim and len(value) == len(batch):
        return tuple(value.shape[2:])
    return None


def _last(calls: Sequence[_Call], size: Size, following: Size | None) -> str:
    """The last to return maps of `size`, outside of the blocks that take such and return those of size `following`."""
    names = [call.name for call in calls if call.leaving == size]
    blocks = tuple(f"{call.name}." for call in calls if (call.entering, call.leaving) == (size, following))
    outside = [name for name in names if not name.startswith(blocks)]
    return (outside or names)[-1]


def _is_pooled(size: Size | None) -> bool:
    return size is not None and set(size) == {1}


def _copied(output: Tensor) -> Tensor:
    return output.to(torch.float32, copy=True)
