import gzip
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catalogue import GROUPS, TASKS, TablesMissing, load_task
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

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
    assert task.worths[task.row(params)] == number + 0.25
    assert {task.evaluate(task.row(params), np.random.default_rng(seed))[:2] for seed in range(9)} == {
        (number, number + 1.0),
        (number + 0.5, number + 1.0),
    }


def test_limits_are_exceeded_by_shares_of_themselves(tmp_path: Path) -> None:
    write_cells(tmp_path)
    task = load_task("nb201-cifar100-limited", tmp_path)  # at most 0.4 M parameters and 12 ms
    params, latency = task.limits["cifar100_params_m"], task.limits["lat_raspi4"]
    assert (params.computable, latency.computable) == (True, False)
    for row in (2_000, 6_249, 7_001, 15_624):
        assert params.excesses[row] == pytest.approx(row / 15_625 / 0.4 - 1)
        assert latency.excesses[row] == pytest.approx(-0.5 if row % 2 else 1.0)
        assert task.feasible[row] == (row == 6_249)


def test_a_short_training_is_that_of_the_same_cell_and_costs_extra(tmp_path: Path) -> None:
    write_cells(tmp_path)
    task, rng = load_task("nb201-cifar100-early", tmp_path), np.random.default_rng(0)
    for row in (0, 1, 7_812, 15_624):
        short, full = (task.train(row, rung, below, rng) for rung, below in ((0, None), (1, 0)))
        assert short[:2] == pytest.approx((row / 2, (row + 1) * 12 / 200))
        assert full.seconds == row + 1


def test_a_macro_network_is_found_by_its_blocks(tmp_path: Path) -> None:
    lines = ["arch,acc1,acc2,acc3,mean_acc,std,params,flops"]
    for digits in product("012", repeat=8):
        arch = "".join(digits)
        lines.append(f"{arch},{int(arch, 3)},{int(arch, 3) + 1},{int(arch, 3) + 2},0,0,1000,40000")
    with gzip.open(tmp_path / "nas_bench_macro_cifar10.csv.gz", "wt") as file:
        file.write("\n".join(lines))
    task = load_task("macro", tmp_path)
    network = dict(zip(task.space, (2, 0, 1, 2, 2, 1, 0, 1), strict=True))
    assert task.worths[task.row(network)] == int("20122101", 3) + 1


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
    assert task.worths[task.row(params)] == pytest.approx(2.0)  # minus the logarithm of a loss of 0.01


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(TablesMissing, match=r"nas_bench_macro_cifar10\.csv\.gz"):
        load_task("macro", tmp_path)


def test_an_unknown_task_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hpolib-slice"):
        load_task("imagenet", tmp_path)


NAMES = ("learning_rate", "beta1", "beta2", "epsilon", "l1", "l2", "linear_decay", "exponential_decay")


def write_curves(folder: Path, curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Curves of one network, and a random setting for each, which is returned."""
    settings = 10.0 ** np.random.default_rng(0).uniform(-4.0, -1.0, size=(len(curves), 8))
    columns = {"hp_names": np.array(NAMES), "hp": settings}
    columns["FixedTextRNNClassification_imdb_patch32_GRU128_bs128/valid"] = curves.astype(np.float32)
    write(folder / "taskset_lc.npz", columns)
    return settings


def test_a_curve_is_climbed_by_thirds_of_its_length(tmp_path: Path) -> None:
    settings = write_curves(tmp_path, 10.0 ** -(np.arange(4.0)[:, np.newaxis] + np.arange(51) / 100))
    task, rng = load_task("taskset-patch32-gru128", tmp_path), np.random.default_rng(0)
    params = dict(zip(task.space, settings[2], strict=True))
    params["one_minus_beta1"], params["one_minus_beta2"] = 1 - settings[2, 1], 1 - settings[2, 2]
    climb = [task.train(task.row(params), rung, rung - 1 if rung else None, rng) for rung in range(4)]
    assert [m.value for m in climb] == pytest.approx([2.02, 2.06, 2.17, 2.50], abs=1e-6)
    assert [m.seconds for m in climb] == pytest.approx([2.0, 4.0, 11.0, 33.0])


def test_a_curve_that_diverges_counts_as_ten_times_the_loss_before_training(tmp_path: Path) -> None:
    curves = np.full((5, 51), 0.5)
    curves[:, 0] = [1.0, 2.0, 3.0, 2.0, 2.0]
    curves[1, 10:], curves[2, 10:], curves[3, 10:] = np.nan, 1e30, 19.0
    write_curves(tmp_path, curves)
    task = load_task("taskset-patch32-gru128", tmp_path)
    assert task.means == pytest.approx(-np.log10([0.5, 20.0, 20.0, 19.0, 0.5]), abs=1e-6)
    assert task.ladder.values[:, 1] == pytest.approx(-np.log10([0.5] * 5), abs=1e-6)


def test_a_group_is_of_known_tasks() -> None:
    names = [name for group in GROUPS.values() for name in group]
    assert set(names) <= set(TASKS)
    assert sum(name.startswith("taskset-") for name in TASKS) == 12
