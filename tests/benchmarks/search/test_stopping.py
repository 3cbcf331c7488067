"""What a search says of itself against what became of it, on rows written by hand."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from replays import CHECKED, FITTED, Replay
from tasks import Task

from autokd.optimizers.gain import FACTOR
from autokd.optimizers.models.posterior import SHIFT, SLOPE


@pytest.fixture
def stopping(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(Path(__file__).with_name("stopping.py"))


def row(table: str, n: int, worth: float, most: float, p: float = 0.5, is_best: bool = True) -> dict[str, Any]:
    line = {"key": [table, 0, n], "worth": worth, "is_best": is_best, "below": 0.25, "above": 0.0}
    return line | {"p": p, "logit": p, "most": most, "gain": most / FACTOR}


def test_the_calibration_error_is_the_mean_distance_of_what_was_said_and_what_was_so(stopping: ModuleType) -> None:
    p = np.array([0.92, 0.98, 0.12, 0.18])
    assert stopping.calibration_error(p, np.array([True, True, False, False])) == pytest.approx((0.1 + 0.3) / 4)
    assert stopping.calibration_error(np.array([0.75] * 4), np.array([True, True, True, False])) == 0


def test_the_fitted_scaling_is_the_one_that_made_the_data(stopping: ModuleType) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20_000)
    is_best = rng.random(20_000) < 1 / (1 + np.exp(-0.3 - 0.5 * logits))
    assert stopping.fitted_scaling(logits, is_best) == pytest.approx((0.3, 0.5), abs=0.05)


def test_what_the_samples_say_is_calibrated_by_the_constants_of_the_code(stopping: ModuleType) -> None:
    found = stopping.said({"logit": 1.5, "gain": 0.2})
    assert found["p"] == pytest.approx(1 / (1 + np.exp(-SHIFT - SLOPE * 1.5)))
    assert found["most"] == FACTOR * 0.2


def test_a_gain_is_known_where_twenty_more_trials_were_run(stopping: ModuleType) -> None:
    rows = [row("macro", n, worth, 0.3) for n, worth in ((10, 90.0), (20, 91.0), (30, 90.5), (40, 91.0))]
    assert [(one["key"][2], gained) for one, gained in stopping.gains(rows, rows)] == [(10, 0.5), (20, 0.0)]


def test_the_report_counts_who_was_right_and_when_a_search_would_stop(stopping: ModuleType) -> None:
    rows = [row(FITTED[0], n, 70.0 + n / 100, 0.5, is_best=n > 10) for n in (10, 20, 30, 40, 50)]
    rows += [row(CHECKED[0], n, 90.0 + n / 40, 0.45, p=0.93) for n in (10, 20, 30, 40, 50)]
    text = "\n".join(stopping.report(rows))
    assert "| fitted | 1 | 5 | 0.80 | 0.50 | 0.300 | 75.0 % | 25.0 % | 0.0 % | 3 | 100.0 % | 0.5 | 0.2 |" in text
    assert f"| {CHECKED[0]} | 1 | 5 | 1.00 | 0.93 | 0.070 | 75.0 % | 25.0 % | 0.0 % | 3 | 0.0 % | 0.45 | 0.5 |" in text
    assert "| 0.9 to 1.0 | 0 |  |  | 5 | 0.93 | 1.00 |" in text
    assert "| 1 | 2 | 2 | 20 | 100 % | 0.350 |" in text
    assert "| 0.5 | 2 | 1 | 20 | 0 % | 0.500 |" in text


@pytest.mark.parametrize("task", ["small", "laddered"])
def test_what_is_said_of_a_replay_is_compared_with_the_table(
    stopping: ModuleType, task: str, request: pytest.FixtureRequest
) -> None:
    table: Task = request.getfixturevalue(task)
    rng, top = np.random.default_rng(1), table.ladder.top
    rows = rng.permutation(table.size)[:10].tolist()
    reached = [k % (top + 1) for k in range(10)]
    values = [
        [table.train(row, rung, None, rng).value for rung in range(last + 1)]
        for row, last in zip(rows, reached, strict=True)
    ]
    said = stopping.said(stopping.state(Replay(table, 0, [table.params(r) for r in rows], rows, values), 10))
    assert said["key"] == [table.name, 0, 10]
    assert said["worth"] in table.worths[rows]
    assert said["is_best"] == (said["worth"] == table.worths[rows].max())
    assert 0 < said["p"] < 1 <= 1 + said["most"]
    assert said["below"] + said["above"] <= 1
