"""The device and the precision that "auto" stands for."""

from functools import cache

import torch
from torch import nn

from autokd.core.speed import measure_training, possible_precisions, worker_threads
from autokd.errors import InputError
from search_spaces.networks.kernels.batch_norm import BatchNorm2d
from search_spaces.networks.kernels.convolution import Conv2d

__all__ = ["pick_device", "pick_precision"]


def pick_device(name: str) -> torch.device:
    """The device with this name; "auto" is the first GPU, or the CPU without one.

    Raises:
        InputError: If torch does not know it, or it is not present.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, dtype=torch.float64, device=device).item()  # "meta" computes nothing, "mps" has no such numbers
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        raise InputError(f"workers.device {name!r} is not usable here: {str(error).splitlines()[0]}") from None
    return device


def pick_precision(name: str, device: torch.device) -> str:
    """The precision with this name; "auto" is the one in which a small convolutional network trains faster.

    A search times a student of its own space instead.
    """
    precisions = possible_precisions(name, device)
    return precisions[0] if len(precisions) == 1 else _faster_on_cpu()


@cache
def _faster_on_cpu() -> str:
    """The faster precision for three stages of 16 to 64 channels, on one thread as in a worker."""
    with worker_threads():
        stages = [layer for width in (1, 16, 32) for layer in _stage(width, 16 if width == 1 else 2 * width)]
        network = nn.Sequential(*stages).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = torch.rand(64, 1, 28, 28).to(memory_format=torch.channels_last)
        return measure_training(network, images, ("float32", "bfloat16")).precision


def _stage(inputs: int, outputs: int) -> list[nn.Module]:
    stride = 1 if inputs == 1 else 2
    layers = ((inputs, stride), (outputs, 1))
    return [
        layer
        for width, step in layers
        for layer in (Conv2d(width, outputs, 3, step, padding=1, bias=False), BatchNorm2d(outputs), nn.ReLU())
    ]
