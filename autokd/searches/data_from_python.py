"""Data that are given from Python, written to where workers, and a later resume, find them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autokd.core.files import write_atomically
from autokd.data.dataset import Dataset
from autokd.data.sources.arrays import from_arrays, save_npz
from autokd.errors import InputError
from autokd.searches.workspace import Workspace

__all__ = ["data_source"]


def data_source(data: str | Path | Dataset | Mapping[str, Any], home: Workspace) -> str:
    """What a configuration says of the data; samples in memory are saved under the workspace.

    Raises:
        InputError: If they are neither a name, nor arrays, nor a data set.
    """
    if isinstance(data, str | Path):
        return str(data)
    if isinstance(data, Mapping):
        data = from_arrays(data, "data")
    if not isinstance(data, Dataset):
        raise InputError(
            f"data must be a dict of arrays, an autokd.Dataset or the name of a source, but is a {type(data).__name__}."
        )
    return str(_save(data, home))


def _save(dataset: Dataset, home: Workspace) -> Path:
    """File in which workers, and a later resume, find a data set that was given as an object."""
    path = home.folder / "data" / f"{dataset.digest[:16]}.npz"
    if not path.exists():
        write_atomically(path, lambda temporary: save_npz(dataset, temporary))
    return path
