from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def settings(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(Path(__file__).with_name("settings.py"))


def _row(student: str, seed: int, setting: str, unseen: float) -> dict[str, Any]:
    measured = {"accuracy": 0.9, "test_accuracy": 0.8, "training_cross_entropy": 0.1}
    return {"student": student, "seed": seed, "setting": setting, "unseen": unseen} | measured


def test_a_setting_is_compared_with_the_same_students_and_seeds_as_the_recipe_trains_them(settings: ModuleType) -> None:
    rows = [_row("resnet", 0, "", 0.90), _row("resnet", 1, "", 0.92), _row("deep-early", 0, "", 0.50)]
    rows += [_row("resnet", 0, "x=1", 0.91), _row("resnet", 1, "x=1", 0.95)]
    lines = list(settings.table(rows))
    assert lines[2] == "| x=1 | 2 | 0 | 93.00 | +2.00 ± 1.00 | 90.00 | 80.00 | 0.100 |"
    assert lines[3].startswith("| the recipe as it is | 3 | 0 | 77.33 | +0.00 ± 0.00 |")


def test_trainings_that_failed_or_have_no_base_are_told_apart(settings: ModuleType) -> None:
    failed = {"student": "resnet", "seed": 1, "setting": "x=2", "failure": "diverged"}
    lines = list(settings.table([failed, _row("resnet", 0, "x=2", 0.9), failed | {"setting": "x=3"}]))
    assert lines[2:] == ["| x=2 | 1 | 1 | 90.00 |  | 90.00 | 80.00 | 0.100 |", "| x=3 | 0 | 1 |  |  |  |  |  |"]


def test_settings_are_ranked_by_the_trainings_that_both_lengths_have(settings: ModuleType) -> None:
    unseen = {"": (0.90, 0.70), "x=1": (0.91, 0.75), "x=2": (0.92, 0.71)}
    long = [_row("resnet", 0, setting, value) for setting, (value, _) in unseen.items()]
    short = [_row("resnet", 0, setting, value) for setting, (_, value) in unseen.items()]
    assert settings.rank_correlation([*long, _row("resnet", 1, "", 0.99)], short) == (pytest.approx(0.5), 3)
