"""The section `[data]`."""

from pathlib import Path
from typing import Self

from pydantic import ValidationInfo, model_validator

from autokd.config.compatibility import is_recorded
from autokd.config.distinct import distinct
from autokd.config.numbers import Bytes, Channels, Samples, Side
from autokd.config.section import Section
from autokd.core.hub import HUB

__all__ = ["NAMED_SOURCES", "DataConfig", "SplitsConfig"]

NAMED_SOURCES = ("fashion-mnist", "digits")
HUB_KEYS = ("download", "config_name", "splits", "image_column", "label_column")
"""Keys for sources that the package `datasets` reads."""


class SplitsConfig(Section):
    """Splits of a data set on the hub, where their names do not tell which is which.

    Attributes:
        train: Name of the training split.
        validation: Name of the validation split; held out of the training samples by default.
        test: Name of the test split; held out of the training samples by default.
    """

    train: str
    validation: str | None = None
    test: str | None = None

    @model_validator(mode="after")
    def _share_no_samples(self, info: ValidationInfo) -> Self:
        if not is_recorded(info):
            distinct(tuple(self.model_dump(exclude_none=True).values()))
        return self


class DataConfig(Section):
    """The labelled samples: images, signals or vectors.

    Attributes:
        source: "fashion-mnist", "digits", an `.npz` file of arrays, a folder of images, "hf:FOLDER" or "hf:user/name"
            for what the package `datasets` reads from a folder or the Hugging Face hub, or "module:function".
        folder: Folder with the files of "fashion-mnist", if they are not in the usual place.
        validation: Number of training samples to hold out for validation, if the source has no validation split.
            Another number holds out other samples, from most of which a trained teacher may have learnt.
        subset: Number of training samples to use, drawn at random; all by default.
        image_size: Height and width, in pixels, to which the images of a folder or a map-style data set are resized.
        memory_bytes: Largest size of the decoded images of a folder or a map-style data set, in bytes, for which they
            are held in memory. Larger data sets are decoded once into files that all workers share. 4 GB by default.
        cache: Folder for these files; a folder in the user's cache by default.
        download: Whether a data set on the hub may be fetched. By default it must be in this machine's cache. A
            revision follows its name: "hf:user/name@revision".
        config_name: Which one of several data sets in "hf:..." is meant.
        splits: Names of the splits in "hf:..."; by default "train", "validation" (or "val", "valid") and "test".
        image_column: Name of the column of images in "hf:..."; by default the only one.
        label_column: Name of the column of labels in "hf:..."; by default the only one of classes or, without one, of
            integers.
        student_channels: Indices of the channels (of vectors: features) that the student gets; all by default. The
            teacher gets all, or `teacher.channels`.
    """

    source: str
    folder: Path | None = None
    validation: Samples | None = None
    subset: Samples | None = None
    image_size: Side | None = None
    memory_bytes: Bytes | None = None
    cache: Path | None = None
    download: bool | None = None
    config_name: str | None = None
    splits: SplitsConfig | None = None
    image_column: str | None = None
    label_column: str | None = None
    student_channels: Channels | None = None

    @model_validator(mode="after")
    def _fit_the_source(self) -> Self:
        unused = [key for key in HUB_KEYS if getattr(self, key) is not None]
        if unused and not self.source.startswith(HUB):
            raise ValueError(f"{unused[0]} is for a source {HUB}..., but source is {self.source!r}")
        return self
