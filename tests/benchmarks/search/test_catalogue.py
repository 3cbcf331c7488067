import gzip
import json
import os
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catalogue import PLAIN, TablesMissing, load_task
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from scipy.stats import spearmanr

TABLES = os.environ.get("AUTOKD_TABLES")
needs_tables = pytest.mark.skipif(TABLES is None, reason="needs the recorded tables, in the folder AUTOKD_TABLES")

GRID: dict[str, list[Any]] = {
    "activation_fn_1": ["relu", "tanh"],
    "batch_size": [8, 16, 32, 64],
    "dropout_1": [0.0, 0.3, 0.6],
    "init_lr": [0.0005, 0.001, 0.005, 0.01],
    "n_units_1": [16, 32],
}


def write_cells(folder: Path) -> None:
    """All cells in a random order, with their digits read as a number for their accuracy."""
    rng = np.random.default_rng(0)
    cells = rng.permutation(np.array(list(product(range(5), repeat=6)), dtype=np.int8))
    number = (cells * 5 ** np.arange(5, -1, -1)).sum(axis=1)
    columns = {
        "arch": cells,
        "cifar100_val_acc": np.stack([number, number + 0.5, np.full(len(cells), np.nan)], axis=1),
        "cifar100_train_seconds": number + 1.0,
        "cifar100_params_m": number / 15_625,
        "ep12_cifar100_val": number / 2,
        "lat_raspi4": np.where(number % 2, 6.0, 24.0),
    }
    write(folder / "nasbench201_cifar.npz", columns)


def write(file: Path, columns: dict[str, NDArray[Any]]) -> None:
    np.savez(file, allow_pickle=False, **columns)


def test_a_cell_is_found_by_its_operations(tmp_path: Path) -> None:
    write_cells(tmp_path)
    task = load_task("nb201-cifar100", tmp_path)
    operations = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    params = dict(zip(task.space, (operations[digit] for digit in (4, 0, 3, 1, 2, 3)), strict=True))
    number = int("403123", 5)
    assert task.worth(params) == number + 0.25
    assert {task.evaluate(params, np.random.default_rng(seed)) for seed in range(9)} == {
        (number, number + 1.0, 0.0),
        (number + 0.5, number + 1.0, 0.0),
    }


def test_limits_are_broken_by_the_share_of_the_worst(tmp_path: Path) -> None:
    write_cells(tmp_path)
    task = load_task("nb201-cifar100-limited", tmp_path)  # at most 0.4 M parameters and 12 ms
    assert task.violations is not None
    rows = {"kept": 6_249, "latency": 2_000, "both, parameters more": 15_000 + 624, "parameters": 7_001}
    found = {name: float(task.violations[row]) for name, row in rows.items()}
    shares = {name: row / 15_625 / 0.4 - 1 for name, row in rows.items()}
    both = max(1.0, shares["both, parameters more"])
    assert found == pytest.approx(
        {"kept": 0.0, "latency": 1.0, "both, parameters more": both, "parameters": shares["parameters"]}
    )


def test_a_short_training_is_that_of_the_same_cell(tmp_path: Path) -> None:
    write_cells(tmp_path)
    task = load_task("nb201-cifar100-early", tmp_path)
    for row in (0, 1, 7_812, 15_624):
        assert task.evaluate_early(task.params(row)) == pytest.approx((row / 2, (row + 1) * 12 / 200, 0.0))


def test_a_macro_network_is_found_by_its_blocks(tmp_path: Path) -> None:
    lines = ["arch,acc1,acc2,acc3,mean_acc,std,params,flops"]
    for digits in product("012", repeat=8):
        arch = "".join(digits)
        lines.append(f"{arch},{int(arch, 3)},{int(arch, 3) + 1},{int(arch, 3) + 2},0,0,1000,40000")
    with gzip.open(tmp_path / "nas_bench_macro_cifar10.csv.gz", "wt") as file:
        file.write("\n".join(lines))
    task = load_task("macro", tmp_path)
    assert task.worth(dict(zip(task.space, (2, 0, 1, 2, 2, 1, 0, 1), strict=True))) == int("20122101", 3) + 1


def test_hpolib_parameters_are_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "hpolib_space.json").write_text(json.dumps(GRID))
    codes = np.random.default_rng(0).permutation(list(product(*(range(len(values)) for values in GRID.values()))))
    losses = 10.0 ** -codes[:, 3:4] * np.ones((1, 4))
    columns = {"index": codes, "protein_structure/val_loss": losses, "protein_structure/train_time": losses}
    write(tmp_path / "hpolib_slice_protein.npz", columns)
    task = load_task("hpolib-protein", tmp_path)
    assert task.space == {
        "activation_fn_1": CategoricalDistribution(("relu", "tanh")),
        "batch_size": IntDistribution(3, 6),
        "dropout_1": FloatDistribution(0.0, 0.6, step=0.3),
        "init_lr": IntDistribution(0, 3),
        "n_units_1": IntDistribution(4, 5),
    }
    params = {"activation_fn_1": "tanh", "batch_size": 4, "dropout_1": 0.3, "init_lr": 2, "n_units_1": 4}
    assert task.worth(params) == pytest.approx(2.0)  # minus the logarithm of a loss of 0.01


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(TablesMissing, match=r"nas_bench_macro_cifar10\.csv\.gz"):
        load_task("macro", tmp_path)


def test_an_unknown_task_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hpolib-slice"):
        load_task("imagenet", tmp_path)


@needs_tables
@pytest.mark.parametrize(
    ("name", "optimum", "digits"),
    [
        ("nb201-cifar100", 73.49, 2),
        ("nb201-cifar10", 91.61, 2),
        ("macro", 93.13, 2),
        ("hpolib-slice", 3.718, 3),
        ("hpolib-protein", 0.655, 3),
        ("nb201-cifar100-limited", 68.05, 2),
        ("nb201-cifar100-tight", 67.07, 2),
        ("macro-limited", 89.87, 2),
    ],
)
def test_the_tables_have_the_optima_that_are_known(name: str, optimum: float, digits: int) -> None:
    assert round(load_task(name, Path(str(TABLES))).optimum, digits) == optimum


@needs_tables
@pytest.mark.parametrize(
    ("name", "share"), [("nb201-cifar100-limited", 0.167), ("nb201-cifar100-tight", 0.070), ("macro-limited", 0.013)]
)
def test_the_limits_are_kept_by_the_share_that_is_known(name: str, share: float) -> None:
    assert round(float(load_task(name, Path(str(TABLES))).feasible.mean()), 3) == share


@needs_tables
def test_short_trainings_mislead_at_the_top_as_is_known() -> None:
    task = load_task("nb201-cifar100-early", Path(str(TABLES)))
    assert task.early is not None
    best = task.means >= np.quantile(task.means, 0.9)
    found = [_spearman(task.early.values[rows], task.means[rows]) for rows in (task.means > 0, best)]
    assert [round(correlation, 2) for correlation in found] == [0.82, 0.39]


def _spearman(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    return float(spearmanr(first, second).statistic)


@needs_tables
@pytest.mark.parametrize("name", PLAIN)
def test_the_plain_tasks_have_neither_limits_nor_short_trainings(name: str) -> None:
    task = load_task(name, Path(str(TABLES)))
    assert (task.violations, task.early) == (None, None)
