"""The tasks by name, read from a folder of recorded tables.

* nb201-cifar100, nb201-cifar10: NAS-Bench-201, https://arxiv.org/abs/2001.00326, in `nasbench201_cifar.npz`
* macro: NAS-Bench-Macro, https://arxiv.org/abs/2103.11922, in `nas_bench_macro_cifar10.csv.gz`
* hpolib-slice, hpolib-protein: https://arxiv.org/abs/1905.04970, in `hpolib_slice_protein.npz`, `hpolib_space.json`
* nb201-cifar100-limited, nb201-cifar100-tight, macro-limited: the same under limits on parameters and latency, which
  17 %, 7 % and 1.3 % of the points keep; a point that breaks them is trained all the same, and costs as much
* nb201-cifar100-early: the same with short trainings of 12 epochs, for peers that stop the 200 of others

A name that ends in `-averaged` is the task without noise.
"""

import csv
import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from tasks import Array, Early, Task, choices

__all__ = ["AVERAGED", "PLAIN", "TASKS", "TablesMissing", "load_task"]

AVERAGED = "-averaged"

_OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
_EDGES = ("1<0", "2<0", "2<1", "3<0", "3<1", "3<2")
_MACRO_LAYERS = 8
_MACRO_FLOPS_PER_SECOND = 2e4
"""The table has no times. A training's time is taken as proportional to its FLOPs, at a rate that makes the mean
comparable with NAS-Bench-201's; the regret at equal time does not depend on it."""

_NO_LIMITS: Mapping[str, float] = MappingProxyType({})


class TablesMissing(ValueError):  # noqa: N818
    """The folder of tables does not hold a file that a task needs."""


def load_task(name: str, folder: Path) -> Task:
    """A task by name.

    Raises:
        ValueError: If the name is unknown.
        TablesMissing: If its table is not in the folder.
    """
    base = name.removesuffix(AVERAGED)
    if base not in TASKS:
        raise ValueError(f"Unknown task {name!r}. Known: {', '.join(TASKS)}, and each with {AVERAGED!r} behind.")
    try:
        task = TASKS[base](folder)
    except FileNotFoundError as error:
        raise TablesMissing(f"The task {name!r} needs the table {error.filename}, which does not exist.") from error
    return task.averaged() if name.endswith(AVERAGED) else task


def _nas_bench_201(folder: Path, name: str, data: str, limits: Mapping[str, float] = _NO_LIMITS) -> Task:
    """Validation accuracy in percent after 200 epochs; limits by column."""
    with np.load(folder / "nasbench201_cifar.npz") as table:
        cells, values, seconds = (table[key] for key in ("arch", f"{data}_val_acc", f"{data}_train_seconds"))
        costs = {column: table[column] for column in limits}
    space = {edge: CategoricalDistribution(_OPERATIONS) for edge in _EDGES}
    of_seeds = np.repeat(seconds[:, np.newaxis], values.shape[1], axis=1)
    return _task(f"nb201-{name}", space, cells, values, of_seeds, _violations(costs, limits))


def _nas_bench_201_early(folder: Path) -> Task:
    """CIFAR-100 with 12-epoch trainings of one seed."""
    with np.load(folder / "nasbench201_cifar.npz") as table:
        cells, short = table["arch"], table["ep12_cifar100_val"]
    task = _nas_bench_201(folder, "cifar100-early", "cifar100")
    return replace(task, early=Early(_sorted(short, _order(task.space, cells)), epochs=12, full_epochs=200))


