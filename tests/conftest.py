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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the long tests first, every other one in the middle of the list.

    Each of two processes begins with one half of the list and takes from the other's when it is done, so neither is
    still in a long test when the other has nothing left.
    """
    first = [item for item in items if item.get_closest_marker("long")]
    rest = [item for item in items if not item.get_closest_marker("long")]
    middle = len(rest) // 2
    items[:] = [*first[::2], *rest[:middle], *first[1::2], *rest[middle:]]
