"""Checkpoints: one safetensors file with the network, what the loss itself learns and remembers, the optimiser's
momentum of both and, in its header, the progress.

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

__all__ = ["load_checkpoint", "load_weights", "save_checkpoint", "save_weights", "segments_done", "steps_done"]

_WEIGHTS = {"network": "network.", "method": "method."}
_MOMENTA = {"network": "momentum.", "method": "method_momentum."}
_BUFFER = "momentum_buffer"  # torch.optim.SGD's name


def save_checkpoint(state: TrainingState, path: Path) -> None:
    """Write everything that training needs to go on bit for bit."""
    tensors: dict[str, Tensor] = {}
    for part, module in _modules(state).items():
        tensors |= {_WEIGHTS[part] + name: _plain(tensor) for name, tensor in module.state_dict().items()}
        for name, parameter in module.named_parameters():
            buffer = state.optimiser.state[parameter].get(_BUFFER)
            if buffer is not None:
                tensors[_MOMENTA[part] + name] = _plain(buffer)
    progress = {"step": state.step, "losses": state.losses}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, {"progress": json.dumps(progress)}))


def load_checkpoint(state: TrainingState, path: Path) -> None:
    """Put a fresh `state` where the saved one was; the learning rate follows from the step.

    Raises:
        InputError: If the file is damaged or is of another network.
    """
    tensors, progress = _read(path)
    for part, module in _modules(state).items():
        try:
            module.load_state_dict(_starting_with(_WEIGHTS[part], tensors))
        except RuntimeError:
            raise InputError(
                f"checkpoint {path} is of another {part}: delete it to train again from the start."
            ) from None
        momenta = _starting_with(_MOMENTA[part], tensors)
        for name, parameter in module.named_parameters():
            if name in momenta:
                buffer = torch.empty_like(parameter)  # keeps the memory format
                state.optimiser.state[parameter][_BUFFER] = buffer.copy_(momenta[name])
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
        return len(_progress(path)["losses"])
    except InputError:
        return 0


def steps_done(path: Path) -> int:
    """Steps of training that the last checkpoint at `path` has behind it.

    Raises:
        InputError: If the file is missing or damaged.
    """
    return int(_progress(path)["step"])


def _modules(state: TrainingState) -> dict[str, nn.Module]:
    return {"network": state.network, "method": state.method}


def _starting_with(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those tensors whose names start so, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    progress = _progress(path)
    try:
        return dict(load_file(path)), progress
    except (OSError, SafetensorError) as error:
        raise InputError(f"checkpoint {path} cannot be read: {error}.") from None


def _progress(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            progress = json.loads(file.metadata()["progress"])
            return {"step": progress["step"], "losses": progress["losses"]}
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"checkpoint {path} cannot be read: {error}.") from None


def _plain(tensor: Tensor) -> Tensor:
    """Detached, on the CPU, in the default memory format: what safetensors takes."""
    return tensor.detach().cpu().contiguous()
