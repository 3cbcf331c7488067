"""The teacher: a trained network made from a factory and a file of weights, checked before anything learns from it."""

import hashlib
import pickle
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from autokd.config import TeacherConfig
from autokd.data.dataset import Dataset
from autokd.errors import InputError, first_line
from autokd.names import call
from autokd.training.metrics import label_metrics, predict

__all__ = ["Teacher", "check_teacher", "load_teacher"]

CHANCE_MARGIN = 1.5  # a teacher this many times as good as guessing has learnt something


class Teacher(nn.Module):
    """A frozen network in evaluation mode that gives logits.

    Attributes:
        digest: SHA-256 of the weights and of the factory's name: teachers with one digest teach alike.
        parameter_count: Number of parameters, or None for a callable that is not a module.
    """

    def __init__(self, network: Callable[[Tensor], Tensor], name: str) -> None:
        super().__init__()
        self._network = network
        if isinstance(network, nn.Module):
            network.eval().requires_grad_(False)
            self.parameter_count: int | None = sum(parameter.numel() for parameter in network.parameters())
        else:
            self.parameter_count = None
        self.digest = _digest(network, name)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Logits, float32, `batch x classes`, of normalised samples, `batch x` the data set's `input_shape`."""
        return self._network(images).float()


def load_teacher(config: TeacherConfig, device: torch.device) -> Teacher:
    """The teacher that `config` names, on `device`, its weights of four dimensions channels_last.

    Raises:
        InputError: If the factory or the weights cannot be found, read, or do not fit together.
    """
    if config.factory is None:
        raise InputError("teacher.factory is missing: it must be `module:function`.")
    network = call(config.factory, "teacher.factory")
    if not callable(network):
        raise InputError(
            f"teacher.factory {config.factory!r} must return a module or a callable, not {type(network).__name__}."
        )
    if config.weights:
        if not isinstance(network, nn.Module):
            raise InputError(f"teacher.weights needs a factory that returns a module, not {type(network).__name__}.")
        _load_weights(network, weights_path(config.weights), config)
    if isinstance(network, nn.Module):
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Teacher(network, config.factory)


def check_teacher(teacher: Teacher, dataset: Dataset, floor: float | None, device: torch.device) -> dict[str, float]:
    """The teacher's metrics on the validation split, if they are good enough to learn from.

    A mis-loaded teacher fails silently: its accuracy is that of guessing.

    Raises:
        InputError: If its outputs do not fit the classes, or its accuracy is below the floor or near chance.
    """
    split = dataset.validation.to(device)
    try:
        logits = predict(teacher, split, dataset.normalisation)
    except Exception as error:  # a user's network can fail in any way
        shape = tuple(dataset.input_shape)
        raise InputError(
            f"the teacher fails on {split.kind} of {shape}: {type(error).__name__}: {first_line(error)}."
        ) from error
    if logits.ndim != 2 or logits.shape[1] != dataset.classes:
        raise InputError(
            f"the teacher gives {tuple(logits.shape[1:])} outputs a sample, but the data has {dataset.classes} classes."
        )
    metrics = label_metrics(logits, split.labels)
    most_frequent = float(split.labels.bincount().max() / len(split))
    lowest = min(CHANCE_MARGIN * most_frequent, (1 + most_frequent) / 2)
    if floor is not None and metrics["accuracy"] < floor:
        raise InputError(
            f"the teacher's validation accuracy is {metrics['accuracy']:.2%}, below teacher.floor = {floor:.2%}."
        )
    if floor is None and metrics["accuracy"] < lowest:
        raise InputError(
            f"the teacher's validation accuracy is {metrics['accuracy']:.2%}, hardly better than always naming "
            f"the most frequent class ({most_frequent:.2%}): check its weights and what inputs it wants, "
            "or set teacher.floor."
        )
    return metrics


def weights_path(name: str) -> Path:
    """The file that `name` means: a path, or "package:file" for a file inside an installed package."""
    package, colon, file = name.partition(":")
    if not colon:
        return Path(name)
    try:
        return Path(str(resources.files(package))) / file
    except (ModuleNotFoundError, TypeError, ValueError):
        raise InputError(f"teacher.weights {name!r}: there is no package {package!r}.") from None


def _load_weights(network: nn.Module, path: Path, config: TeacherConfig) -> None:
    if not path.is_file():
        raise InputError(f"teacher.weights: there is no file {path}.")
    try:
        state = _read_weights(path)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, TypeError, ValueError) as error:
        raise InputError(f"teacher.weights: {path} is not a readable file of tensors: {first_line(error)}.") from None
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise InputError(
            f"teacher.weights: {path} does not fit {config.factory!r}: {' '.join(lines[1:2]) or lines[0]}"
        ) from None


def _read_weights(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return dict(load_file(path))
    if path.suffix in (".pth", ".pt"):
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    raise InputError(f"teacher.weights must end in .safetensors, .pth or .pt, but got {path.name!r}.")


def _digest(network: Callable[[Tensor], Tensor], name: str) -> str:
    digest = hashlib.sha256(name.encode())
    if isinstance(network, nn.Module):
        for key, tensor in sorted(network.state_dict().items()):
            digest.update(f"{key}{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
