"""Networks in ONNX files as callables on tensors."""

import hashlib
import math
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autokd.core.extras import needs
from autokd.errors import InputError, first_line

__all__ = ["OnnxNetwork", "file_digest", "parameter_count"]

TYPES = {
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
    "tensor(uint8)": torch.uint8,
}
WEIGHT_TYPES = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "INT8", "UINT8")  # other constants are shapes and indices

# In the protocol buffer an external tensor names its file, relative to the model's folder, as value of this key.
_EXTERNAL_FILE = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])")


class OnnxNetwork:
    """Network of an ONNX file, run by onnxruntime on the CPU with as many threads as torch uses.

    If the file fixes the batch size, a batch is run in pieces of that size; the last piece is padded, and its outputs
    are cut off again.

    Args:
        path: The file.

    Raises:
        InputError: If onnxruntime is not installed, the file cannot be read, or it does not have exactly one input of
            numbers.
    """

    def __init__(self, path: Path) -> None:
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the exceptions of onnxruntime have no base class of their own
            raise InputError(f"teacher.onnx: {path} is not a readable ONNX file: {first_line(error)}.") from None
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in TYPES:
            listed = ", ".join(f"{one.name!r} of {one.type}" for one in inputs)
            raise InputError(f"teacher.onnx: {path} must have one input of numbers, but has {listed or 'none'}.")
        self._name = inputs[0].name
        self._type = TYPES[inputs[0].type]
        self._shape = [size if isinstance(size, int) else None for size in inputs[0].shape]  # None: any size

    def __call__(self, samples: Tensor) -> Tensor | dict[str, Tensor]:
        """Output of the network, or a dict of all outputs by name if there are several, on the device of the samples.

        Args:
            samples: `batch x` the shape of the file's input.

        Raises:
            InputError: If the samples do not have the shape of the file's input.
        """
        self._check_shape(samples)
        parts = [self._run(chunk) for chunk in self._chunks(samples.cpu().to(self._type))]
        names = [output.name for output in self._session.get_outputs()]
        outputs = [
            torch.from_numpy(np.concatenate(pieces)[: len(samples)]).to(samples.device)
            for pieces in zip(*parts, strict=True)
        ]
        return outputs[0] if len(outputs) == 1 else dict(zip(names, outputs, strict=True))

    def _run(self, samples: Tensor) -> list[Any]:
        return list(self._session.run(None, {self._name: samples.contiguous().numpy()}))

    def _chunks(self, samples: Tensor) -> Iterator[Tensor]:
        size = self._shape[0] if self._shape else None
        for chunk in torch.split(samples, size or max(1, len(samples))):
            missing = (size or len(chunk)) - len(chunk)
            yield torch.cat([chunk, chunk[-1:].expand(missing, *chunk.shape[1:])]) if missing else chunk

    def _check_shape(self, samples: Tensor) -> None:
        wanted, given = self._shape[1:], list(samples.shape[1:])
        fits = len(wanted) == len(given) and all(size in (None, got) for size, got in zip(wanted, given, strict=True))
        if self._shape and not fits:
            sizes = " x ".join("any" if size is None else str(size) for size in wanted)
            raise InputError(
                f"teacher.onnx takes samples of {sizes}, but gets {' x '.join(map(str, given))}: "
                "set teacher.resize or teacher.preprocess."
            )


def parameter_count(path: Path) -> int | None:
    """Number of weights and other real constants of an ONNX file; None if the package onnx is not installed."""
    try:
        import onnx
    except ImportError:
        return None
    kinds = {getattr(onnx.TensorProto, name) for name in WEIGHT_TYPES}
    graph = onnx.load(str(path), load_external_data=False).graph
    total: int = sum(math.prod(tensor.dims) for tensor in graph.initializer if tensor.data_type in kinds)
    return total


def file_digest(path: Path) -> str:
    """SHA-256 of the contents of an ONNX file and of the files beside it that hold its weights."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    for name in _external_files(path):
        with (path.parent / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _external_files(path: Path) -> list[str]:
    """Names of the files of external weights, found in the bytes, since the package onnx may not be installed."""
    names = set()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for match in _EXTERNAL_FILE.finditer(content):
            name = content[match.end() : match.end() + match[1][0]]
            names.add(name.decode(errors="replace"))
    return sorted(name for name in names if (path.parent / name).is_file())


def _runtime() -> ModuleType:
    with needs("onnx", "teacher.onnx"):
        import onnxruntime
    return onnxruntime  # type: ignore[no-any-return]
