"""Conversion of what a teacher's network returns to the logits of the task's classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autokd.config.teacher import TeacherConfig
from autokd.errors import InputError

__all__ = ["Reading", "log_probabilities", "look_like_probabilities", "picked", "reading_of"]

SMALLEST_PROBABILITY = torch.finfo(torch.float32).eps  # a smaller one vanishes in the rounding of one near 1
TOLERANCE = 1e-3  # for sums of probabilities


@dataclass(frozen=True)
class Reading:
    """Function that converts what a network returns to logits, float32, `batch x classes`.

    Attributes:
        output: Index, key or attribute of the logits among the outputs; None if the network returns a tensor.
        classes: Indices of the task's classes among the outputs; None means all outputs.
        probabilities: Whether the outputs are probabilities; None if the configuration does not say.
    """

    output: int | str | None = None
    classes: tuple[int, ...] | None = None
    probabilities: bool | None = None

    def __call__(self, returned: object) -> Tensor:
        """Logits, float32, `batch x classes`.

        Raises:
            InputError: If the settings do not fit what the network returns.
        """
        values = picked(returned, self.output).float()
        if self.probabilities:
            values = log_probabilities(values)
        return values if self.classes is None else _chosen(values, self.classes)


def reading_of(config: TeacherConfig) -> Reading:
    """Conversion that the configuration describes."""
    return Reading(config.output, config.classes, config.probabilities)


def picked(returned: object, output: int | str | None) -> Tensor:
    """Tensor that `output` selects from what a network returned; a NumPy array is converted.

    Args:
        returned: A tensor, or a mapping, sequence or object that holds tensors.
        output: Index, key or attribute; None if `returned` is a tensor.

    Raises:
        InputError: If `output` selects no tensor, or is needed but None; the message lists the tensors there are.
    """
    if isinstance(returned, Tensor | np.ndarray):
        if output is not None:
            raise InputError(f"teacher.output is {output!r}, but the teacher returns one tensor: omit it.")
        return _tensor(returned)
    offered = _offered(returned)
    found = offered.get(output) if output is not None else None
    if found is None and isinstance(output, str) and not isinstance(returned, Mapping):
        found = getattr(returned, output, None)  # a property, or a field of a named tuple
    if not isinstance(found, Tensor | np.ndarray):
        raise InputError(
            f"the teacher returns a {type(returned).__name__} of {_listed(offered)}: set teacher.output to the one "
            "that is the logits" + (f", but not to {output!r}." if output is not None else ".")
        )
    return _tensor(found)


def log_probabilities(probabilities: Tensor) -> Tensor:
    """Natural logarithms of probabilities, which are logits; probabilities below 1.2e-7 are raised to that value.

    Raises:
        InputError: If some are not in `[0, 1]`.
    """
    low, high = probabilities.aminmax()
    if not (low >= 0 and high <= 1 + TOLERANCE):  # NaN is neither
        raise InputError(
            f"teacher.probabilities is set, but the teacher's outputs are {float(low):.4g}..{float(high):.4g}."
        )
    return probabilities.clamp(SMALLEST_PROBABILITY, 1).log()


def look_like_probabilities(outputs: Tensor, all_classes: bool) -> bool:
    """Whether the values of every sample lie in `[0, 1]` and sum to 1, or to at most 1 if outputs are left out.

    Args:
        outputs: `n x classes`.
        all_classes: Whether `outputs` has all classes that the teacher distinguishes.
    """
    totals = outputs.double().sum(1)
    fits = (totals - 1).abs() < TOLERANCE if all_classes else totals < 1 + TOLERANCE
    return bool((outputs >= 0).all() and fits.all())


def _tensor(values: Tensor | np.ndarray[Any, Any]) -> Tensor:
    return values if isinstance(values, Tensor) else torch.tensor(values)  # a copy, since arrays may be read-only


def _chosen(values: Tensor, classes: tuple[int, ...]) -> Tensor:
    if values.ndim != 2 or max(classes) >= values.shape[1]:
        raise InputError(
            f"teacher.classes names output {max(classes)}, but the teacher gives {tuple(values.shape[1:])} outputs "
            "a sample, counted from 0."
        )
    return values[:, list(classes)]


def _offered(returned: object) -> dict[object, object]:
    """Tensors among what a network returned, by the value of `teacher.output` that selects each."""
    if isinstance(returned, Mapping):
        values = dict(returned)
    elif isinstance(returned, tuple | list):
        values = dict(enumerate(returned))
    else:
        values = dict(getattr(returned, "__dict__", {}))
    return {name: value for name, value in values.items() if isinstance(value, Tensor | np.ndarray)}


def _listed(offered: Mapping[object, object]) -> str:
    entries = [f"{name!r} ({' x '.join(map(str, np.shape(value)))})" for name, value in offered.items()]  # type: ignore[call-overload]
    return ", ".join(entries) or "no tensors"
