"""Conversion of the student's samples to the inputs of a teacher's network."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from autokd.config.teacher import TeacherConfig
from autokd.core.references import resolve
from autokd.data.channels import check_channels, of_samples, shape_of
from autokd.data.dataset import Dataset, describe
from autokd.errors import InputError

__all__ = ["Preparation", "denormalise", "preparation_of"]

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Preparation:
    """Function that converts a student's normalised batch to inputs of the teacher's network; by default the identity.

    The steps are applied in the order of the attributes; None omits a step.

    Attributes:
        data: Mean and deviation of the data set, whose normalisation is undone.
        channels: Indices of the channels that are kept.
        resize: Height and width in pixels.
        normalisation: Mean and deviation of the teacher's own normalisation, of all channels or of each.
        function: A user's function.
        contiguous: Whether images are contiguous at the end, and not channels_last.
    """

    data: Normalisation | None = None
    channels: tuple[int, ...] | None = None
    resize: tuple[int, int] | None = None
    normalisation: Normalisation | None = None
    function: Callable[[Tensor], Any] | None = None
    contiguous: bool = False

    def __call__(self, samples: Tensor) -> Any:
        """Inputs of the teacher's network: float32, or whatever `function` returns.

        Args:
            samples: Normalised samples, float32, `batch x` the data set's `input_shape`.
        """
        if self.data:
            samples = denormalise(samples, self.data)
        samples = of_samples(samples, self.channels)
        if self.resize:
            samples = F.interpolate(samples, self.resize, mode="bilinear", antialias=True)
        if self.normalisation:
            mean, deviation = (_by_channel(values, samples) for values in self.normalisation)
            samples = (samples - mean).div_(deviation)
        inputs = self.function(samples) if self.function else samples
        if self.contiguous and isinstance(inputs, Tensor):  # also strides of axes of size 1, unlike `contiguous`
            return inputs.clone(memory_format=torch.contiguous_format)
        return inputs

    def values(self, input_shape: tuple[int, ...]) -> int:
        """Number of values of a converted sample, before `function` is applied."""
        return len(self.channels or range(input_shape[0])) * math.prod(self.resize or input_shape[1:])


def denormalise(samples: Tensor, normalisation: Normalisation) -> Tensor:
    """Inverse of `autokd.data.stream.normalise` up to rounding; values are in `[0, 1]` for uint8 and raw for float32.

    Args:
        samples: Normalised samples, float32, channels first.
        normalisation: Mean and deviation of each channel or feature.
    """
    mean, deviation = (_by_channel(values, samples) for values in normalisation)
    return torch.addcmul(mean, samples, deviation)


def preparation_of(config: TeacherConfig, dataset: Dataset | None) -> Preparation:
    """Conversion that the configuration describes.

    Args:
        config: Section `[teacher]` of a configuration.
        dataset: Data set whose normalisation is undone; it can be omitted if the teacher has the student's inputs.

    Raises:
        InputError: If the settings do not fit the samples, or `preprocess` is not a function.
        ValueError: If the data set is needed, but omitted.
    """
    undone = config.preprocess is not None or config.mean is not None
    if dataset is not None:
        check_channels(config.channels, dataset, "teacher.channels")
        _check_fits(config, shape_of(dataset.input_shape, config.channels))
    elif undone:
        raise ValueError("a teacher with inputs of its own needs the data set, whose normalisation is undone first")
    return Preparation(
        data=dataset.normalisation if dataset is not None and undone else None,
        channels=config.channels,
        resize=config.resize,
        normalisation=(config.mean, config.deviation) if config.mean and config.deviation else None,
        function=_function(config.preprocess) if config.preprocess else None,
    )


def _check_fits(config: TeacherConfig, input_shape: tuple[int, ...]) -> None:
    if config.resize and len(input_shape) != 3:
        raise InputError(f"teacher.resize is for images, but the data are {describe(input_shape)}.")
    n_values = max(len(config.mean or ()), len(config.deviation or ()))  # one number is that of all channels
    if n_values > 1 and n_values != input_shape[0]:
        raise InputError(
            f"teacher.mean and teacher.deviation have {n_values} values, but the data are "
            f"{describe(input_shape)}; teacher.channels = [0, 0, 0] repeats a grey channel, and "
            "teacher.preprocess does anything else."
        )


def _function(reference: str) -> Callable[[Tensor], Any]:
    function = resolve(reference, "teacher.preprocess")
    if not callable(function):
        raise InputError(f"teacher.preprocess {reference!r} must be a function, not {type(function).__name__}.")
    return function  # type: ignore[no-any-return]


def _by_channel(values: tuple[float, ...], samples: Tensor) -> Tensor:
    return torch.tensor(values, device=samples.device).view(-1, *[1] * (samples.ndim - 2))
