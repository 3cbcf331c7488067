"""Students as modules that normalise their input, as `model.py` and its `preprocess` do."""

import torch
from torch import Tensor, nn

from autokd.errors import InputError

__all__ = ["StudentModule"]


class StudentModule(nn.Module):
    """Student that returns logits for samples as they are in the data set, but channels first.

    Args:
        network: The network for normalised input.
        normalisation: Mean and deviation of each channel or feature.
        n_dims: Number of dimensions of a sample: 3 for images, 2 for signals, 1 for vectors.
        is_float: Whether the samples of the data set are float32; otherwise they are uint8.

    Attributes:
        network: The network for normalised input.
        mean: Mean of each channel or feature, for values in `[0, 1]` if samples are uint8, and for raw ones otherwise.
        deviation: Standard deviation of the same values.
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
        """Samples normalised as in training.

        Raises:
            InputError: If the samples of the data set are uint8, but these are not: they may be normalised already.
        """
        if self.is_float:
            return (samples.to(self.mean.dtype) - self.mean) / self.deviation
        if samples.dtype != torch.uint8:
            raise InputError(
                f"the student takes uint8 samples as in the data set, but got {samples.dtype}; pass normalised samples "
                "to its attribute `network`."
            )
        return samples.to(self.mean.dtype) * (1 / (255 * self.deviation)) - self.mean / self.deviation
