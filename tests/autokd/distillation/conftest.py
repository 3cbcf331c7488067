"""Logits of 7 samples and 5 classes, in float64, which the tests of losses share."""

import pytest
import torch
from torch import Tensor


@pytest.fixture
def student() -> Tensor:
    return 3 * torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def teacher() -> Tensor:
    return 3 * torch.randn(7, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def labels() -> Tensor:
    return torch.arange(7) % 5
