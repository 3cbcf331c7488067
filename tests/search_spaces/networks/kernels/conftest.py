from collections.abc import Iterator

import pytest
import torch

from search_spaces.networks.kernels.library import Kernels, load


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def kernels(one_thread: None) -> Kernels:
    """The compiled kernels, with one thread so that they are used."""
    if load().library is None:
        pytest.skip(load().detail)
    return load()
