import os
from itertools import product
from pathlib import Path

import numpy as np
import optuna
import pytest
from catalogue import TablesMissing
from front_task import Tradeoff, accuracy_and_latency, hypervolume, pareto
from tasks import Array, Task

TABLES = os.environ.get("AUTOKD_TABLES")


def counted(gains: Array, side: int) -> int:
    """Unit squares of a grid that some point of whole-numbered gains dominates."""
    corners = product(range(1, side + 1), repeat=2)
    return sum(any(x <= a and y <= b for a, b in gains) for x, y in corners)


@pytest.mark.parametrize("seed", range(20))
def test_hypervolume_is_the_number_of_dominated_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gains = rng.integers(-2, 9, size=(rng.integers(1, 12), 2)).astype(np.float64)
    assert hypervolume(gains) == counted(gains, side=9)


def test_hypervolume_of_a_staircase_is_the_sum_of_its_steps() -> None:
    assert hypervolume(np.array([[1.0, 5.0], [4.0, 0.5], [2.0, 3.0]])) == 1.0 * 5.0 + 1.0 * 3.0 + 2.0 * 0.5


@pytest.mark.parametrize("gains", [np.empty((0, 2)), np.array([[3.0, -1.0], [-1.0, 3.0], [0.0, 7.0]])])
def test_points_that_do_not_beat_the_reference_have_no_hypervolume(gains: Array) -> None:
    assert hypervolume(gains) == 0.0


@pytest.mark.parametrize("seed", range(20))
def test_pareto_says_what_optuna_says_also_of_ties(seed: int) -> None:
    gains = np.random.default_rng(seed).integers(0, 6, size=(12, 2)).astype(np.float64)
    study = optuna.create_study(directions=["maximize", "maximize"])
    study.add_trials([optuna.create_trial(values=pair.tolist()) for pair in gains])
    assert np.flatnonzero(pareto(gains)).tolist() == sorted(trial.number for trial in study.best_trials)


@pytest.fixture
def tradeoff(small: Task) -> Tradeoff:
    """Row `n` takes `n` milliseconds; the reference is worse than every point."""
    return Tradeoff(small, np.arange(24.0), worst_accuracy=-10.0, worst_latency=30.0)


def test_gains_are_counted_from_the_reference(tradeoff: Tradeoff) -> None:
    assert tradeoff.gains([3, 5], [0.5, -11.0]).tolist() == [[10.5, 27.0], [-1.0, 25.0]]
    assert tradeoff.true_gains([7]).tolist() == [[tradeoff.task.means[7] + 10.0, 23.0]]


def test_the_true_front_alone_has_all_of_the_hypervolume(tradeoff: Tradeoff) -> None:
    front = np.flatnonzero(pareto(tradeoff.true_gains(range(24))))
    assert len(front) < 24
    assert tradeoff.share(front.tolist()) == pytest.approx(1.0)
    assert tradeoff.share(front[1:].tolist()) < 1.0
    assert tradeoff.share([]) == 0.0


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(TablesMissing, match="nasbench201_cifar"):
        accuracy_and_latency(tmp_path)


@pytest.mark.skipif(TABLES is None, reason="needs the recorded tables, in the folder AUTOKD_TABLES")
def test_latencies_stand_beside_their_own_cells() -> None:
    folder = Path(str(TABLES))
    tradeoff = accuracy_and_latency(folder)
    names = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    with np.load(folder / "nasbench201_cifar.npz") as table:
        cells, accuracies, latencies = (table[key] for key in ("arch", "cifar100_val_acc", "lat_raspi4"))
    for index in range(0, len(cells), 999):
        operations = [names[code] for code in cells[index]]
        row = tradeoff.task.row(dict(zip(tradeoff.task.space, operations, strict=True)))
        assert tradeoff.latencies[row] == latencies[index]
        assert tradeoff.task.means[row] == pytest.approx(np.nanmean(accuracies[index]), rel=1e-6)
