"""A user's own samples: arrays, a `.npz` file, a folder of images, or a function that returns any of these."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from autokd.data.dataset import Dataset, Split, hold_out
from autokd.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["from_arrays", "from_folder", "from_npz", "save_npz"]

HELD_OUT = 0.1  # part of the training samples that becomes a split which the source does not bring
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
FOLDER_NAMES = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}
DIMENSIONS = {"images": (3, 4), "inputs": (2, 3)}  # that an array so named may have
FORMS = {
    "images": "n x height x width or n x height x width x channels (signals and vectors are inputs)",
    "inputs": "n x length x channels or n x features (images are images)",
}


def from_arrays(
    arrays: Mapping[str, Any], name: str, validation: int | None = None, class_names: tuple[str, ...] | None = None
) -> Dataset:
    """A data set from arrays named `train_images`, `train_labels` and, as far as there, `validation_*` and `test_*`.

    Signals and vectors are named `inputs` in place of `images`: `train_inputs` and so on. A split that is not there is
    held out of the training samples at random: `validation` samples or a tenth, and a tenth for the test.

    Args:
        arrays: Images uint8, `n x height x width` or `n x height x width x channels`; inputs uint8 or float32,
            `n x length x channels` or `n x features`; labels integers, `n`.
        name: Where the arrays came from.
        validation: Size of the validation split where it has to be made.
        class_names: Names of the classes; else the array `class_names`, else their numbers.

    Raises:
        InputError: If an array is missing, unknown, or of the wrong type or shape.
    """
    samples = "inputs" if "train_inputs" in arrays else "images"
    _check_keys(arrays, samples, name)
    splits = {part: _split(arrays, part, samples, name) for part in FOLDER_NAMES if f"{part}_labels" in arrays}
    train = splits["train"]
    if "test" not in splits:
        train, splits["test"] = hold_out(train, _held_out(len(train), None))
    if "validation" not in splits:
        train, splits["validation"] = hold_out(train, _held_out(len(train), validation))
    if class_names is None and "class_names" in arrays:
        class_names = tuple(str(class_name) for class_name in arrays["class_names"])
    if class_names is None:
        highest = max(int(split.labels.max()) for split in splits.values())
        class_names = tuple(str(label) for label in range(highest + 1))
    return Dataset(name, train, splits["validation"], splits["test"], class_names)


def from_npz(path: Path, validation: int | None = None) -> Dataset:
    """A data set from a NumPy archive with the arrays that `from_arrays` takes, and optionally `class_names`."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (OSError, EOFError, TypeError, ValueError, BadZipFile) as error:
        raise InputError(f"data {path} is not a readable .npz archive: {error}.") from None
    return from_arrays(arrays, str(path), validation)


def save_npz(dataset: Dataset, path: Path) -> None:
    """Write a data set so that `from_npz` reads the same one, splits included."""
    arrays: dict[str, Any] = {"class_names": np.array(dataset.class_names)}
    for part, split in dataset.splits.items():
        samples = "images" if split.kind == "images" else "inputs"
        arrays |= {f"{part}_{samples}": split.images.numpy(), f"{part}_labels": split.labels.numpy()}
    with path.open("wb") as file:
        np.savez(file, **arrays)


