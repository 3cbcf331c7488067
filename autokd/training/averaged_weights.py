"""Exponential moving average of a network's weights, which often generalises better than the weights themselves."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["Average"]


class Average:
    """Exponential moving average of a network's parameters and of the running statistics of batch normalisation.

    After step `t` the average is `d a + (1 - d) w`, where `a` is the previous average, `w` the weights and
    `d = min(decay, (1 + t) / (10 + t))`. Because of this warm-up (`num_updates` of TensorFlow's
    `ExponentialMovingAverage`), the average of a short training forgets the random initial weights. [ours] Running
    statistics are averaged in the same way, not recomputed for the averaged weights. Counters are not averaged.

    Args:
        network: The network; from now on its tensors may only be modified in place.
        decay: Decay, in `[0, 1)`.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self._network = network
        current = {name: tensor for name, tensor in network.state_dict().items() if tensor.is_floating_point()}
        self.tensors: dict[str, Tensor] = {name: tensor.clone() for name, tensor in current.items()}
        self._current = list(current.values())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the average with the weights after step number `step`, counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.tensors.values()), self._current, 1 - decay)

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restore saved averages."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Context in which the network has the averaged weights."""
        own = [tensor.clone() for tensor in self._current]
        torch._foreach_copy_(self._current, list(self.tensors.values()))
        try:
            yield
        finally:
            torch._foreach_copy_(self._current, own)
