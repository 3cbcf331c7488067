"""Data sets by their names in a configuration."""

import os
from functools import lru_cache
from pathlib import Path

from autokd.config.data import NAMED_SOURCES, DataConfig
from autokd.core.hub import HUB
from autokd.core.references import call, is_reference, resolve
from autokd.core.spelling import nearest_name
from autokd.data.dataset import Dataset
from autokd.data.decoding.decode import decode
from autokd.data.decoding.undecoded import Undecoded
from autokd.data.sources.folder import from_folder
from autokd.data.sources.hugging_face import check_hub_source, from_hub
from autokd.data.sources.map_style import from_map_style
from autokd.errors import InputError

__all__ = ["check_resized", "check_source", "load_data"]


def check_source(config: DataConfig) -> None:
    """Check what can be told of the data before they are loaded.

    Raises:
        InputError: If there is no such source, images are to be resized that cannot be, or a folder is given that is
            not looked at.
    """
    if config.folder is not None and config.source != "fashion-mnist":
        raise InputError(
            "data.folder is where the files of 'fashion-mnist' are, but data.source is "
            f"{config.source!r}: omit the key."
        )
    if config.source.startswith(HUB):
        check_hub_source(config)
        return
    path = Path(config.source)
    is_named = config.source in NAMED_SOURCES
    if is_reference(config.source) and not is_named:
        resolve(config.source, "data.source")
        return
    if not is_named and path.suffix != ".npz" and not os.path.isdir(path):
        raise _unknown(config.source)
    if not is_named and path.suffix == ".npz" and not os.path.exists(path):
        raise InputError(f"data {path} is not a readable .npz archive: there is no such file.")
    if config.image_size is not None and not os.path.isdir(path):
        raise _not_resized(config)


def check_resized(config: DataConfig, dataset: Dataset) -> None:
    """Check that images have the size that was asked for.

    Raises:
        InputError: If they have another one: those of arrays are not resized.
    """
    if config.image_size is not None and dataset.input_shape[1:] != (config.image_size, config.image_size):
        raise _not_resized(config)


@lru_cache(maxsize=2)  # since a worker runs many evaluations of one search
def load_data(config: DataConfig) -> Dataset:
    """Data set that a configuration describes.

    Raises:
        InputError: If the source is unknown, missing or invalid.
    """
    loaded = _load(config)
    if isinstance(loaded, Undecoded):
        return decode(loaded, config.validation, config.subset, config.memory_bytes, config.cache)
    return loaded.subset(config.subset) if config.subset else loaded


def _load(config: DataConfig) -> Dataset | Undecoded:
    validation = {} if config.validation is None else {"validation": config.validation}
    path = Path(config.source)
    if config.source.startswith(HUB):
        return from_hub(config)
    if config.source == "digits":
        from autokd.data.sources.digits import digits

        return digits(**validation)
    if config.source == "fashion-mnist":
        from autokd.data.sources.fashion_mnist import fashion_mnist

        return fashion_mnist(config.folder, **validation)
    if is_reference(config.source):
        return _from_function(config)
    if path.suffix == ".npz":
        from autokd.data.sources.arrays import from_npz

        return from_npz(path, config.validation)
    if os.path.isdir(path):
        return from_folder(path, config.image_size)
    raise _unknown(config.source)


def _unknown(source: str) -> InputError:
    return InputError(
        f"data.source must be one of {', '.join(NAMED_SOURCES)}, a .npz file, a folder, `hf:user/name` or "
        f"`module:function`, but got {source!r}{nearest_name(source, NAMED_SOURCES)}."
    )


def _not_resized(config: DataConfig) -> InputError:
    return InputError(
        f"data.image_size = {config.image_size}, but only images of a folder or a map-style data set are resized, and "
        f"data.source is {config.source!r}: omit the key; what the teacher gets is resized by teacher.resize."
    )


def _from_function(config: DataConfig) -> Dataset | Undecoded:
    from autokd.data.sources.arrays import from_arrays

    made = call(config.source, "data.source")
    if isinstance(made, Dataset):
        return made
    if isinstance(made, dict) and "train" in made:
        return from_map_style(made, config.source, config.image_size)
    if isinstance(made, dict):
        return from_arrays(made, config.source, config.validation)
    raise InputError(
        f"data.source {config.source!r} must return a dict of arrays, a dict of map-style data sets or an "
        f"autokd.Dataset, but returned {type(made).__name__}."
    )