def from_folder(path: Path, size: int | None = None, validation: int | None = None) -> Dataset:
    """A data set from `path/train/CLASS/*.png` and, as far as there are, `path/validation` (or `val`) and `path/test`.

    The classes are the folders of `train` in alphabetical order. All images become as the first one: grey or colour,
    and of its size unless `size` gives another.

    Args:
        path: The folder.
        size: Height and width in pixels.
        validation: Size of the validation split where it has to be made.

    Raises:
        InputError: If there is no image, or one cannot be read.
    """
    folders = {part: folder for part in FOLDER_NAMES if (folder := _part_folder(path, part))}
    if "train" not in folders:
        raise InputError(f"data {path}: needs a folder `train` with one folder of images for each class.")
    classes = tuple(sorted(folder.name for folder in _class_folders(folders["train"])))
    first = next((file for name in classes for file in _images(folders["train"] / name)), None)
    if first is None:
        raise InputError(f"data {path}: no image ({', '.join(sorted(IMAGE_SUFFIXES))}) under train/CLASS/.")
    mode, target = _form(first, size)
    arrays: dict[str, Any] = {}
    for part, folder in folders.items():
        if unknown := {entry.name for entry in _class_folders(folder)} - set(classes):
            raise InputError(
                f"data {path}: {folder.name}/ has classes that train/ lacks: {', '.join(sorted(unknown))}."
            )
        files = [(file, label) for label, name in enumerate(classes) for file in _images(folder / name)]
        if not files:
            raise InputError(f"data {path}: no image of any of the {len(classes)} classes under {folder.name}/.")
        arrays[f"{part}_images"] = np.stack([_read(file, mode, target) for file, _ in files])
        arrays[f"{part}_labels"] = np.array([label for _, label in files], dtype=np.int64)
    return from_arrays(arrays, str(path), validation, classes)


def _check_keys(arrays: Mapping[str, Any], samples: str, name: str) -> None:
    """Raise if the arrays are not named as `samples`, which is "images" or "inputs", and labels."""
    keys = [f"{part}_{what}" for part in FOLDER_NAMES for what in (samples, "labels")]
    if not {*keys[:2]} <= set(arrays) <= {*keys, "class_names"}:
        raise InputError(
            f"data {name}: needs {keys[0]} and {keys[1]}, may have {', '.join(keys[2:])} "
            "(inputs, not images, for signals and vectors), "
            f"but has {', '.join(sorted(arrays)) or 'nothing'}."
        )
    for part in FOLDER_NAMES:
        if (f"{part}_{samples}" in arrays) != (f"{part}_labels" in arrays):
            raise InputError(f"data {name}: {part}_{samples} and {part}_labels go together, but one is missing.")


def _split(arrays: Mapping[str, Any], part: str, samples: str, name: str) -> Split:
    try:
        values, numbers = (_tensor(arrays[f"{part}_{what}"]) for what in (samples, "labels"))
    except (TypeError, ValueError) as error:
        raise InputError(f"data {name}: {part} samples must be numbers: {error}") from None
    if values.ndim not in DIMENSIONS[samples]:
        raise InputError(f"data {name}: {part}_{samples} must be {FORMS[samples]}, but are {tuple(values.shape)}.")
    if samples == "images" and values.ndim == 3:
        values = values.unsqueeze(3)
    if numbers.is_floating_point() or numbers.dtype == torch.bool:
        raise InputError(f"data {name}: {part}_labels must be integers, but are {numbers.dtype}.")
    try:
        return Split(values.contiguous(), numbers.long())
    except InputError as error:
        raise InputError(f"data {name}: {part}: {error}") from None


def _tensor(array: Any) -> Tensor:
    return array if isinstance(array, Tensor) else torch.from_numpy(np.array(array))


def _held_out(n: int, wanted: int | None) -> int:
    return max(1, int(n * HELD_OUT)) if wanted is None else wanted


def _part_folder(path: Path, part: str) -> Path | None:
    return next((path / name for name in FOLDER_NAMES[part] if (path / name).is_dir()), None)


def _class_folders(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]


def _images(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("**/*") if file.suffix.lower() in IMAGE_SUFFIXES)


def _form(file: Path, size: int | None) -> tuple[str, tuple[int, int]]:
    """Pillow's mode and the width and height that all images get."""
    with _opened(file) as image:
        return ("L" if image.mode in ("1", "L") else "RGB"), (size, size) if size else image.size


def _read(file: Path, mode: str, size: tuple[int, int]) -> np.ndarray[Any, Any]:
    from PIL import Image

    with _opened(file) as image:
        converted = image.convert(mode)
    if converted.size != size:
        converted = converted.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(converted)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


@contextmanager
def _opened(file: Path) -> "Iterator[Image]":
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                raise InputError(f"{file} has more than 8 bits a channel (mode {image.mode}): convert it to 8 bits.")
            yield image
    except OSError as error:
        raise InputError(f"{file} is not a readable image: {error}.") from None
