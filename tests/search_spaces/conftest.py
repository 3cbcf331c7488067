import pytest
import torch
from hypothesis import settings

# No deadline: the machine may be busy, and speed is no subject of a unit test.
settings.register_profile("search_spaces", deadline=None, derandomize=True)
settings.load_profile("search_spaces")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)
