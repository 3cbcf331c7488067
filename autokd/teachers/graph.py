"""A teacher's own graph as an architecture, from which a student like it is made."""

import torch

from autokd.errors import InputError, first_line
from autokd.teachers.teacher import Teacher
from search_spaces.errors import SpaceError
from search_spaces.networks.traced import Traced, trace

__all__ = ["traced_teacher"]

EXAMPLES = 2  # samples


def traced_teacher(teacher: Teacher, input_shape: tuple[int, ...], device: torch.device) -> Traced:
    """The teacher's network in the one format, for its own inputs, which may be larger than the data set's samples.

    Args:
        teacher: The teacher, on the device.
        input_shape: Shape of a sample of the data set, which `teacher.prepared` takes.
        device: Device that computes.

    Raises:
        InputError: If the teacher is no module, or does what no student can do.
    """
    if teacher.network is None:
        raise InputError("the teacher is no torch module, so its graph is not known")
    samples = torch.randn(EXAMPLES, *input_shape, generator=torch.Generator().manual_seed(0)).to(device)
    try:
        inputs = teacher.prepared(samples)
        if isinstance(inputs, torch.Tensor) and inputs.ndim != samples.ndim:
            raise SpaceError("its inputs are of another kind than the samples")
        return trace(teacher.network, inputs, teacher.reading.output)
    except SpaceError as error:
        raise InputError(f"the teacher's graph cannot be copied: {first_line(error)}") from None
    except Exception as error:  # a user's network can fail in any way, and most searches do not need its graph
        raise InputError(
            f"the teacher's graph cannot be copied: {type(error).__name__}: {first_line(error)}"
        ) from error
