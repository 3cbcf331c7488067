"""What tests of teachers share: a user's module with teachers, and one that reads the data of `make_dataset`."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from autokd.config.schema import TeacherConfig

MODULE = """
from torch import nn

def network():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 3))

def function():
    return lambda images: images.mean((2, 3)).repeat(1, 3)

def number():
    return 3

def failing():
    raise RuntimeError("no memory")

def doubled(images):
    return images * 2

no_function = 3
"""


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 3))


@pytest.fixture
def make_network() -> Callable[[], nn.Module]:
    """Makes the same small network again and again, as the module's `network` does with other weights."""
    return network


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's module with teachers."""
    file = tmp_path / "my_teachers_for_tests.py"
    file.write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield file
    sys.modules.pop("my_teachers_for_tests", None)


@pytest.fixture
def config(module: Path) -> Callable[..., TeacherConfig]:
    """Makes configurations of a teacher from that module."""

    def make(factory: str = "network", **settings: object) -> TeacherConfig:
        return TeacherConfig.model_validate({"factory": f"my_teachers_for_tests:{factory}", **settings})

    return make


@pytest.fixture
def reads_the_bands() -> Callable[[Tensor], Tensor]:
    """Logits of the data that `make_dataset` makes: the brightness of each third."""
    return lambda images: images[:, 0].unflatten(1, (3, 2)).mean((2, 3))
