"""What a teacher costs, measured: the figures that its students are compared with."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from autokd.teachers.teacher import Teacher
from search_spaces.design.budget import LIMITS
from search_spaces.networks.activation_memory import peak_activation_bytes

__all__ = ["TeacherCost", "measure_cost"]


@dataclass(frozen=True)
class TeacherCost:
    """Cost of a teacher; None where it cannot be told, as for callables, ONNX files and stored outputs.

    Attributes:
        params: Parameters.
        nonzero_params: Parameters that are not 0.
        macs: Multiply-accumulates of one sample in convolutions and matrix products.
        activation_bytes: Peak size of the activations of one sample, see `peak_activation_bytes`.
        model_bytes: Parameters and buffers of floating-point numbers.
    """

    params: int | None = None
    nonzero_params: int | None = None
    macs: int | None = None
    activation_bytes: int | None = None
    model_bytes: int | None = None

    @property
    def memory_bytes(self) -> int | None:
        """Size of the model and of the activations of one sample together."""
        if self.model_bytes is None or self.activation_bytes is None:
            return None
        return self.model_bytes + self.activation_bytes

    def to_dict(self) -> dict[str, int | None]:
        """All figures by name."""
        return {**vars(self), "memory_bytes": self.memory_bytes}

    @property
    def limits(self) -> dict[str, int | None]:
        """The figures that a budget can limit, by name."""
        return {name: getattr(self, name) for name in LIMITS}


def measure_cost(teacher: Teacher, input_shape: tuple[int, ...], device: torch.device) -> TeacherCost:
    """Cost of the teacher for one sample, which it is asked about twice.

    Attention and recurrent layers count as the plain operators that they consist of, whatever they run as.

    Args:
        teacher: The teacher, on the device.
        input_shape: Shape of a sample of the data set, which `teacher.prepared` takes.
        device: Device that computes.
    """
    network, sample = teacher.network, torch.zeros(1, *input_shape, device=device)
    if network is None:
        return TeacherCost(params=teacher.parameter_count)
    parameters = list(network.parameters())
    with _plain_operators():
        macs, activation_bytes = _macs(teacher, sample), peak_activation_bytes(network, teacher.prepared(sample))
    return TeacherCost(
        params=teacher.parameter_count,
        nonzero_params=sum(int(parameter.count_nonzero()) for parameter in parameters),
        macs=macs,
        activation_bytes=activation_bytes,
        model_bytes=sum(tensor.nbytes for tensor in [*parameters, *network.buffers()] if tensor.is_floating_point()),
    )


@contextmanager
def _plain_operators() -> Iterator[None]:
    """A block in which no layer runs as one fused call, in which nothing could be counted."""
    mha, onednn = torch.backends.mha, torch.backends.mkldnn
    before = mha.get_fastpath_enabled(), onednn.enabled
    mha.set_fastpath_enabled(False)
    onednn.enabled = False  # type: ignore[assignment]
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        mha.set_fastpath_enabled(before[0])
        onednn.enabled = before[1]


def _macs(teacher: Teacher, sample: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        teacher(sample)
    return int(counter.get_total_flops()) // 2
