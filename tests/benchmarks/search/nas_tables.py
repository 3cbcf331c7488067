"""Tasks from tables of neural architectures.

* NAS-Bench-201, https://arxiv.org/abs/2001.00326, with the latencies of HELP, https://arxiv.org/abs/2106.08630, in
  `nasbench201_cifar.npz`
* NAS-Bench-Macro, https://arxiv.org/abs/2103.11922, in `nas_bench_macro_cifar10.csv.gz`
"""

import csv
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
from grids import order
from ladder import Rungs
from limits import Limit
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution
from tasks import Params, Task

from search_spaces.spaces.nasbench201 import NasBench201

__all__ = ["macro", "nas_bench_201", "nas_bench_201_early"]

_OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
_EDGES = ("1<0", "2<0", "2<1", "3<0", "3<1", "3<2")
_MACRO_LAYERS = 8
_MACRO_FLOPS_PER_SECOND = 2e4
"""The table has no times. A training's time is taken as proportional to its FLOPs, at a rate that makes the mean
comparable with NAS-Bench-201's; the regret at equal time does not depend on it."""
_MEASURED = "lat_"  # how the names of those columns begin that only a device can tell

_NO_LIMITS: Mapping[str, float] = MappingProxyType({})


def nas_bench_201(folder: Path, name: str, data: str, limits: Mapping[str, float] = _NO_LIMITS) -> Task:
    """Validation accuracy in percent after 200 epochs; limits by column."""
    space = {edge: CategoricalDistribution(_OPERATIONS) for edge in _EDGES}
    with np.load(folder / "nasbench201_cifar.npz") as table:
        rows = order(space, table["arch"])
        values = table[f"{data}_val_acc"].astype(np.float64)[rows]
        seconds = table[f"{data}_train_seconds"].astype(np.float64)[rows]
        costs = {column: table[column][rows] for column in limits}
    of_seeds = np.repeat(seconds[:, np.newaxis], values.shape[1], axis=1)
    features = partial(_cell_features, NasBench201())
    return Task(f"nb201-{name}", space, values, of_seeds, _limits(costs, limits), features=features)


def nas_bench_201_early(folder: Path) -> Task:
    """CIFAR-100 with 12-epoch trainings of one seed, whose schedule is their own."""
    task = nas_bench_201(folder, "cifar100-early", "cifar100")
    with np.load(folder / "nasbench201_cifar.npz") as table:
        short = table["ep12_cifar100_val"].astype(np.float64)[order(task.space, table["arch"])]
    return replace(task, ladder=Rungs((12, 200), short[:, np.newaxis], continues=False))


def macro(folder: Path, name: str, limits: Mapping[str, float] = _NO_LIMITS) -> Task:
    """Test accuracy in percent on CIFAR-10; the choice of each layer is one of three blocks."""
    space = {f"layer_{layer}": CategoricalDistribution((0, 1, 2)) for layer in range(_MACRO_LAYERS)}
    with gzip.open(folder / "nas_bench_macro_cifar10.csv.gz", "rt") as file:
        table = list(csv.DictReader(file))
    rows = order(space, np.array([[int(choice) for choice in row["arch"]] for row in table]))
    values = np.array([[float(row[f"acc{seed}"]) for seed in (1, 2, 3)] for row in table])[rows]
    seconds = np.array([[float(row["flops"]) / _MACRO_FLOPS_PER_SECOND] * 3 for row in table])[rows]
    costs = {column: np.array([float(row[column]) for row in table])[rows] for column in ("params", "flops")}
    logarithms = np.log(np.stack(list(costs.values()), axis=1))

    def features(params: Params) -> list[float]:
        """How often each block is used, and the logarithms of parameters and FLOPs, which follow from the blocks."""
        blocks = [params[layer] for layer in space]
        row = np.ravel_multi_index(blocks, (3,) * _MACRO_LAYERS)
        return [*(float(blocks.count(block)) for block in range(3)), *logarithms[row].tolist()]

    return Task(name, space, values, seconds, _limits(costs, limits), features=features)


def _cell_features(cells: NasBench201, params: Params) -> Sequence[float]:
    """Of operations by edge, which is written `to<from` here."""
    return cells.features({f"edge_{edge[2]}_{edge[0]}": operation for edge, operation in params.items()})


def _limits(costs: Mapping[str, NDArray[np.floating]], limits: Mapping[str, float]) -> dict[str, Limit]:
    return {
        column: Limit.on(costs[column], limit, computable=not column.startswith(_MEASURED))
        for column, limit in limits.items()
    }
