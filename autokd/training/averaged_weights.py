"""The moving average of a network's weights, which is often better than the weights themselves."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["Average"]


class Average:
    """Exponential moving average of a network's parameters and of its batch norms' running statistics.

    After step `t` it is `d a + (1 - d) w` of the average `a` before and the weights `w`, with
    `d = min(decay, (1 + t) / (10 + t))`, so that a short training's average forgets the random weights it began with
    (the warm-up of TensorFlow's `ExponentialMovingAverage`, its `num_updates`). [ours] Running statistics are averaged
    likewise, not measured anew for the average weights. Counters are the network's own.

    Args:
        network: What is averaged; its tensors must be changed in place from now on.
        decay: In `[0, 1)`.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self._network = network
        current = {name: tensor for name, tensor in network.state_dict().items() if tensor.is_floating_point()}
        self.tensors: dict[str, Tensor] = {name: tensor.clone() for name, tensor in current.items()}
        self._current = list(current.values())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step `step`, counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.tensors.values()), self._current, 1 - decay)

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from those averages."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """A block in which the network has the average weights."""
        own = [tensor.clone() for tensor in self._current]
        torch._foreach_copy_(self._current, list(self.tensors.values()))
        try:
            yield
        finally:
            torch._foreach_copy_(self._current, own)
