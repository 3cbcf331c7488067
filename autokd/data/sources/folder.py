"""A folder of images: one folder for each split, and in it one folder for each class."""

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from autokd.core.extras import needs
from autokd.core.files import files_in
from autokd.data.decoding.undecoded import SPLIT_NAMES, Undecoded, names_by_split, undecoded
from autokd.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["FolderPictures", "from_folder"]

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}


@dataclass(frozen=True)
class FolderPictures:
    """The images of one split of a folder, as a map-style data set.

    Attributes:
        files: Path of each image and the number of its class.
    """

    files: tuple[tuple[Path, int], ...]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> "tuple[Image, int]":
        file, label = self.files[index]
        return _read(file), label

    @cached_property
    def _fingerprint(self) -> str:
        """Digest that changes when a file does, under the same name as in Hugging Face's data sets."""
        digest = hashlib.sha256()
        for file, label in self.files:
            try:
                facts = file.stat()
            except OSError as error:
                raise InputError(f"{file} is not a readable image: {error}.") from None
            digest.update(os.fsencode(file) + f"\0{facts.st_size}\0{facts.st_mtime_ns}\0{label}\n".encode())
        return digest.hexdigest()


def from_folder(path: Path, size: int | None = None) -> Undecoded:
    """Images `path/train/CLASS/*.png` and, if there are any, those of `path/validation` (or `val`) and `path/test`.

    The classes are the folders of `train` in alphabetical order. All images are converted to colour, or to grey if the
    first one and those looked at are grey, and to the first one's size unless `size` is given.

    Args:
        path: The folder.
        size: Height and width in pixels.

    Raises:
        InputError: If there is no image, or none of a class of `train`, or the first one cannot be read, or there are
            two folders of one split.
    """
    there = [name for names in SPLIT_NAMES.values() for name in names if (path / name).is_dir()]
    folders = {part: path / name for part, name in names_by_split(there, str(path)).items()}
    if "train" not in folders:
        raise InputError(f"data {path}: needs a folder `train` with one folder of images for each class.")
    classes = tuple(sorted(folder.name for folder in _class_folders(folders["train"])))
    pictures = {part: _pictures(path, folder, classes) for part, folder in folders.items()}
    return undecoded(str(path), pictures, size, classes)


def _pictures(path: Path, folder: Path, classes: tuple[str, ...]) -> FolderPictures:
    """All images of one split."""
    if unknown := {entry.name for entry in _class_folders(folder)} - set(classes):
        raise InputError(f"data {path}: {folder.name}/ has classes that train/ lacks: {', '.join(sorted(unknown))}.")
    files = tuple((file, label) for label, name in enumerate(classes) for file in _images(folder / name))
    suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
    if not files:
        raise InputError(
            f"data {path}: no image ({suffixes}) of any of the {len(classes)} classes under {folder.name}/."
        )
    if folder.name == "train" and (empty := set(range(len(classes))) - {label for _, label in files}):
        raise InputError(f"data {path}: no image ({suffixes}) of the class {classes[min(empty)]} under train/.")
    return FolderPictures(files)


def _class_folders(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]


def _images(folder: Path) -> list[Path]:
    """The images of a class, in linked folders, too, without hidden ones."""
    return sorted(file for file in files_in(folder) if _is_image(file.relative_to(folder)))


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES and not any(part.startswith(".") for part in file.parts)


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
