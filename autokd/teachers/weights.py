"""The files that a teacher is made from: where they are, and weights."""

import pickle
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from autokd.errors import InputError, first_line

__all__ = ["find_path", "load_weights"]


def find_path(name: str, key: str) -> Path:
    """What `name` means: a path, or "package:file" for a file inside an installed package.

    Raises:
        InputError: If there is no such package, or nothing at that path.
    """
    package, colon, file = name.partition(":")
    try:
        path = Path(str(resources.files(package))) / file if colon else Path(name)
    except (ModuleNotFoundError, TypeError, ValueError):
        raise InputError(f"{key} {name!r}: there is no package {package!r}.") from None
    if not path.exists():
        raise InputError(f"{key}: there is no file {path}.")
    return path


def load_weights(network: nn.Module, path: Path, factory: str) -> None:
    """Put the weights of a file into a network.

    Args:
        network: Whose parameters and buffers are set.
        path: A `.safetensors` file, or `.pth`/`.pt` of tensors only.
        factory: What the network is from, for error messages.

    Raises:
        InputError: If the file is not readable or does not fit the network.
    """
    try:
        state = _read_weights(path)
    except (SafetensorError, pickle.UnpicklingError, OSError, RuntimeError, EOFError, TypeError, ValueError) as error:
        raise InputError(f"teacher.weights: {path} is not a readable file of tensors: {first_line(error)}.") from None
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise InputError(
            f"teacher.weights: {path} does not fit {factory!r}: {' '.join(lines[1:2]) or lines[0]}"
        ) from None


def _read_weights(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return dict(load_file(path))
    if path.suffix in (".pth", ".pt"):
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    raise InputError(f"teacher.weights must end in .safetensors, .pth or .pt, but got {path.name!r}.")
