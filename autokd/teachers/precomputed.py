"""Teachers that consist of stored outputs for the samples of the data set, without a network."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from autokd.core.files import UNREADABLE, write_atomically
from autokd.data.dataset import Dataset
from autokd.data.sources.arrays import in_native_order
from autokd.data.stream import Batch
from autokd.errors import InputError, first_line
from autokd.teachers.logits import Reading
from autokd.teachers.teacher import Teacher
from autokd.teachers.validation import lowest_accuracy

__all__ = ["PrecomputedTeacher", "checked_outputs", "keep_outputs", "precomputed_teacher", "read_outputs"]

PARTS = ("train", "validation", "test")

Array = np.ndarray[Any, np.dtype[Any]]


class PrecomputedTeacher(Teacher):
    """Teacher that looks its outputs up: they are the same for every augmented view of a sample.

    Args:
        outputs: Outputs for each split, as `checked_outputs` returns them.
        reading: Conversion of these outputs to logits.
        settings: Further text that distinguishes this teacher from others.
    """

    def __init__(self, outputs: Mapping[str, Tensor], reading: Reading, settings: str) -> None:
        super().__init__(_refuse, f"outputs {_digest(outputs)}{settings}", reading=reading)
        self._outputs = dict(outputs)

    def knows(self, part: str) -> bool:
        """Whether there are outputs for that split."""
        return part in self._outputs

    def on_batch(self, batch: Batch) -> Tensor:
        """Logits for a training batch, by the indices of its samples.

        Raises:
            InputError: If the batch has the further views that some methods need.
        """
        if len(batch.images) != len(batch.indices):
            raise InputError(
                "the method looks at views of its own, of which teacher.outputs holds none: choose another."
            )
        return self.reading(self._outputs["train"][batch.indices.cpu()]).to(batch.images.device)

    def on_split(self, dataset: Dataset, part: str, device: torch.device) -> Tensor:
        """Logits for all samples of a split."""
        return self.reading(self._outputs[part]).to(device)


def precomputed_teacher(
    arrays: Mapping[str, Any], reading: Reading, settings: str, dataset: Dataset
) -> PrecomputedTeacher:
    """Teacher with these outputs, which must be those of the data set's samples.

    Args:
        arrays: Outputs as `checked_outputs` takes them.
        reading: Conversion of these outputs to logits.
        settings: Further text that distinguishes the teacher from others.
        dataset: The data set, after `data.subset` was applied and missing splits were held out.

    Raises:
        InputError: If `checked_outputs` refuses the outputs, or the rows of `train` seem to belong to other samples.
    """
    teacher = PrecomputedTeacher(checked_outputs(arrays, dataset), reading, settings)
    _check_order(teacher, dataset)
    return teacher


def read_outputs(path: Path) -> dict[str, Array]:
    """Arrays of an `.npz` archive, or of the `.npy` files in a folder, by name.

    Raises:
        InputError: If the path is neither, or cannot be read.
    """
    try:
        if path.is_dir():
            return {file.stem: np.load(file, mmap_mode="c", allow_pickle=False) for file in path.glob("*.npy")}
        if path.suffix == ".npz":
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
    except UNREADABLE as error:
        raise InputError(f"teacher.outputs: {path} is not readable: {error}.") from None
    raise InputError(f"teacher.outputs must be an .npz archive or a folder of .npy files, but got {path.name!r}.")


def keep_outputs(arrays: Mapping[str, Any], folder: Path) -> Path:
    """Path of an archive of these arrays in `folder`, which is written unless it exists.

    NumPy has no bfloat16, so that is kept as float32, which holds the same values.

    Raises:
        InputError: If an array does not hold numbers.
    """
    tensors = {str(name): _kept(_tensor(str(name), values).detach().cpu()) for name, values in arrays.items()}
    path = folder / f"{_digest(tensors)[:16]}.npz"
    if not path.exists():
        write_atomically(path, lambda temporary: _save(tensors, temporary))
    return path


def checked_outputs(arrays: Mapping[str, Any], dataset: Dataset) -> dict[str, Tensor]:
    """Outputs for each split as tensors.

    Args:
        arrays: `train`, `validation` and optionally `test`, real, `samples x outputs`.
        dataset: The data set, after `data.subset` was applied and missing splits were held out.

    Raises:
        InputError: If an array is missing or unknown, has a wrong type, shape or length, another width than the others,
            or numbers that are not finite as float32.
    """
    if not {"train", "validation"} <= arrays.keys() <= set(PARTS):
        raise InputError(
            f"teacher.outputs needs train and validation, may have test, but has {', '.join(arrays) or 'nothing'}."
        )
    outputs = {part: _checked(part, _tensor(part, arrays[part]), dataset) for part in PARTS if part in arrays}
    widths = {part: values.shape[1] for part, values in outputs.items()}
    if len(set(widths.values())) > 1:
        listed = ", ".join(f"{part} {width}" for part, width in widths.items())
        raise InputError(f"teacher.outputs must have as many outputs for all samples, but has: {listed}.")
    return outputs


def _tensor(part: str, values: Any) -> Tensor:
    try:
        return torch.as_tensor(in_native_order(values) if isinstance(values, np.ndarray) else values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"teacher.outputs must be arrays of numbers: {part}: {first_line(error)}.") from None


def _kept(values: Tensor) -> Tensor:
    """The values in a type that NumPy has."""
    return values.float() if values.dtype == torch.bfloat16 else values


def _checked(part: str, outputs: Tensor, dataset: Dataset) -> Tensor:
    if outputs.ndim != 2 or not outputs.is_floating_point() or not outputs.shape[1]:
        raise InputError(
            f"teacher.outputs: {part} must be floats of samples x outputs, but is {outputs.dtype} of "
            f"{tuple(outputs.shape)}."
        )
    wanted = len(dataset.splits[part])
    if len(outputs) != wanted:
        raise InputError(
            f"teacher.outputs: {part} has {len(outputs):,} rows, but the {part} split has {wanted:,} samples. Each row "
            "must belong to a sample of the split: omit data.subset, and give data that have all three splits, since "
            "those that are held out of the training samples are random."
        )
    if not outputs.float().isfinite().all():
        raise InputError(f"teacher.outputs: {part} holds NaN, infinity, or numbers beyond the range of float32.")
    return outputs


def _check_order(teacher: PrecomputedTeacher, dataset: Dataset) -> None:
    """Raise if the teacher is good on the validation samples, but no better than chance on the training samples."""
    accuracy, lowest = {}, {}
    for part in ("train", "validation"):
        labels = dataset.splits[part].labels
        key = teacher.on_split(dataset, part, labels.device).argmax(1)
        accuracy[part] = float((key == labels).double().mean())
        lowest[part] = lowest_accuracy(labels)
    if accuracy["train"] < lowest["train"] and accuracy["validation"] >= lowest["validation"]:
        raise InputError(
            f"teacher.outputs: the accuracy of train is {accuracy['train']:.2%}, but that of validation "
            f"{accuracy['validation']:.2%}: are the rows of train in the order of the training samples?"
        )


def _save(outputs: Mapping[str, Tensor], path: Path) -> None:
    arrays: dict[str, Any] = {name: values.numpy() for name, values in outputs.items()}
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _digest(outputs: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for part, values in outputs.items():
        digest.update(f"{part}{values.dtype}{tuple(values.shape)}".encode())
        digest.update(values.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _refuse(samples: Tensor) -> NoReturn:
    raise InputError("teacher.outputs are for the data's own samples: for any others the teacher must be a network.")
