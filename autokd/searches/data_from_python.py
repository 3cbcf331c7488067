"""Data that are given from Python, written to where workers, and a later resume, find them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autokd.config.schema import SearchConfig
from autokd.core.files import write_atomically
from autokd.data.dataset import Dataset
from autokd.data.sources.arrays import from_arrays, save_npz
from autokd.errors import InputError
from autokd.searches.workspace import Workspace

__all__ = ["data_source", "with_saved"]


def data_source(data: str | Path | Dataset | Mapping[str, Any], home: Workspace, validation: int | None = None) -> str:
    """What a configuration says of the data; samples in memory are saved under the workspace.

    Args:
        data: The data, or where they are.
        home: The workspace.
        validation: Number of samples of a missing validation split of arrays; a tenth by default.

    Raises:
        InputError: If they are neither a name, nor arrays, nor a data set.
    """
    if isinstance(data, str | Path):
        return str(data)
    if isinstance(data, Mapping):
        data = from_arrays(data, "data", validation)
    if not isinstance(data, Dataset):
        raise InputError(
            f"data must be a dict of arrays, an autokd.Dataset or the name of a source, but is a {type(data).__name__}."
        )
    return str(_save(data, home))


def with_saved(config: SearchConfig, home: Workspace) -> SearchConfig:
    """A recorded configuration that finds what was saved for it in this workspace, a copy of the one that it names.

    Names of saved files are digests of what is in them, so one of the same name is the same.
    """
    data = config.data.model_copy(update={"source": _saved(config.data.source, home.folder / "data")})
    teacher = config.teacher
    if teacher.outputs is not None:
        teacher = teacher.model_copy(update={"outputs": _saved(teacher.outputs, home.folder / "outputs")})
    return config.model_copy(update={"data": data, "teacher": teacher})


def _saved(source: str, folder: Path) -> str:
    """The file of this name in a folder if the source is gone and was in a folder of this name; else the source."""
    path = Path(source)
    here = folder / path.name
    return str(here) if path.parent.name == folder.name and here.exists() and not path.exists() else source


def _save(dataset: Dataset, home: Workspace) -> Path:
    """File in which workers, and a later resume, find a data set that was given as an object."""
    content = "\0".join((dataset.digest, *dataset.class_names))
    path = home.folder / "data" / f"{hashlib.sha256(content.encode()).hexdigest()[:16]}.npz"
    if not path.exists():
        write_atomically(path, lambda temporary: save_npz(dataset, temporary))
    return path
