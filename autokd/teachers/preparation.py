"""What a teacher gets: the student's own samples, prepared the teacher's way."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from autokd.config.teacher import TeacherConfig
from autokd.core.references import resolve
from autokd.data.dataset import Dataset, describe
from autokd.errors import InputError

__all__ = ["Preparation", "denormalise", "preparation_of"]

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Preparation:
    """A function from the student's normalised batch to what the teacher's network takes; by default the same batch.

    Attributes:
        data: Mean and deviation of the data set, where its normalisation is undone first.
        resize: Height and width in pixels.
        normalisation: Mean and deviation of the teacher's own normalisation.
        function: What comes last.
    """

    data: Normalisation | None = None
    resize: tuple[int, int] | None = None
    normalisation: Normalisation | None = None
    function: Callable[[Tensor], Any] | None = None

    def __call__(self, samples: Tensor) -> Any:
        """The prepared samples; of what type is up to `function`, without it they are float32.

        Args:
            samples: Normalised, float32, `batch x` the data set's `input_shape`.
        """
        if self.data:
            samples = denormalise(samples, self.data)
        if self.resize:
            samples = F.interpolate(samples, self.resize, mode="bilinear", antialias=True)
        if self.normalisation:
            mean, deviation = (_by_channel(values, samples) for values in self.normalisation)
            samples = (samples - mean).div_(deviation)
        return self.function(samples) if self.function else samples

    def values(self, input_shape: tuple[int, ...]) -> int:
        """Number of values of a prepared sample, as far as is known before `function`."""
        return input_shape[0] * math.prod(self.resize or input_shape[1:])


def denormalise(samples: Tensor, normalisation: Normalisation) -> Tensor:
    """The values before `autokd.data.stream.normalise`, up to rounding: in `[0, 1]` for uint8, raw for float32.

    Args:
        samples: Normalised, float32, channels first.
        normalisation: Mean and deviation of each channel or feature.
    """
    mean, deviation = (_by_channel(values, samples) for values in normalisation)
    return torch.addcmul(mean, samples, deviation)


def preparation_of(config: TeacherConfig, dataset: Dataset | None) -> Preparation:
    """What the configuration says of the teacher's inputs.

    Args:
        config: The teacher's.
        dataset: The data, whose normalisation is undone; may be omitted where the teacher gets what the student gets.

    Raises:
        InputError: If the settings do not fit the samples, or `preprocess` is no function.
        ValueError: If the data set is missing.
    """
    undone = config.preprocess is not None or config.mean is not None
    if dataset is not None:
        _check_fits(config, dataset.input_shape)
    elif undone:
        raise ValueError("a teacher with an input of its own needs the data set, whose normalisation is undone first")
    return Preparation(
        data=dataset.normalisation if dataset is not None and undone else None,
        resize=config.resize,
        normalisation=(config.mean, config.deviation) if config.mean and config.deviation else None,
        function=_function(config.preprocess) if config.preprocess else None,
    )


def _check_fits(config: TeacherConfig, input_shape: tuple[int, ...]) -> None:
    if config.resize and len(input_shape) != 3:
        raise InputError(f"teacher.resize is for images, but the data are {describe(input_shape)}.")
    if config.mean and len(config.mean) != input_shape[0]:
        raise InputError(
            f"teacher.mean and teacher.deviation have {len(config.mean)} values, but the data are "
            f"{describe(input_shape)}; teacher.preprocess can do what they cannot."
        )


def _function(reference: str) -> Callable[[Tensor], Any]:
    function = resolve(reference, "teacher.preprocess")
    if not callable(function):
        raise InputError(f"teacher.preprocess {reference!r} must be a function, not {type(function).__name__}.")
    return function  # type: ignore[no-any-return]


def _by_channel(values: tuple[float, ...], samples: Tensor) -> Tensor:
    return torch.tensor(values, device=samples.device).view(-1, *[1] * (samples.ndim - 2))
