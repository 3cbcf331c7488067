"""Checkpoints: one safetensors file with the network, the optimiser's momentum and, in its header, the progress.

A checkpoint is overwritten as training goes on; the weights of a training's end have a file of their own.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autokd.errors import InputError
from autokd.files import write_atomically
from autokd.training.loop import TrainingState

__all__ = ["load_checkpoint", "load_weights", "save_checkpoint", "save_weights", "segments_done"]

_NETWORK, _MOMENTUM = "network.", "momentum."
_BUFFER = "momentum_buffer"  # torch.optim.SGD's name


def save_checkpoint(state: TrainingState, path: Path) -> None:
    """Write everything that training needs to go on bit for bit."""
    tensors = {_NETWORK + name: _plain(tensor) for name, tensor in state.network.state_dict().items()}
    for name, parameter in state.network.named_parameters():
        buffer = state.optimiser.state[parameter].get(_BUFFER)
        if buffer is not None:
            tensors[_MOMENTUM + name] = _plain(buffer)
    progress = {"step": state.step, "losses": state.losses}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, {"progress": json.dumps(progress)}))


def load_checkpoint(state: TrainingState, path: Path) -> None:
    """Put a fresh `state` where the saved one was; the learning rate follows from the step.

    Raises:
        InputError: If the file is damaged or is of another network.
    """
    tensors, progress = _read(path)
    weights = {name.removeprefix(_NETWORK): tensor for name, tensor in tensors.items() if name.startswith(_NETWORK)}
    try:
        state.network.load_state_dict(weights)
    except RuntimeError:
        raise InputError(f"checkpoint {path} is of another network: delete it to train again from the start.") from None
    for name, parameter in state.network.named_parameters():
        if _MOMENTUM + name in tensors:
            buffer = torch.empty_like(parameter)  # keeps the memory format
            state.optimiser.state[parameter][_BUFFER] = buffer.copy_(tensors[_MOMENTUM + name])
    state.step, state.losses = progress["step"], list(progress["losses"])


def save_weights(network: nn.Module, path: Path) -> None:
    """Write the network's state dict alone."""
    tensors = {name: _plain(tensor) for name, tensor in network.state_dict().items()}
    write_atomically(path, lambda temporary: save_file(tensors, temporary))


def load_weights(path: Path) -> dict[str, Tensor]:
    """The state dict that `save_weights` wrote.

    Raises:
        InputError: If the file is missing or damaged.
    """
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise InputError(f"weights {path} cannot be read: {error}.") from None


def segments_done(path: Path) -> int:
    """Segments of training, each an epoch at most, that the last checkpoint at `path` has behind it; 0 without one."""
    try:
        with safe_open(path, framework="pt") as file:
            return len(json.loads(file.metadata()["progress"])["losses"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return 0


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            return tensors, json.loads(file.metadata()["progress"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"checkpoint {path} cannot be read: {error}.") from None


def _plain(tensor: Tensor) -> Tensor:
    """Detached, on the CPU, in the default memory format: what safetensors takes."""
    return tensor.detach().cpu().contiguous()
