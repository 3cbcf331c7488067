"""What all tests share: one thread, and property tests that draw the same examples every time."""

import pytest
import torch
from hypothesis import settings

# No deadline: no test asserts a wall-clock time.
settings.register_profile("autokd", deadline=None, derandomize=True)
settings.load_profile("autokd")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)
