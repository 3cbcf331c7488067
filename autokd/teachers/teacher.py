"""What every teacher is: a trained network behind its own inputs and outputs."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from autokd.data.dataset import Dataset
from autokd.data.stream import Batch
from autokd.teachers.logits import Reading
from autokd.teachers.preparation import Preparation
from autokd.training.metrics import EVALUATION_BATCH, predict

__all__ = ["Teacher"]

MOST_VALUES = 8_000_000  # of a batch that a teacher gets at once: 53 images of 3 x 224 x 224

_INNER = "_network."


class Teacher(nn.Module):
    """A frozen network in evaluation mode that gives logits of the task's classes.

    Args:
        network: A module or any callable.
        name: What tells it from others beside the weights of a module.
        preparation: From the student's samples to the network's.
        reading: From what the network returns to logits.
        parameter_count: Where the network is no module.

    Attributes:
        reading: As given.
        digest: SHA-256 of the weights and the name: teachers with one digest teach alike.
        parameter_count: Number of parameters, or None where it is not known.
    """

    def __init__(
        self,
        network: Callable[[Any], Any],
        name: str,
        preparation: Preparation = Preparation(),  # noqa: B008 (frozen)
        reading: Reading = Reading(),  # noqa: B008
        parameter_count: int | None = None,
    ) -> None:
        super().__init__()
        self._network = network
        self._preparation = preparation
        self.reading = reading
        self.parameter_count = parameter_count
        if isinstance(network, nn.Module):
            network.eval().requires_grad_(False)
            self.parameter_count = sum(parameter.numel() for parameter in network.parameters())
        self.digest = _digest(network, name)

    @property
    def network(self) -> nn.Module | None:
        """The network where it is a module, into which one can look; it runs when the teacher is called."""
        return self._network if isinstance(self._network, nn.Module) else None

    def inner_names(self, names: Iterable[str]) -> list[str]:
        """Names in `network` of modules within this teacher."""
        return [name.removeprefix(_INNER) for name in names if name.startswith(_INNER)]

    @torch.no_grad()
    def forward(self, samples: Tensor) -> Tensor:
        """Logits, float32, `batch x classes`, of normalised samples, `batch x` the data set's `input_shape`.

        Raises:
            InputError: If its settings do not fit what it takes or returns.
        """
        return self.reading(self._network(self._preparation(samples))).to(samples.device)

    def knows(self, part: str) -> bool:
        """Whether `on_split` has an answer for that split."""
        return True

    def on_batch(self, batch: Batch) -> Tensor:
        """Logits, float32, `batch x classes`, for a training batch."""
        return self(batch.images)  # type: ignore[no-any-return]

    def on_split(self, dataset: Dataset, part: str, device: torch.device) -> Tensor:
        """Logits, float32, `n x classes`, for all samples of a split, as they are.

        Args:
            dataset: The data set.
            part: "train", "validation" or "test".
            device: Device of the samples and the logits.
        """
        split = dataset.splits[part].to(device)
        return predict(self, split, dataset.normalisation, self.largest_batch(dataset.input_shape))

    def largest_batch(self, input_shape: tuple[int, ...]) -> int:
        """Number of samples to ask about at once: fewer, the larger they are for the teacher, to spare memory."""
        return max(1, min(EVALUATION_BATCH, MOST_VALUES // self._preparation.values(input_shape)))


def _digest(network: Callable[[Any], Any], name: str) -> str:
    digest = hashlib.sha256(name.encode())
    if isinstance(network, nn.Module):
        for key, tensor in sorted(network.state_dict().items()):
            digest.update(f"{key}{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
