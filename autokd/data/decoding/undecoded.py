"""Where images that have to be decoded come from: a folder, or map-style data sets."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from autokd.core.extras import needs
from autokd.data.decoding.pictures import ImageShape, Pictures, Subset, image_shape_of
from autokd.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["FolderPictures", "Undecoded", "from_folder", "from_map_style"]

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
SPLIT_NAMES = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}


@dataclass(frozen=True)
class Undecoded:
    """The splits of a data set before they are decoded.

    Attributes:
        name: Where it came from, for people.
        parts: `train` and, as far as there are, `validation` and `test`.
        shape: What all images become.
        class_names: None where the classes are numbers.
    """

    name: str
    parts: dict[str, Subset]
    shape: ImageShape
    class_names: tuple[str, ...] | None


@dataclass(frozen=True)
class FolderPictures:
    """The images under one folder, as a map-style data set.

    Attributes:
        files: Each image with the number of its class.
    """

    files: tuple[tuple[Path, int], ...]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> "tuple[Image, int]":
        file, label = self.files[index]
        return _read(file), label

    @cached_property
    def _fingerprint(self) -> str:
        """Changes when a file does, as the attribute of Hugging Face's data sets does."""
        digest = hashlib.sha256()
        for file, label in self.files:
            facts = file.stat()
            digest.update(f"{file}\0{facts.st_size}\0{facts.st_mtime_ns}\0{label}\n".encode())
        return digest.hexdigest()


def from_folder(path: Path, size: int | None = None) -> Undecoded:
    """The images `path/train/CLASS/*.png` and, as far as there are, `path/validation` (or `val`) and `path/test`.

    The classes are the folders of `train` in alphabetical order. All images become as the first one: grey or colour,
    and of its size unless `size` gives another.

    Args:
        path: The folder.
        size: Height and width in pixels.

    Raises:
        InputError: If there is no image, or the first one cannot be read.
    """
    folders = {part: folder for part in SPLIT_NAMES if (folder := _part_folder(path, part))}
    if "train" not in folders:
        raise InputError(f"data {path}: needs a folder `train` with one folder of images for each class.")
    classes = tuple(sorted(folder.name for folder in _class_folders(folders["train"])))
    pictures = {part: _pictures(path, folder, classes) for part, folder in folders.items()}
    return _undecoded(str(path), pictures, size, classes)


def from_map_style(splits: Mapping[str, Pictures], name: str, size: int | None = None) -> Undecoded:
    """Map-style data sets by the names of the splits: "train" and, as far as there are, "validation" and "test".

    The names of the classes are those of the training split's `features["label"].names` or `classes`, if it has any.

    Raises:
        InputError: If a split is unknown or missing, or the first image is none.
    """
    named = {alias: part for part, aliases in SPLIT_NAMES.items() for alias in aliases}
    if unknown := set(splits) - set(named):
        raise InputError(
            f"data {name}: splits must be {', '.join(SPLIT_NAMES)}, but there is {', '.join(sorted(unknown))}."
        )
    pictures = {named[alias]: split for alias, split in splits.items()}
    if empty := [part for part, split in pictures.items() if not len(split)]:
        raise InputError(f"data {name}: the {empty[0]} split is empty.")
    return _undecoded(name, pictures, size, _class_names(pictures["train"]))


def _undecoded(
    name: str, pictures: Mapping[str, Pictures], size: int | None, class_names: tuple[str, ...] | None
) -> Undecoded:
    parts = {part: Subset(each, torch.arange(len(each)), f"data {name}, {part}") for part, each in pictures.items()}
    first, _ = parts["train"].sample(0)
    return Undecoded(name, parts, image_shape_of(first, size), class_names)


def _pictures(path: Path, folder: Path, classes: tuple[str, ...]) -> FolderPictures:
    """All images of one split."""
    if unknown := {entry.name for entry in _class_folders(folder)} - set(classes):
        raise InputError(f"data {path}: {folder.name}/ has classes that train/ lacks: {', '.join(sorted(unknown))}.")
    files = tuple((file, label) for label, name in enumerate(classes) for file in _images(folder / name))
    if not files:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise InputError(
            f"data {path}: no image ({suffixes}) of any of the {len(classes)} classes under {folder.name}/."
        )
    return FolderPictures(files)


def _class_names(pictures: Any) -> tuple[str, ...] | None:
    features = getattr(pictures, "features", None)
    label = features.get("label") if isinstance(features, Mapping) else None
    names = getattr(label, "names", None) or getattr(pictures, "classes", None)
    return tuple(map(str, names)) if names else None


def _part_folder(path: Path, part: str) -> Path | None:
    return next((path / name for name in SPLIT_NAMES[part] if (path / name).is_dir()), None)


def _class_folders(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]


def _images(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("**/*") if file.suffix.lower() in IMAGE_SUFFIXES)


def _read(file: Path) -> "Image":
    with needs("images", "reading images"):
        from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                raise InputError(f"{file} has more than 8 bits a channel (mode {image.mode}): convert it to 8 bits.")
            image.load()
            return image
    except OSError as error:
        raise InputError(f"{file} is not a readable image: {error}.") from None
