"""Extraction of a network's embedding and feature maps by forward hooks.

The hooks change neither the network's outputs nor its state dict.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from autokd.distillation.base import Need, Outputs
from autokd.distillation.layers import averaged, default_layers, modules_named
from autokd.errors import InputError

__all__ = ["FeatureExtractor"]

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
        if not isinstance(args[0], Tensor):
            raise InputError(
                f"{type(network).__name__} takes a {type(args[0]).__name__}, whose features are not found by "
                "themselves: name the layers, or choose a method that compares logits only."
            )
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
            self._outputs[name] = output.to(torch.float32, copy=True)

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


class _Hook:
    """Hook that passes a module's call to `record`. Its copies, on a copied or unpickled network, do nothing."""

    def __init__(self, record: Callable[..., None] | None = None) -> None:
        self._record = record

    def __call__(self, *call: Any) -> None:
        if self._record is not None:
            self._record(*call)

    def __reduce__(self) -> tuple[type["_Hook"], tuple[()]]:
        return _Hook, ()
