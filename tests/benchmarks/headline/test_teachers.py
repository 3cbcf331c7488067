from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from autokd.config.toml import read_config

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def teachers(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(HERE / "teachers.py")


def test_the_teacher_has_three_million_parameters_and_its_own_first_weights(teachers: ModuleType) -> None:
    torch.manual_seed(0)
    first, second = teachers.tiny_imagenet_20(), teachers.tiny_imagenet_20()
    n_parameters = sum(parameter.numel() for parameter in first.parameters())
    assert 2_900_000 < n_parameters <= 3_000_000
    assert not torch.equal(next(first.parameters()), next(second.parameters()))
    assert first.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, 20)


def test_students_have_a_tenth_of_its_parameters(teachers: ModuleType) -> None:
    config = read_config(HERE / "tiny-imagenet-20.toml")
    assert config.teacher.factory == "tests.benchmarks.headline.teachers:tiny_imagenet_20"
    assert config.budget.params == teachers.PARAMS // 10
