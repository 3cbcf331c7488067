"""Teachers that are given from Python."""

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
    """What the section `[teacher]` says of what was given; nothing where only this process has it.

    Args:
        teacher: A name, a file, a dict of outputs, or an object.
        folder: Of all searches, where workers find the outputs.

    Raises:
        InputError: If an array of outputs is not of numbers.
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
    """The teacher that is given as an object, with the inputs and outputs that the configuration describes.

    Raises:
        InputError: If it cannot be called, or the settings do not fit it or the data.
    """
    if teacher is None:
        return None
    if not callable(teacher):
        raise InputError(
            "teacher must be a module, a callable, 'module:function', a file or a dict of outputs, "
            f"but is a {type(teacher).__name__}."
        )
    return teacher_of(teacher, fingerprint(teacher), config.teacher, load_data(config.data))
