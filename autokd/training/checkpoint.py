"""Checkpoints, each a safetensors file.

It holds the network, its average, its best weights so far, the parameters and buffers of the loss, the optimiser's
state and, in its header, the progress with a digest of the rest. A checkpoint is overwritten as training continues; the
final weights of a training have a file of their own.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autokd.core.files import write_atomically
from autokd.errors import InputError, first_line
from autokd.training.best_checkpoint import Score
from autokd.training.loop import TrainingState

__all__ = [
    "Checkpoint",
    "Reached",
    "epochs_done",
    "furthest",
    "load_checkpoint",
    "load_weights",
    "save_checkpoint",
    "save_weights",
    "undamaged_checkpoint",
]

_FORMAT = 3  # a file of another format is ignored: its training starts again
# Prefixes of tensors' names, besides those of the modules.
_AVERAGE, _BEST, _OPTIMISER = "average.", "best.", "optimiser."
_COUNTER = "step"  # the one state of PyTorch's optimisers that is a scalar and not of the parameter's shape


def save_checkpoint(state: TrainingState, path: Path) -> None:
    """Save everything needed to continue a training, on the CPU bit for bit."""
    tensors = _plain(_tensors(state))
    progress = {
        "format": _FORMAT,
        "step": state.step,
        "epochs": state.epochs,
        "losses": state.losses,
        "entropies": state.entropies,
        "best": None if state.best is None else asdict(state.best),
        "steps_per_second": state.steps_per_second,
        "digest": _digest(tensors),
    }
    write_atomically(path, lambda temporary: save_file(tensors, temporary, {"progress": json.dumps(progress)}))


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read whole and is undamaged.

    Attributes:
        path: Its file.
        progress: What its header says of the training.
        tensors: The saved tensors by name.
    """

    path: Path
    progress: Mapping[str, Any]
    tensors: dict[str, Tensor]

    @property
    def step(self) -> int:
        """Steps trained up to it."""
        return int(self.progress["step"])

    def restore(self, state: TrainingState) -> None:
        """Restore the saved state into a fresh one. The learning rate is not saved, since it depends on the step.

        Raises:
            InputError: If it is of another network or method.
        """
        for part, module in _modules(state).items():
            try:
                module.load_state_dict(_starting_with(f"{part}.", self.tensors))
            except RuntimeError:
                raise InputError(
                    f"checkpoint {self.path} is of another {part}: delete it to train again from the start."
                ) from None
        if state.average is not None:
            state.average.load(_starting_with(_AVERAGE, self.tensors))
        _load_optimiser(state, _starting_with(_OPTIMISER, self.tensors))
        state.step, state.epochs = self.step, self.progress["epochs"]
        state.losses, state.entropies = self.progress["losses"], self.progress["entropies"]
        state.best = None if self.progress["best"] is None else Score(**self.progress["best"])
        state.best_weights = _starting_with(_BEST, self.tensors)


def load_checkpoint(state: TrainingState, path: Path) -> None:
    """Restore a saved state into a fresh one, in place; see `Checkpoint.restore`.

    Raises:
        InputError: If the file is damaged, of another network or method, or of another version's format.
    """
    checkpoint = _whole(path)
    if checkpoint is None:
        raise InputError(f"checkpoint {path} is of another version: delete it to train again from the start.")
    checkpoint.restore(state)


def undamaged_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint at `path`; None if there is none of this format or it is damaged, which a line on stdout says.

    A training without it starts again, and comes to the same.
    """
    try:
        return _whole(path) if path.exists() else None
    except InputError as error:
        print(f"{error} It is left out.")
        return None


def save_weights(network: nn.Module, path: Path) -> None:
    """Save a network's state dict, with a digest of it in the header."""
    tensors = _plain(network.state_dict().items())
    digest = {"digest": _digest(tensors)}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, digest))


def load_weights(path: Path) -> dict[str, Tensor]:
    """State dict saved by `save_weights`.

    Raises:
        InputError: If the file is missing or damaged.
    """
    tensors = _read(path, "weights")
    if _header(path).get("digest") not in (None, _digest(tensors)):  # files of earlier versions have none
        raise InputError(f"weights {path} cannot be read: some of its bytes have changed.")
    return tensors


