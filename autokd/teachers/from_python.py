"""Teachers that are passed to `autokd.search` from Python."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from autokd.config.schema import SearchConfig
from autokd.data.registry import load_data
from autokd.errors import InputError
from autokd.teachers.fingerprint import fingerprint
from autokd.teachers.precomputed import keep_outputs
from autokd.teachers.registry import Teacher, teacher_of

__all__ = ["teacher_from_python", "teacher_source"]


def teacher_source(teacher: object, folder: Path) -> dict[str, str]:
    """Keys of the section `[teacher]` that describe what was passed; none for an object, which only this process has.

    Args:
        teacher: A name, a file, a dict of outputs, or an object.
        folder: Folder of all searches, in which a dict of outputs is saved for the workers.

    Raises:
        InputError: If an array of outputs does not hold numbers.
    """
    if isinstance(teacher, Mapping):
        return {"outputs": str(keep_outputs(teacher, folder / "outputs"))}
    if not isinstance(teacher, str | Path):
        return {}
    path = Path(teacher)
    if path.suffix == ".onnx":
        return {"onnx": str(teacher)}
    return {"outputs" if path.suffix == ".npz" or path.is_dir() else "factory": str(teacher)}


def teacher_from_python(teacher: Callable[[Tensor], Any] | None, config: SearchConfig) -> Teacher | None:
    """Teacher made from an object, with the inputs and outputs that the configuration describes.

    Raises:
        InputError: If the object is not callable, or the settings do not fit it or the data.
    """
    if teacher is None:
        return None
    if not callable(teacher):
        raise InputError(
            "teacher must be a module, a callable, 'module:function', a file or a dict of outputs, "
            f"but is a {type(teacher).__name__}."
        )
    return teacher_of(teacher, fingerprint(teacher), config.teacher, load_data(config.data))