def _macro(folder: Path, name: str, limits: Mapping[str, float] = _NO_LIMITS) -> Task:
    """Test accuracy in percent on CIFAR-10; the choice of each layer is one of three blocks."""
    with gzip.open(folder / "nas_bench_macro_cifar10.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    space = {f"layer_{layer}": CategoricalDistribution((0, 1, 2)) for layer in range(_MACRO_LAYERS)}
    codes = np.array([[int(choice) for choice in row["arch"]] for row in rows])
    values = np.array([[float(row[f"acc{seed}"]) for seed in (1, 2, 3)] for row in rows])
    flops = np.array([float(row["flops"]) for row in rows])
    seconds = np.repeat(flops[:, np.newaxis] / _MACRO_FLOPS_PER_SECOND, 3, axis=1)
    costs = {column: np.array([float(row[column]) for row in rows]) for column in limits}
    return _task(name, space, codes, values, seconds, _violations(costs, limits))


def _hpolib(folder: Path, name: str, data: str) -> Task:
    """Minus the decimal logarithm of the validation loss."""
    grid = json.loads((folder / "hpolib_space.json").read_text())
    with np.load(folder / "hpolib_slice_protein.npz") as table:
        codes, losses, seconds = (table[key] for key in ("index", f"{data}/val_loss", f"{data}/train_time"))
    space = {parameter: _distribution(values) for parameter, values in grid.items()}
    return _task(f"hpolib-{name}", space, codes, -np.log10(losses.astype(np.float64)), seconds)


def _distribution(values: list[float] | list[str]) -> BaseDistribution:
    """An HPOLib parameter as what it is, where Optuna has a grid for it.

    Widths and batch sizes are all powers of two: integers, by exponent. The dropout rates are equally spaced. The
    learning rates are all but equally spaced in logarithm: integers, by rank.
    """
    if any(isinstance(value, str) for value in values):
        return CategoricalDistribution(values)
    numbers = np.array(values, dtype=np.float64)
    if numbers[0] >= 1 and _equally_spaced(np.log2(numbers)):
        return IntDistribution(round(np.log2(numbers[0])), round(np.log2(numbers[-1])))
    if _equally_spaced(numbers):
        return FloatDistribution(numbers[0], numbers[-1], step=numbers[1] - numbers[0])
    return IntDistribution(0, len(numbers) - 1)


def _equally_spaced(numbers: Array) -> bool:
    return bool(np.allclose(np.diff(numbers), numbers[1] - numbers[0]))


def _task(
    name: str,
    space: Mapping[str, BaseDistribution],
    codes: NDArray[np.int_],
    values: NDArray[np.floating],
    seconds: NDArray[np.floating],
    violations: Array | None = None,
) -> Task:
    """A task from table rows in any order; `codes` are the indices of their choices, `rows x parameters`."""
    order = _order(space, codes)
    in_order = None if violations is None else violations[order]
    return Task(name, space, _sorted(values, order), _sorted(seconds, order), in_order)


def _order(space: Mapping[str, BaseDistribution], codes: NDArray[np.int_]) -> NDArray[np.int_]:
    """Numbers of the table rows in a task's order."""
    shape = tuple(len(choices(distribution)) for distribution in space.values())
    return np.argsort(np.ravel_multi_index(tuple(codes.astype(np.int64).T), shape))


def _sorted(table: NDArray[np.floating], order: NDArray[np.int_]) -> Array:
    return np.asarray(table[order], dtype=np.float64)


def _violations(costs: Mapping[str, NDArray[np.floating]], limits: Mapping[str, float]) -> Array | None:
    """By how much each row breaks the worst of its limits, as a share of the limit."""
    if not limits:
        return None
    excesses = [costs[column].astype(np.float64) / limit - 1 for column, limit in limits.items()]
    return np.asarray(np.clip(np.max(excesses, axis=0), 0.0, None))


PLAIN: Mapping[str, Callable[[Path], Task]] = {
    "nb201-cifar100": lambda folder: _nas_bench_201(folder, "cifar100", "cifar100"),
    "nb201-cifar10": lambda folder: _nas_bench_201(folder, "cifar10", "cifar10"),
    "macro": lambda folder: _macro(folder, "macro"),
    "hpolib-slice": lambda folder: _hpolib(folder, "slice", "slice_localization"),
    "hpolib-protein": lambda folder: _hpolib(folder, "protein", "protein_structure"),
}
"""How each task without limits is read from the folder of tables."""

TASKS: Mapping[str, Callable[[Path], Task]] = {
    **PLAIN,
    "nb201-cifar100-limited": lambda folder: _nas_bench_201(
        folder, "cifar100-limited", "cifar100", {"cifar100_params_m": 0.4, "lat_raspi4": 12.0}
    ),
    "nb201-cifar100-tight": lambda folder: _nas_bench_201(
        folder, "cifar100-tight", "cifar100", {"cifar100_params_m": 0.3, "lat_raspi4": 8.0}
    ),
    "nb201-cifar100-early": _nas_bench_201_early,
    "macro-limited": lambda folder: _macro(folder, "macro-limited", {"params": 600_000}),
}
"""All of them. Limits are in the units of the tables' columns: millions of parameters, milliseconds."""