@dataclass(frozen=True)
class Reached:
    """How far a training had come at a checkpoint.

    Attributes:
        epochs: Epochs trained up to it.
        epochs_per_second: Speed of the epoch, or part of one, before it; None in checkpoints of earlier versions.
        at: When it was written.
    """

    epochs: float
    epochs_per_second: float | None
    at: datetime


def furthest(*paths: Path) -> Reached | None:
    """How far a training had come at the last of these checkpoints; None if none can be read and has this format."""
    return max((each for each in map(_reached, paths) if each), key=lambda each: each.epochs, default=None)


def epochs_done(*paths: Path) -> float:
    """Epochs trained up to the last of these checkpoints; 0 if none can be read and has this format."""
    reached = furthest(*paths)
    return reached.epochs if reached else 0.0


def _reached(path: Path) -> Reached | None:
    try:
        progress = _progress(path)
        at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (InputError, OSError):
        return None
    if progress is None:
        return None
    speed, epochs = progress.get("steps_per_second"), float(progress["epochs"])
    return Reached(epochs, speed and speed * epochs / progress["step"], at)


def _modules(state: TrainingState) -> dict[str, nn.Module]:
    return {"network": state.network, "method": state.method}


def _named_parameters(state: TrainingState) -> Iterator[tuple[str, nn.Parameter]]:
    for part, module in _modules(state).items():
        for name, parameter in module.named_parameters():
            yield f"{part}.{name}", parameter


def _tensors(state: TrainingState) -> Iterator[tuple[str, Tensor]]:
    for part, module in _modules(state).items():
        for name, tensor in module.state_dict().items():
            yield f"{part}.{name}", tensor
    if state.average is not None:
        for name, tensor in state.average.tensors.items():
            yield _AVERAGE + name, tensor
    for name, tensor in state.best_weights.items():
        yield _BEST + name, tensor
    for name, parameter in _named_parameters(state):
        for key, value in state.optimiser.state[parameter].items():
            if value is not None:
                yield f"{_OPTIMISER}{key}.{name}", value


def _load_optimiser(state: TrainingState, tensors: dict[str, Tensor]) -> None:
    parameters = dict(_named_parameters(state))
    for name, tensor in tensors.items():
        key, _, of = name.partition(".")
        parameter = parameters[of]
        kept = parameter.new_empty(()) if key == _COUNTER else torch.empty_like(parameter)  # keeps the memory format
        state.optimiser.state[parameter][key] = kept.copy_(tensor)


def _starting_with(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors whose names have this prefix, with it removed."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _read(path: Path, kind: str) -> dict[str, Tensor]:
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise InputError(f"{kind} {path} cannot be read: {error}.") from None


def _header(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def _progress(path: Path) -> dict[str, Any] | None:
    """Progress from the header of a checkpoint; None if it is of another format."""
    try:
        progress = dict(json.loads(_header(path)["progress"]))
    except (OSError, RuntimeError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"checkpoint {path} cannot be read: {first_line(error)}.") from None
    return progress if progress.get("format") == _FORMAT else None


def _whole(path: Path) -> Checkpoint | None:
    """The checkpoint with its tensors, whose bytes safetensors does not check; None if it is of another format."""
    progress = _progress(path)
    if progress is None:
        return None
    tensors = _read(path, "checkpoint")
    if _digest(tensors) != progress["digest"]:
        raise InputError(f"checkpoint {path} cannot be read: some of its bytes have changed.")
    if progress["best"] is not None and not _starting_with(_BEST, tensors):  # earlier versions had a file for them
        best = load_weights(path.with_name("best.safetensors"))
        tensors |= {_BEST + name: tensor for name, tensor in best.items()}
    return Checkpoint(path, progress, tensors)


def _digest(tensors: dict[str, Tensor]) -> str:
    """Digest of the names and bytes of tensors."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _plain(named: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors detached, on the CPU, contiguous, and each in memory of its own, as safetensors requires."""
    plain: dict[str, Tensor] = {}
    addresses = set[int]()
    for name, tensor in named:
        own = tensor.detach().cpu().contiguous()
        address = own.untyped_storage().data_ptr()
        plain[name] = own.clone() if address in addresses else own  # layers may share a weight
        addresses.add(address)
    return plain
