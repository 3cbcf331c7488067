"""Data sets that the package `datasets` reads: Arrow, parquet, WebDataset, folders of images, and those on the hub."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autokd.config.data import DataConfig
from autokd.core.extras import needs
from autokd.core.hub import HUB, hub_folder
from autokd.data.decoding.undecoded import Undecoded, names_by_split
from autokd.data.sources.map_style import from_map_style
from autokd.errors import InputError, first_line

__all__ = ["check_hub_source", "from_hub"]

SAVED = ("dataset_dict.json", "state.json")  # what `save_to_disk` writes, of several splits and of one


def check_hub_source(config: DataConfig) -> None:
    """Check that there is such a data set, without reading it.

    Raises:
        InputError: If there is not, or `datasets` is not installed.
    """
    _datasets(config)
    _folder(config)


def from_hub(config: DataConfig) -> Undecoded:
    """Images of "hf:FOLDER" or "hf:user/name".

    The column of images and that of labels are found by their features: the only `Image`, and the only `ClassLabel` or,
    without one, the only column of integers.

    Args:
        config: Section `[data]` of a configuration.

    Raises:
        InputError: If there is no such data set, it cannot be read, or it is not clear which splits or columns of it
            are meant.
    """
    datasets = _datasets(config)
    splits = _chosen(_read(datasets, config), config)
    features = splits["train"].features
    image = _column(config, "image", _images(datasets, features), features)
    label = _column(config, "label", _labels(datasets, features), features)
    for part, split in splits.items():
        if missing := [name for name in (image, label) if name not in split.features]:
            raise InputError(f"data {config.source}: {part} has no column {missing[0]!r}, but train has.")
    if other := [part for part, split in splits.items() if split.features[label] != features[label]]:
        raise InputError(f"data {config.source}: the labels of {other[0]} are of other classes than those of train.")
    return from_map_style(
        {part: _pairs(split, image, label) for part, split in splits.items()}, config.source, config.image_size
    )


def _datasets(config: DataConfig) -> Any:
    with needs("hubs", f"data.source {config.source!r}", "datasets"):
        import datasets
    return datasets


def _folder(config: DataConfig) -> Path:
    return hub_folder(config.source.removeprefix(HUB), "data.source", config.download, "dataset")


def _read(datasets: Any, config: DataConfig) -> Mapping[str, Any]:
    """All splits."""
    folder = _folder(config)
    try:
        with _quiet(datasets):
            if any((folder / file).exists() for file in SAVED):
                found = datasets.load_from_disk(str(folder))
            else:
                _check_name(config, datasets.get_dataset_config_names(str(folder)))
                found = datasets.load_dataset(str(folder), config.config_name)
    except InputError:
        raise
    except Exception as error:  # files of any format can be damaged in any way
        raise InputError(
            f"data {config.source}: cannot be read: {type(error).__name__}: {first_line(error)}."
        ) from None
    return found if isinstance(found, Mapping) else {"train": found}


def _check_name(config: DataConfig, known: Sequence[str]) -> None:
    """Raise `InputError` unless it is clear which of several data sets is meant."""
    if config.config_name not in known if config.config_name else len(known) > 1:
        raise InputError(
            f"data {config.source} holds the data sets {', '.join(known)}: set data.config_name to one of them."
        )


def _chosen(found: Mapping[str, Any], config: DataConfig) -> dict[str, Any]:
    """The splits that are used, by the names that they have here."""
    way_out = f'set data.splits to those that are meant, such as {{ train = "{next(iter(found))}" }}'
    if config.splits is None:
        chosen = names_by_split(found, config.source, way_out)
        is_clear = len(chosen) == len(found) and "train" in chosen
    else:
        chosen = config.splits.model_dump(exclude_none=True)
        is_clear = set(chosen.values()) <= set(found)
    if not is_clear:
        raise InputError(f"data {config.source} has the splits {', '.join(found)}: {way_out}.")
    return {part: found[name] for part, name in chosen.items()}


def _images(datasets: Any, features: Mapping[str, Any]) -> list[str]:
    return [name for name, feature in features.items() if isinstance(feature, datasets.Image)]


def _labels(datasets: Any, features: Mapping[str, Any]) -> list[str]:
    classes = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    return classes or [name for name, feature in features.items() if "int" in str(getattr(feature, "dtype", ""))]


def _column(config: DataConfig, kind: str, fitting: list[str], features: Mapping[str, Any]) -> str:
    """Name of the column of images, or of labels.

    Args:
        config: Section `[data]` of a configuration.
        kind: "image" or "label".
        fitting: Columns that could be meant.
        features: All columns.
    """
    key, wanted = f"{kind}_column", getattr(config, f"{kind}_column")
    if wanted is None and len(fitting) == 1:
        return fitting[0]
    if wanted in fitting:
        return str(wanted)
    what = "images" if kind == "image" else "labels (a ClassLabel, or integers)"
    columns = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in features.items())
    if not fitting or wanted is not None:
        missing = f"{wanted!r} is" if wanted is not None else "there is"
        raise InputError(f"data {config.source}: {missing} no column of {what}; the columns are {columns}.")
    raise InputError(
        f"data {config.source}: {' and '.join(fitting)} could be the column of {what}: set data.{key} to one of them."
    )


def _pairs(split: Any, image: str, label: str) -> Any:
    """The split with the columns `image` and `label` alone."""
    new_names = {old: new for old, new in ((image, "image"), (label, "label")) if old != new}
    pairs = split.select_columns([image, label])
    return pairs.rename_columns(new_names) if new_names else pairs


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """A block in which `datasets` shows its progress to a terminal only."""
    was_silent = datasets.are_progress_bars_disabled()
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not was_silent:
            datasets.enable_progress_bars()
