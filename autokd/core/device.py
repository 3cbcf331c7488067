"""The device and the precision that "auto" stands for."""

from functools import cache
from time import perf_counter

import torch
from torch import nn

from autokd.errors import InputError
from search_spaces.networks.kernels.batch_norm import BatchNorm2d
from search_spaces.networks.kernels.convolution import Conv2d

__all__ = ["pick_device", "pick_precision"]

ROUNDS = 6  # of timing, of which the fastest counts; a fifth of a second in all
CLEARLY_FASTER = 0.95  # of the time in float32


def pick_device(name: str) -> torch.device:
    """The device with this name; "auto" is the first GPU, or the CPU without one.

    Raises:
        InputError: If torch does not know it, or it is not present.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # "meta" computes nothing
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"workers.device {name!r} is not usable here: {str(error).splitlines()[0]}") from None
    return device


def pick_precision(name: str, device: torch.device) -> str:
    """The precision with this name; "auto" is bfloat16 if the device trains faster in it, else float32.

    GPUs with bfloat16 do. Of the CPUs with instructions for it only some do, so a small convolutional network of the
    students' own layers is timed in both precisions, once in each process.
    """
    if name != "auto":
        return name
    faster = torch.cuda.is_bf16_supported() if device.type == "cuda" else _cpu_has_bfloat16() and _cpu_gains()
    return "bfloat16" if faster else "float32"


def _cpu_has_bfloat16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@cache
def _cpu_gains() -> bool:
    """Whether training steps are clearly faster in bfloat16, on one thread as in a worker."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            block = [nn.ReLU(), Conv2d(12, 12, 3, padding=1, bias=False), BatchNorm2d(12)]
            network = nn.Sequential(*block, *block).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            images = torch.rand(64, 12, 28, 28).to(memory_format=torch.channels_last)
        pairs = [(_step_seconds(network, images, False), _step_seconds(network, images, True)) for _ in range(ROUNDS)]
    finally:
        torch.set_num_threads(threads)
    full, half = (min(seconds) for seconds in zip(*pairs, strict=True))
    return bool(half < CLEARLY_FASTER * full)


def _step_seconds(network: nn.Module, images: torch.Tensor, half: bool) -> float:
    started = perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        total = network(images).float().sum()
    total.backward()
    return perf_counter() - started
