"""The tasks and the harness against figures that others measured on the same tables."""

import os
from pathlib import Path

import numpy as np
import pytest
from baselines import RegularisedEvolution
from catalogue import GROUPS, TASKS, load_task
from numpy.typing import NDArray
from runner import search
from scipy.stats import spearmanr
from tasks import Array

TABLES = os.environ.get("AUTOKD_TABLES")
needs_tables = pytest.mark.skipif(TABLES is None, reason="needs the recorded tables, in the folder AUTOKD_TABLES")

N_SEEDS = 40
N_PUBLISHED = 20  # searches behind a published mean, as far as is known


@needs_tables
@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("nb201-cifar100", (71.87, 73.12, 73.42)),
        ("nb201-cifar10", (91.10, 91.46, 91.56)),
        ("macro", (92.95, 93.07, 93.12)),
        ("hpolib-slice", (3.426, 3.617, 3.689)),
        ("hpolib-protein", (0.610, 0.638, 0.649)),
    ],
)
def test_evolution_is_as_good_as_published(name: str, published: tuple[float, ...]) -> None:
    """Mean worth of the best point, without noise."""
    task = load_task(f"{name}-averaged", Path(str(TABLES)))
    traces = []
    for seed in range(N_SEEDS):
        peer = RegularisedEvolution(task, seed, workers=1)
        traces.append(search(task, peer, 200, 1, np.random.default_rng(seed)))
    best = np.array([np.maximum.accumulate(trace.worths) for trace in traces])[:, [49, 99, 199]]
    error = best.std(axis=0, ddof=1) * np.sqrt(1 / N_SEEDS + 1 / N_PUBLISHED)
    assert np.all(np.abs(best.mean(axis=0) - published) < 3 * error)


@needs_tables
@pytest.mark.parametrize(
    ("name", "published", "spread"),
    [
        ("nb201-cifar100", (70.93, 71.47, 71.85), 0.8),
        ("nb201-cifar10", (90.82, 91.01, 91.20), 0.4),
        ("macro", (92.78, 92.86, 92.95), 0.16),
        ("hpolib-slice", (3.250, 3.351, 3.443), 0.2),
        ("hpolib-protein", (0.583, 0.601, 0.614), 0.03),
    ],
)
def test_random_searchs_exact_expectation_is_as_published(
    name: str, published: tuple[float, ...], spread: float
) -> None:
    """`spread` is the standard deviation of one search's best after fifty evaluations."""
    task = load_task(name, Path(str(TABLES)))
    exact = [task.expected_best(n) for n in (50, 100, 200)]
    assert exact == pytest.approx(published, abs=2 * spread / np.sqrt(N_PUBLISHED))


@needs_tables
@pytest.mark.parametrize(
    ("name", "optimum", "digits"),
    [
        ("nb201-cifar100", 73.49, 2),
        ("nb201-cifar10", 91.61, 2),
        ("macro", 93.13, 2),
        ("hpolib-slice", 3.718, 3),
        ("hpolib-protein", 0.655, 3),
        ("nb201-cifar100-loose", 69.19, 2),
        ("nb201-cifar100-limited", 68.05, 2),
        ("nb201-cifar100-tight", 67.07, 2),
        ("macro-limited", 89.87, 2),
    ],
)
def test_the_tables_have_the_optima_that_are_known(name: str, optimum: float, digits: int) -> None:
    assert round(load_task(name, Path(str(TABLES))).optimum, digits) == optimum


@needs_tables
@pytest.mark.parametrize(
    ("name", "share", "digits"),
    [
        ("nb201-cifar100-loose", 0.31, 2),
        ("nb201-cifar100-limited", 0.167, 3),
        ("nb201-cifar100-tight", 0.070, 3),
        ("macro-limited", 0.013, 3),
    ],
)
def test_the_limits_are_kept_by_the_share_that_is_known(name: str, share: float, digits: int) -> None:
    assert round(float(load_task(name, Path(str(TABLES))).feasible.mean()), digits) == share


@needs_tables
def test_short_trainings_mislead_at_the_top_as_is_known() -> None:
    task = load_task("nb201-cifar100-early", Path(str(TABLES)))
    short, best = task.ladder.values[:, 0], task.means >= np.quantile(task.means, 0.9)
    found = [_spearman(short[rows], task.means[rows]) for rows in (task.means > 0, best)]
    assert [round(correlation, 2) for correlation in found] == [0.82, 0.39]


def _spearman(first: Array, second: Array) -> float:
    return float(spearmanr(first, second).statistic)


@needs_tables
@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_as_its_group_says(name: str) -> None:
    task = load_task(name, Path(str(TABLES)))
    assert task.name == name
    assert bool(task.limits) == (name in GROUPS["limited"])
    assert bool(task.ladder.top) == (name not in GROUPS["limited"] + GROUPS["plain"])


@needs_tables
@pytest.mark.parametrize("name", [name for name in TASKS if name.startswith("taskset-")])
def test_the_recorded_settings_are_found_in_their_space(name: str) -> None:
    task = load_task(name, Path(str(TABLES)))
    for row in range(task.size):
        params = task.params(row)
        assert task.row(params) == row
        assert all(distribution._contains(params[parameter]) for parameter, distribution in task.space.items())
    assert _uniform_logarithms([task.params(row) for row in range(task.size)])


def _uniform_logarithms(settings: list[dict[str, float]]) -> bool:
    """Whether each parameter's logarithms fill their range evenly: no tenth has less than half of its share."""
    logs = np.log([list(setting.values()) for setting in settings])
    counts: list[NDArray[np.int_]] = [np.histogram(column, bins=10)[0] for column in logs.T]
    return bool(np.min(counts) > len(settings) / 20)
