"""The class of all teachers: a trained network with its own inputs and outputs."""

import hashlib
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves

from autokd.data.dataset import Dataset
from autokd.data.stream import Batch
from autokd.errors import InputError
from autokd.teachers.logits import Reading
from autokd.teachers.preparation import Preparation
from autokd.training.metrics import EVALUATION_BATCH, predict

__all__ = ["Teacher", "check_not_lazy"]

MOST_VALUES = 8_000_000  # in a batch for a teacher: 53 images of 3 x 224 x 224

_INNER = "_network."


class Teacher(nn.Module):
    """Frozen network in evaluation mode that returns logits of the task's classes.

    No gradient flows into its weights; a copy of it whose `requires_grad_()` is called can be trained.

    Args:
        network: A module or any callable.
        name: Text that distinguishes the teacher from others with the same weights.
        preparation: Conversion of normalised samples to the network's inputs.
        reading: Conversion of the network's outputs to logits.
        parameter_count: Number of parameters of a network that is not a module; those of a module are counted.

    Attributes:
        preparation: Conversion of normalised samples to the network's inputs.
        reading: Conversion of the network's outputs to logits.
        digest: SHA-256 of the weights and the name; teachers with the same digest have the same outputs.
        parameter_count: Number of parameters; None if it is unknown.
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
        self.preparation = preparation
        self.reading = reading
        self.parameter_count = parameter_count
        if isinstance(network, nn.Module):
            with suppress(NotImplementedError):  # an exported program is what it is
                network.eval()
            for parameter in network.parameters():
                parameter.requires_grad_(False)
            self.parameter_count = sum(parameter.numel() for parameter in network.parameters())
        self.digest = _digest(network, name)

    @property
    def network(self) -> nn.Module | None:
        """The network if it is a module, which can have hooks; None for any other callable."""
        return self._network if isinstance(self._network, nn.Module) else None

    def inner_names(self, names: Iterable[str]) -> list[str]:
        """Names within `network` of modules that are named as submodules of this teacher; others are skipped."""
        return [name.removeprefix(_INNER) for name in names if name.startswith(_INNER)]

    @torch.no_grad()
    def prepared(self, samples: Tensor) -> Tensor:
        """Inputs of the network, which may overwrite them: they are never the samples themselves.

        Args:
            samples: Normalised samples, float32, `batch x` the data set's `input_shape`.

        Raises:
            InputError: If the settings do not fit the samples.
        """
        inputs: Tensor = self.preparation(samples)
        return inputs.clone() if inputs is samples else inputs

    @staticmethod
    def outer_names(names: Iterable[str]) -> list[str]:
        """Names as submodules of a teacher of modules that are named within its network."""
        return [_INNER + name for name in names]

    @staticmethod
    def inner_text(text: str) -> str:
        """A text that names submodules of a teacher, with their names within its network instead."""
        return text.replace(_INNER, "")

    def forward(self, samples: Tensor) -> Tensor:
        """Logits, float32, `batch x classes`.

        Args:
            samples: Normalised samples, float32, `batch x` the data set's `input_shape`.

        Raises:
            InputError: If the settings do not fit the network's inputs or outputs.
        """
        return self.reading(self._network(self.prepared(samples))).to(samples.device)

    def knows(self, part: str) -> bool:
        """Whether `on_split` supports that split."""
        return True

    def on_batch(self, batch: Batch) -> Tensor:
        """Logits, float32, `batch x classes`, for a training batch."""
        return self(batch.images)  # type: ignore[no-any-return]

    def on_split(self, dataset: Dataset, part: str, device: torch.device) -> Tensor:
        """Logits, float32, `n x classes`, for all samples of a split, without augmentation.

        Args:
            dataset: The data set.
            part: Name of the split.
            device: Device of the logits.
        """
        split = dataset.splits[part].to(device)
        return predict(self, split, dataset.normalisation, self.largest_batch(dataset.input_shape))

    def largest_batch(self, input_shape: tuple[int, ...]) -> int:
        """Largest batch that spares memory: the larger the network's inputs are, the smaller it is."""
        return max(1, min(EVALUATION_BATCH, MOST_VALUES // self.preparation.values(input_shape)))


def check_not_lazy(network: Callable[[Any], Any], what: str) -> None:
    """Raise `InputError` if a network has lazy layers that have not seen a sample.

    Args:
        network: A module or any callable.
        what: The network, for the message.
    """
    if isinstance(network, nn.Module) and any(map(is_lazy, network.parameters())):
        raise InputError(f"{what} has lazy layers, whose sizes are not known yet: run it on a sample first.")


def _digest(network: Callable[[Any], Any], name: str) -> str:
    digest = hashlib.sha256(name.encode())
    if isinstance(network, nn.Module):
        for key, value in sorted(network.state_dict().items()):
            for leaf in tree_leaves(value):  # a quantised layer packs its tensors
                digest.update(key.encode())
                for part in _content(leaf):
                    digest.update(part)
    return digest.hexdigest()


def _content(value: Any) -> Iterator[bytes | memoryview]:
    """A value of a state as bytes, in parts: a tensor, without a copy, or whatever a module keeps beside."""
    if not isinstance(value, Tensor):
        yield pickle.dumps(value)
        return
    yield f"{value.dtype}{tuple(value.shape)}".encode()
    tensor = value.detach().cpu()
    tensor = tensor.dequantize() if tensor.is_quantized else tensor
    yield tensor.contiguous().view(-1).view(torch.uint8).numpy().data
