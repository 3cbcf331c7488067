"""Torch's random numbers, left as they were."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["forked_rng"]


@contextmanager
def forked_rng(*devices: torch.device | str) -> Iterator[None]:
    """A block after which the random numbers of the CPU and of these devices go on as if it had not been.

    Other GPUs are not touched, where torch's own `fork_rng` by default reads the state of each, and so wakes it.

    Args:
        devices: Devices on which the block computes.
    """
    gpus = {device for device in map(torch.device, devices) if device.type == "cuda"}
    with torch.random.fork_rng(devices=list(gpus)):
        yield
