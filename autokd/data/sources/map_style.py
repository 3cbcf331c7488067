"""Map-style data sets of labelled images, such as PyTorch's and Hugging Face's."""

from collections.abc import Iterable, Mapping
from typing import Any

from autokd.data.decoding.pictures import Pictures
from autokd.data.decoding.undecoded import SPLIT_NAMES, Undecoded, names_by_split, undecoded
from autokd.errors import InputError, first_line

__all__ = ["from_map_style"]


def from_map_style(splits: Mapping[str, Pictures], name: str, size: int | None = None) -> Undecoded:
    """Images of map-style data sets.

    The names of the classes are `features["label"].names` or `classes` of the training split, if it has either.

    Args:
        splits: Data sets by split: "train", which is required, "validation" (or "val", "valid") and "test".
        name: Name of the source, for messages.
        size: Height and width in pixels of all images; by default the size of the first one.

    Raises:
        InputError: If a split is unknown, empty, there twice or no map-style data set, splits name different classes,
            or the first image cannot be read.
    """
    split_of = {given: part for part, given in names_by_split(splits, name).items()}
    if unknown := set(splits) - set(split_of):
        listed = ", ".join(sorted(map(str, unknown)))
        raise InputError(f"data {name}: splits must be {', '.join(SPLIT_NAMES)}, but there is {listed}.")
    pictures = {split_of[given]: split for given, split in splits.items()}
    for part, split in pictures.items():
        _check_map_style(split, part, name)
    if empty := [part for part, split in pictures.items() if not _length(split, part, name)]:
        raise InputError(f"data {name}: the {empty[0]} split is empty.")
    classes = _class_names(pictures["train"])
    for part, split in pictures.items():
        if classes and (own := _class_names(split)) and own != classes:
            raise InputError(
                f"data {name}: the classes of {part} are {', '.join(own)}, but those of train {', '.join(classes)}: "
                "give all splits the same, in the same order."
            )
    return undecoded(name, pictures, size, classes)


def _check_map_style(pictures: Any, part: str, name: str) -> None:
    kind = type(pictures)
    if not (hasattr(kind, "__len__") and hasattr(kind, "__getitem__")):
        raise InputError(
            f"data {name}: the {part} split must be a map-style data set, with len() and [index], but is a "
            f"{kind.__name__}."
        )


def _length(pictures: Any, part: str, name: str) -> int:
    try:
        return len(pictures)
    except Exception as error:  # of a user's class
        raise InputError(
            f"data {name}: len() of the {part} split fails: {type(error).__name__}: {first_line(error)}."
        ) from error


def _class_names(pictures: Any) -> tuple[str, ...] | None:
    """Names of the classes; None without any, as where `classes` is a number or one name."""
    features = getattr(pictures, "features", None)
    label = features.get("label") if isinstance(features, Mapping) else None
    found = getattr(label, "names", None), getattr(pictures, "classes", None)
    listed = (tuple(map(str, names)) for names in found if isinstance(names, Iterable) and not isinstance(names, str))
    return next(filter(None, listed), None)
