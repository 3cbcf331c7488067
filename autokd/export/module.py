"""A student as one module, which normalises its input itself, as `model.py` does."""

import torch
from torch import Tensor, nn

from autokd.errors import InputError

__all__ = ["StudentModule"]


class StudentModule(nn.Module):
    """A student that takes samples as the data set holds them, channels first, and gives logits.

    Args:
        network: The student for normalised input.
        normalisation: Mean and deviation of each channel or feature.
        n_dims: Dimensions of a sample: 3 of images, 2 of signals, 1 of vectors.
        is_float: Whether the data set's samples are float32; else they are uint8.

    Attributes:
        network: As given.
        mean: Of each channel, of values in `[0, 1]` for uint8 samples, of raw values for float32.
        deviation: Standard deviation of the same.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        network: nn.Module,
        normalisation: tuple[tuple[float, ...], tuple[float, ...]],
        n_dims: int,
        is_float: bool,
    ) -> None:
        super().__init__()
        self.network = network
        self.is_float = is_float
        for name, values in zip(("mean", "deviation"), normalisation, strict=True):
            self.register_buffer(name, torch.tensor(values).view(-1, *[1] * (n_dims - 1)))
        self.train(network.training)

    def forward(self, samples: Tensor) -> Tensor:
        """Logits, `batch x classes`.

        Args:
            samples: Images of uint8, `batch x channels x height x width`; signals, `batch x channels x length`, or
                vectors, `batch x features`, of uint8 or float as in the data set.
        """
        logits: Tensor = self.network(self.preprocess(samples))
        return logits

    def preprocess(self, samples: Tensor) -> Tensor:
        """Samples as the network takes them: normalised as in training.

        Raises:
            InputError: If floats are given where the data set holds bytes, which are perhaps normalised already.
        """
        if self.is_float:
            return (samples.to(self.mean.dtype) - self.mean) / self.deviation
        if samples.dtype != torch.uint8:
            raise InputError(
                f"the student takes uint8 samples as the data set holds them, but got {samples.dtype}; "
                "what is normalised already goes to its `network`."
            )
        return samples.to(self.mean.dtype) * (1 / (255 * self.deviation)) - self.mean / self.deviation
