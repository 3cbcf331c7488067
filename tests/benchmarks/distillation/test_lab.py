from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from autokd.config.toml import read_config

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def module(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(HERE / "lab.py")


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((128, 128, 128), (53.59, 0.0, 0.0)),
    ],
)
def test_colours_have_the_published_coordinates(
    module: ModuleType, rgb: tuple[int, ...], lab: tuple[float, ...]
) -> None:
    (found,) = module.lab(torch.tensor(rgb, dtype=torch.uint8).reshape(1, 1, 1, 3)).reshape(-1, 3).tolist()
    assert found == [round(2.55 * lab[0]), round(lab[1] + 128), round(lab[2] + 128)]


def test_the_teacher_sees_lightness_and_the_student_colour(module: ModuleType) -> None:
    config = read_config(HERE / "lab.toml")
    assert (config.teacher.channels, config.data.student_channels) == ((0,), (1, 2))
    assert module.lightness_teacher().eval()(torch.zeros(2, 1, 64, 64)).shape == (2, 20)
