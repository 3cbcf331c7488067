"""The noise of a training: on tables written by hand."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from optuna.distributions import IntDistribution
from tasks import Task


@pytest.fixture
def noise(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(Path(__file__).with_name("training_noise.py"))


def test_the_ratio_is_the_deviation_between_seeds_over_the_binomial_error(noise: ModuleType) -> None:
    values = np.array([[50.0, 50.0], [60.0, 60.0], [89.0, 91.0], [91.0, 89.0]])
    task = Task("hand", {"x": IntDistribution(0, 3)}, values, np.ones((4, 2)))
    deviation, share = noise.ratio(task, (0.5, 1.0), 900)
    assert deviation == pytest.approx(np.sqrt(2))
    assert share == pytest.approx(np.sqrt(2) / 1.0)  # 90 % of 900 samples: one point
    assert noise.ratio(task, (0.0, 0.4), 900) == (0.0, 0.0)


def test_the_report_has_a_line_for_each_table_and_number_of_trials(noise: ModuleType) -> None:
    so = {"is_best": True, "regret": 0.5, "inside": 1.0, "within": False}
    rows = [{"key": ["macro", seed, 10, True], "p": p, **so} for seed, p in ((0, 0.6), (1, 0.8))]
    rows.append({"key": ["macro", 0, 10, False], "p": 0.9, **so, "is_best": False})
    lines = list(noise.report(rows))
    assert "| macro | known | 10 | 2 | 1.00 | 0.70 | 0.300 | 100 % | 0 % | 0.500 |" in lines
    assert "| macro | not | 10 | 1 | 0.00 | 0.90 | 0.900 | 100 % | 0 % | 0.500 |" in lines
    assert lines[-1].startswith("| all | known |  | 2 |")
