"""A panel for the logits of the tests of losses, and a moment of the training."""

import pytest
import torch
from torch import Tensor

from autokd.distillation import BatchContext, Outputs


@pytest.fixture
def panel(teacher: Tensor) -> Outputs:
    """The teacher with two assistants, the smaller one last."""
    generators = (torch.Generator().manual_seed(number) for number in (2, 3))
    others = tuple(Outputs(3 * torch.randn(teacher.shape, generator=each, dtype=torch.float64)) for each in generators)
    return Outputs(teacher, others=others)


@pytest.fixture
def context(labels: Tensor) -> BatchContext:
    return BatchContext(labels, torch.arange(len(labels)), epoch=2.5, progress=0.25)
