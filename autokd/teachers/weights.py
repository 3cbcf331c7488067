"""Files that teachers are made from: their paths, and weights from checkpoints."""

import os
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from autokd.core.hub import HUB, hub_file
from autokd.errors import InputError, first_line

__all__ = ["SUFFIXES", "check_suffix", "find_path", "load_weights"]

SUFFIXES = (".safetensors", ".pth", ".pt", ".th", ".ckpt", ".bin")

_TORCHSCRIPT = "TorchScript archive"  # in torch's warning and error about such a file
_SHOWN = 3  # keys of a kind in a message
_MISFITS = (RuntimeError, TypeError, AttributeError, KeyError)  # of `load_state_dict`


def find_path(name: str, key: str, download: bool | None = None) -> Path:
    """Path of a file that is named by its path, as "package:file" in an installed package, or as "hf:user/name".

    Args:
        name: The name.
        key: Key of the configuration that names the file, for error messages.
        download: Whether a file on the hub may be fetched; otherwise it must be in the cache.

    Raises:
        InputError: If there is no such package or file.
    """
    if name.startswith(HUB):
        return hub_file(name.removeprefix(HUB), key, download)
    package, colon, file = name.partition(":")
    try:
        path = Path(str(resources.files(package))) / file if colon else Path(name)
    except (ModuleNotFoundError, TypeError, ValueError):
        raise InputError(f"{key} {name!r}: there is no package {package!r}.") from None
    if not os.path.exists(path):
        raise InputError(f"{key}: there is no file {path}.")
    return path


@dataclass(frozen=True)
class _State:
    """A state dict that was found in a file.

    Attributes:
        tensors: The state dict.
        entry: Key of the file's content that holds it; None where it is the content itself.
        prefix: What was removed from the beginning of all its keys.
    """

    tensors: Mapping[str, Any]
    entry: str | None = None
    prefix: str = ""

    def __str__(self) -> str:
        place = "the file itself" if self.entry is None else f"entry {self.entry!r}"
        return place + (f" without the prefix {self.prefix!r}" if self.prefix else "")


def load_weights(
    network: nn.Module, path: Path, factory: str, notify: Callable[[str], None] = lambda line: None
) -> None:
    """Put the weights of a file into a network.

    A state dict may be an entry of a checkpoint, such as `state_dict` or `model`, and all its keys may have a prefix,
    such as `module.`: both are removed where exactly one entry then fits the network.

    Args:
        network: Whose parameters and buffers are set.
        path: A `.safetensors` file, or one that `torch.save` wrote and that holds nothing but tensors and plain values.
        factory: What the network is from, for error messages.
        notify: Called with a line for the user if something was removed.

    Raises:
        InputError: If the file is not readable, does not fit the network, or several of its entries do.
    """
    states = list(_states(_read(path)))
    if not states:
        raise InputError(f"teacher.weights: {path} is not a readable state dict: it holds no tensors by name.")
    fitting = _fitting(network, states)
    if not fitting:
        raise InputError(f"teacher.weights: {path} does not fit {factory!r}: {_mismatch(network, states)}.")
    if len(fitting) > 1:
        entries = ", ".join(repr(state.entry) for state in fitting)
        raise InputError(
            f"teacher.weights: {path} holds several state dicts that fit {factory!r}, {entries}: save the one that is "
            "meant in a file of its own."
        )
    network.load_state_dict(fitting[0].tensors)
    if fitting[0].entry is not None or fitting[0].prefix:
        notify(f"teacher.weights: {path.name}: the weights are {fitting[0]}")


def check_suffix(path: Path) -> None:
    """Raise `InputError` if a file is none that can hold weights, by its name."""
    if path.suffix not in SUFFIXES:
        known = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        raise InputError(f"teacher.weights must end in {known}, but got {path.name!r}.")


def _read(path: Path) -> object:
    check_suffix(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", f".*{_TORCHSCRIPT}")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"teacher.weights: {path} is not a readable file of tensors: it is damaged, or holds other objects, which "
            "are never unpickled; save the state dict alone: torch.save(module.state_dict(), file)."
        ) from None
    except (SafetensorError, OSError, RuntimeError, EOFError, TypeError, ValueError) as error:
        if _TORCHSCRIPT in str(error):
            raise InputError(
                f"teacher.weights: {path} is a {_TORCHSCRIPT}: save its state_dict, or return torch.jit.load(...) from "
                "teacher.factory."
            ) from None
        raise InputError(f"teacher.weights: {path} is not a readable file of tensors: {first_line(error)}.") from None


def _states(content: object) -> Iterator[_State]:
    """All state dicts in the content of a file, each as it is and then without prefixes that all its keys share."""
    if not isinstance(content, Mapping):
        return
    for entry, value in ((None, content), *content.items()):
        if not isinstance(value, Mapping) or not _is_state(value):
            continue
        prefix = ""
        while True:
            yield _State({key.removeprefix(prefix): tensor for key, tensor in value.items()}, entry, prefix)
            rest = [key.removeprefix(prefix) for key in value]
            head = rest[0].partition(".")[0] + "."
            if not all(key.startswith(head) for key in rest):
                break
            prefix += head


def _is_state(value: Mapping[Any, Any]) -> bool:
    is_named = all(isinstance(key, str) for key in value)
    return is_named and any(isinstance(item, Tensor) for item in value.values())


def _fitting(network: nn.Module, states: Sequence[_State]) -> list[_State]:
    """The states that can be loaded, one for each entry; the file's own content excludes its entries."""
    fitting: dict[str | None, _State] = {}
    for state in states:
        if state.entry not in fitting and None not in fitting:
            try:
                network.load_state_dict(state.tensors)
            except _MISFITS:
                continue
            fitting[state.entry] = state
    return list(fitting.values())


def _mismatch(network: nn.Module, states: Sequence[_State]) -> str:
    """Why the state whose keys are nearest to the network's does not fit, in a few words."""
    own = network.state_dict()
    nearest = max(states, key=lambda state: len(own.keys() & state.tensors.keys()))
    found = nearest.tensors
    wrong = {
        "missing": [key for key in own if key not in found],
        "unexpected": [key for key in found if key not in own],
    }
    faults = [f"{len(keys)} keys are {kind} ({_first(keys)})" for kind, keys in wrong.items() if keys]
    sizes = [(key, tuple(own[key].shape), tuple(getattr(found.get(key), "shape", ()))) for key in own if key in found]
    differing = (f"{key} must be of {wanted}, but is of {given}" for key, wanted, given in sizes if wanted != given)
    faults += islice(differing, 1)
    return f"in {nearest}, {'; '.join(faults) or 'which its module refuses'}"


def _first(keys: Sequence[str]) -> str:
    return ", ".join(keys[:_SHOWN]) + (", ..." if len(keys) > _SHOWN else "")
