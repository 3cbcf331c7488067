"""The comparison of searches with and without memory, on small tables and rows written by hand."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from nearest import NearestTask
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from tasks import Task


@pytest.fixture
def memory(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(Path(__file__).with_name("memory.py"))


def row(sort: str, seed: int, worths: list[float]) -> dict[str, Any]:
    return {"key": ["macro", sort, seed], "opt": 1.0, "values": worths, "worths": worths, "rows": []}


def test_turning_a_parameter_round_stays_in_its_range(memory: ModuleType) -> None:
    choices = CategoricalDistribution(("a", "b", "c"))
    assert [memory.turned(choices, choice) for choice in "abc"] == ["b", "c", "a"]
    assert memory.turned(IntDistribution(2, 6), 3) == 5
    assert memory.turned(FloatDistribution(0.01, 10, log=True), 1.0) == pytest.approx(0.1)


def test_a_recorded_search_becomes_a_study_of_the_same_points(memory: ModuleType, small: Task) -> None:
    recorded = {"rows": [3, 17], "values": [0.5, 0.75]}
    study = memory.study_of(small, recorded)
    assert [small.row(trial.params) for trial in study.trials] == [3, 17]
    assert [trial.value for trial in memory.study_of(small, recorded, sign=-1).trials] == [-0.5, -0.75]
    assert memory.study_of(small, recorded, memory.turned).trials[0].params != study.trials[0].params


def test_a_study_has_only_the_parameters_that_a_setting_has(memory: ModuleType) -> None:
    task = NearestTask(
        name="layers",
        space={"layers": IntDistribution(0, 1), "kernel": IntDistribution(1, 7)},
        values=np.array([[0.5], [0.75]]),
        seconds=np.ones((2, 1)),
        settings=[{"layers": 0}, {"layers": 1, "kernel": 3}],
    )
    study = memory.study_of(task, {"rows": [0, 1], "values": [0.5, 0.75]}, memory.turned)
    assert [trial.params for trial in study.trials] == [{"layers": 1}, {"layers": 0, "kernel": 5}]


def test_students_of_a_space_are_a_family_with_all_variations_and_no_rungs(memory: ModuleType) -> None:
    assert memory.FAMILIES["nago students"] == (
        "students-nago",
        "students-nago-fewer-samples",
        "students-nago-smaller-students",
        "students-nago-both",
    )


def test_the_report_compares_the_means_over_seeds_with_a_cold_search(memory: ModuleType) -> None:
    rows = [row("cold", seed, [0.5] * 10 + [0.75] * 30) for seed in range(3)]
    rows += [row("negated", seed, [0.25] * 10 + [0.75] * 30) for seed in range(3)]
    text = "\n".join(memory.report({tuple(each["key"]): each for each in rows}))
    assert "| macro | 10 | 0.5000 / 0.5000 | 0.7500 / 0.7500 |" in text
    assert "| ratio to cold after 10 | 10 | 1.00 (1.00 to 1.00) | 1.50 (1.50 to 1.50) |" in text
    assert "| ratio to cold after 40 | 10 | 2.00 (2.00 to 2.00) | 3.00 (3.00 to 3.00) |" in text
