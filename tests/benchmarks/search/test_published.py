"""The harness against figures that others measured on the same tables: mean worth of the best point, without noise."""

import os
from pathlib import Path

import numpy as np
import pytest
from baselines import RegularisedEvolution
from catalogue import load_task
from runner import incumbents, search

TABLES = os.environ.get("AUTOKD_TABLES")
N_SEEDS = 40
N_PUBLISHED = 20  # searches behind a published mean, as far as is known


@pytest.mark.skipif(TABLES is None, reason="needs the recorded tables, in the folder AUTOKD_TABLES")
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
    task = load_task(f"{name}-averaged", Path(str(TABLES)))
    traces = []
    for seed in range(N_SEEDS):
        peer = RegularisedEvolution(task, seed, workers=1)
        traces.append(search(task, peer, 200, 1, np.random.default_rng(seed)))
    best = np.array([np.array(trace.worths)[incumbents(trace.values)] for trace in traces])[:, [49, 99, 199]]
    error = best.std(axis=0, ddof=1) * np.sqrt(1 / N_SEEDS + 1 / N_PUBLISHED)
    assert np.all(np.abs(best.mean(axis=0) - published) < 3 * error)


@pytest.mark.skipif(TABLES is None, reason="needs the recorded tables, in the folder AUTOKD_TABLES")
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
