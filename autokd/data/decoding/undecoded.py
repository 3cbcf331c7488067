"""Images of a data set before they are decoded: the common form of all sources of images."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import torch

from autokd.data.decoding.pictures import ImageShape, Pictures, Subset, image_shape_of
from autokd.errors import InputError

__all__ = ["SPLIT_NAMES", "Undecoded", "names_by_split", "undecoded"]

SPLIT_NAMES = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}
"""Splits with the names that a source may give them."""


_LOOKED_AT = 64  # images, and fewer than twice as many, to see whether there are colour images behind a grey one


@dataclass(frozen=True)
class Undecoded:
    """The splits of a data set before its images are decoded.

    Attributes:
        name: Name of the source, for messages.
        parts: The split `train` and, if the source has them, `validation` and `test`.
        shape: Shape of all images after decoding.
        class_names: Names of the classes; None if the classes have numbers only.
    """

    name: str
    parts: dict[str, Subset]
    shape: ImageShape
    class_names: tuple[str, ...] | None


def names_by_split(given: Collection[str], source: str, way_out: str = "keep one of them") -> dict[str, str]:
    """The name that a source gives each of its splits, without those that are none of `SPLIT_NAMES`.

    Args:
        given: All names that the source gives.
        source: Name of the source, for messages.
        way_out: What to do about two names of one split.

    Raises:
        InputError: If there are two names of one split.
    """
    named = {split: [name for name in names if name in given] for split, names in SPLIT_NAMES.items()}
    for split, names in named.items():
        if len(names) > 1:
            raise InputError(f"data {source}: {' and '.join(names)} are both the {split} split: {way_out}.")
    return {split: names[0] for split, names in named.items() if names}


def undecoded(
    name: str, pictures: Mapping[str, Pictures], size: int | None, class_names: tuple[str, ...] | None
) -> Undecoded:
    """Undecoded images of map-style data sets, with the size of the first training image.

    They have its channels, too, but if it is grey and one of at most 127, spread evenly, is not, they are colour.

    Args:
        name: Name of the source, for messages.
        pictures: Data sets by split: `train` and optionally `validation` and `test`.
        size: Height and width in pixels of all images; None for the size of the first one.
        class_names: Names of the classes; None if the classes have numbers only.

    Raises:
        InputError: If one of these images cannot be read.
    """
    parts = {part: Subset(each, torch.arange(len(each)), f"data {name}, {part}") for part, each in pictures.items()}
    first, _ = parts["train"].sample(0)
    shape = image_shape_of(first, size)
    if shape.channels == 1 and _has_colour(parts["train"]):
        shape = replace(shape, channels=3)
    return Undecoded(name, parts, shape, class_names)


def _has_colour(part: Subset) -> bool:
    step = max(1, len(part) // _LOOKED_AT)
    return any(image_shape_of(part.sample(position)[0], None).channels == 3 for position in range(0, len(part), step))
