from pathlib import Path

import numpy as np
import pytest
from front_report import Shares, collect, markdown, plot
from front_task import Tradeoff
from PIL import Image
from results import Result, Run
from runner import Trace
from tasks import Task


@pytest.fixture
def tradeoff(small: Task) -> Tradeoff:
    """Row `n` gains `n` percent and half a millisecond, but 21, 22 and 23, the front, gain 2, 1.5 and 1 ms."""
    numbers = np.arange(24.0).reshape(24, 1)
    milliseconds = np.array([0.5] * 21 + [2.0, 1.5, 1.0])
    return Tradeoff(Task("staircase", small.space, 40 + numbers, 1 + numbers), 60 - milliseconds)


def result(seed: int, rows: list[int], values: list[float], peer: str = "random", workers: int = 1) -> Result:
    trace = Trace(values=values, worths=values, finished=[1.0 * n for n in range(len(rows))], rows=rows)
    return Result(Run("staircase", peer, "v1", seed, workers, len(rows)), 0.0, trace)


def test_shares_are_those_of_the_points_so_far(tradeoff: Tradeoff) -> None:
    assert tradeoff.optimum == 23 * 1.0 + 22 * 0.5 + 21 * 0.5
    (shares,) = collect(tradeoff, [result(0, [20, 22, 23], [60.0, 62.0, 63.0])])
    areas = [20 * 0.5, 22 * 1.5, 22 * 1.5 + 1 * 1.0]
    assert shares.found == pytest.approx(np.array([areas]) / tradeoff.optimum)
    assert shares.chosen == pytest.approx(shares.found)


def test_the_chosen_points_are_those_that_looked_best(tradeoff: Tradeoff) -> None:
    # Row 22 is better than 20 in both, but looked less accurate, so both are chosen; then 21 looked best in both.
    (shares,) = collect(tradeoff, [result(0, [20, 22, 21], [60.0, 59.0, 99.0])])
    assert shares.chosen == pytest.approx(np.array([[20 * 0.5, 22 * 1.5, 21 * 2.0]]) / tradeoff.optimum)
    assert shares.found[0, -1] == pytest.approx((22 * 1.5 + 21 * 0.5) / tradeoff.optimum)


def test_runs_are_grouped_by_peer_and_workers_and_the_typical_one_is_the_median(tradeoff: Tradeoff) -> None:
    runs = [result(seed, [row], [50.0]) for seed, row in enumerate([23, 1, 10])]
    groups = collect(tradeoff, [*runs, result(0, [5], [50.0], peer="tpe"), result(0, [6], [50.0], workers=8)])
    assert [(s.peer, s.workers, list(s.typical)) for s in groups] == [
        ("random", 1, [10]),
        ("tpe", 1, [5]),
        ("random", 8, [6]),
    ]


def of(peer: str, levels: list[float], workers: int = 1) -> Shares:
    """A run at each of these shares from its second evaluation on; half of it by the peer's own choice."""
    found = np.repeat(np.array(levels)[:, np.newaxis], 100, axis=1)
    found[:, 0] = 0.0
    return Shares(peer, workers, found, found / 2, typical=[0, 5, 22])


def test_the_tables_give_mean_and_standard_error_and_the_best_in_bold() -> None:
    text = markdown([of("random", [0.5, 0.6]), of("tpe", [0.8]), of("gp", [0.9], workers=8)])
    one, eight = text.split("## 8 workers")
    found, chosen = one.split("observed")
    assert "| peer | seeds | 50 | 100 |" in found
    assert "| random | 2 | 55.00 ± 5.00 | 55.00 ± 5.00 |" in found
    assert "| tpe | 1 | **80.00** | **80.00** |" in found
    assert "| random | 2 | 27.50 ± 2.50 | 27.50 ± 2.50 |" in chosen
    assert "| gp | 1 | **45.00** | **45.00** |" in eight


def test_the_plot_has_a_line_of_panels_for_each_number_of_workers(tradeoff: Tradeoff, tmp_path: Path) -> None:
    plot(tradeoff, [of("random", [0.5, 0.6]), of("tpe", [0.8]), of("random", [0.9], workers=8)], tmp_path / "f.png")
    with Image.open(tmp_path / "f.png") as image:
        assert image.size == (3 * 5 * 120, 2 * 4 * 120)
