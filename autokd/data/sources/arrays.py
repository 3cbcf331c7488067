"""A user's own samples as a dict of arrays or a `.npz` file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autokd.core.files import UNREADABLE
from autokd.data.dataset import Dataset, Split, complete_splits, numbered_classes, seems_channels_first
from autokd.errors import InputError

__all__ = ["from_arrays", "from_npz", "in_native_order", "save_npz"]

PARTS = ("train", "validation", "test")
DIMENSIONS = {"images": (3, 4), "inputs": (2, 3)}  # numbers of axes that arrays of this name may have
FORMS = {
    "images": "n x height x width or n x height x width x channels (signals and vectors are inputs)",
    "inputs": "n x length x channels or n x features (images are images)",
}


def from_arrays(
    arrays: Mapping[str, Any], name: str, validation: int | None = None, class_names: tuple[str, ...] | None = None
) -> Dataset:
    """Data set from arrays named `train_images`, `train_labels` and optionally `validation_*` and `test_*`.

    Signals and vectors are named `inputs` instead of `images`: `train_inputs` and so on. A missing split is held out of
    the training samples at random.

    Args:
        arrays: Images, uint8, `n x height x width` or `n x height x width x channels`; inputs, uint8, float32
            or float64, which is rounded to float32, `n x length x channels` or `n x features`; labels, integers, `n`.
        name: Name of the source, for messages.
        validation: Number of samples of a missing validation split; a tenth of the training samples by default.
        class_names: Names of the classes; by default the array `class_names` if there is one, else their numbers.

    Raises:
        InputError: If an array is missing, unknown, or of the wrong type or shape, or labels are no class numbers.
    """
    samples = "inputs" if "train_inputs" in arrays else "images"
    _check_keys(arrays, samples, name)
    splits = {part: _split(arrays, part, samples, name) for part in PARTS if f"{part}_labels" in arrays}
    splits = complete_splits(splits, validation)
    if class_names is None and "class_names" in arrays:
        class_names = _class_names(arrays["class_names"], name)
    if class_names is None:
        class_names = numbered_classes(splits.values(), name)
    return Dataset(name, **splits, class_names=class_names)


def from_npz(path: Path, validation: int | None = None) -> Dataset:
    """Data set from a NumPy archive of the arrays that `from_arrays` takes."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except UNREADABLE as error:
        raise InputError(f"data {path} is not a readable .npz archive: {error}.") from None
    return from_arrays(arrays, str(path), validation)


def save_npz(dataset: Dataset, path: Path) -> None:
    """Save a data set with all its splits as an archive for `from_npz`."""
    arrays: dict[str, Any] = {"class_names": np.array(dataset.class_names)}
    for part, split in dataset.splits.items():
        samples = "images" if split.kind == "images" else "inputs"
        arrays |= {f"{part}_{samples}": split.images.numpy(), f"{part}_labels": split.labels.numpy()}
    with path.open("wb") as file:
        np.savez(file, **arrays)


def in_native_order(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array in this machine's byte order, which torch wants; itself if it has it."""
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _check_keys(arrays: Mapping[str, Any], samples: str, name: str) -> None:
    """Raise `InputError` if the arrays are not named as required; `samples` is "images" or "inputs"."""
    keys = [f"{part}_{what}" for part in PARTS for what in (samples, "labels")]
    if not {*keys[:2]} <= set(arrays) <= {*keys, "class_names"}:
        raise InputError(
            f"data {name}: needs {keys[0]} and {keys[1]}, may have {', '.join(keys[2:])} and class_names "
            "(inputs, not images, for signals and vectors), "
            f"but has {', '.join(sorted(map(str, arrays))) or 'nothing'}."
        )
    for part in PARTS:
        if (f"{part}_{samples}" in arrays) != (f"{part}_labels" in arrays):
            raise InputError(f"data {name}: {part}_{samples} and {part}_labels go together, but one is missing.")


def _class_names(given: Any, name: str) -> tuple[str, ...]:
    shape = np.asarray(given, dtype=object).shape
    if len(shape) != 1:
        raise InputError(f"data {name}: class_names must be a list of a name for each class, but its shape is {shape}.")
    return tuple(each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in given)


def _split(arrays: Mapping[str, Any], part: str, samples: str, name: str) -> Split:
    try:
        values, numbers = (_tensor(arrays[f"{part}_{what}"]) for what in (samples, "labels"))
    except (TypeError, ValueError) as error:
        raise InputError(f"data {name}: {part} samples must be numbers: {error}") from None
    if values.ndim not in DIMENSIONS[samples]:
        raise InputError(f"data {name}: {part}_{samples} must be {FORMS[samples]}, but are {tuple(values.shape)}.")
    if samples == "images" and values.ndim == 4 and seems_channels_first(values.shape[1:]):
        raise InputError(
            f"data {name}: {part}_images of {tuple(values.shape)} seem to have their channels first; they must be "
            f"n x height x width x channels: numpy.moveaxis({part}_images, 1, -1)."
        )
    if samples == "images" and values.ndim == 3:
        values = values.unsqueeze(3)
    if samples == "inputs" and values.dtype == torch.float64:
        values = values.float()
    if numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool:
        raise InputError(f"data {name}: {part}_labels must be integers, but are {numbers.dtype}.")
    try:
        return Split(values.contiguous(), numbers.long())
    except InputError as error:
        raise InputError(f"data {name}: {part}: {error}") from None


def _tensor(array: Any) -> Tensor:
    if isinstance(array, Tensor):
        return array.detach().to("cpu").to_dense()
    return torch.from_numpy(in_native_order(np.array(array)))
