"""In a search of few trials, how many of them should end before the model proposes?

    OMP_NUM_THREADS=1 python tests/benchmarks/search/start_points.py ROWS.jsonl --tables FOLDER [--seeds 40]

A search may begin with what experts would draw: here six points of a table, drawn anew for each seed among its best
5 %, without its best 0.5 %. Random points follow, as many as the sampler takes by default, two more than there are
dimensions with what was given, or until five trials have ended. One line of JSON a search; what the file holds already
is left out, so a run that was killed goes on. Then a table: mean regret of the best point tried, and over all tables
the geometric mean of its ratio to that of the default.
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where benchmarks keep what they share

from catalogue import GROUPS, load_task
from filling import Row, fill_and_report
from runner import search
from samplers import SamplerPeer
from tasks import Task

from autokd.core.seeds import derive
from autokd.optimizers.registry import sampler

GIVEN = (6, 0)
BEST, WORST = 0.005, 0.05  # shares of the points, by worth, between which those given are
EVALUATIONS = 40
SORTS: Mapping[str, Mapping[str, Any]] = {"default": {}, "five": {"n_startup_trials": 5}}
"""Options of the sampler."""

LENGTHS = (8, 10, 15, 20, 40)
ALMOST_ZERO = 1e-4  # added to regrets before ratios are taken


def given(task: Task, n: int, seed: int) -> list[dict[str, Any]]:
    """Parameters of the n points with which a search begins."""
    worths = np.nan_to_num(np.nanmean(task.values, axis=1), nan=-np.inf)
    order = np.argsort(-worths)
    among = order[round(BEST * len(order)) : round(WORST * len(order))]
    rows = np.random.default_rng(derive(seed, task.name, "given")).choice(among, n, replace=False)
    return [dict(task.params(int(row))) for row in rows]


def run(task_name: str, n_given: int, sort: str, seed: int, tables: Path) -> Row:
    """One search, as a line."""
    task = load_task(task_name, tables)
    own = sampler("trust-region", derive(seed, task_name, "ours") % 2**32, task.space, **SORTS[sort])
    noise = np.random.default_rng(derive(seed, task_name, "training seeds"))
    trace = search(task, SamplerPeer(task, own, given=given(task, n_given, seed)), EVALUATIONS, 1, noise)
    return {"key": [task_name, n_given, sort, seed], "opt": task.optimum, "worths": [*map(float, trace.worths)]}


def report(rows: Sequence[Row]) -> Iterator[str]:
    """The table in Markdown."""
    found = {tuple(row["key"]): row for row in rows}
    yield f"| given | evaluations | n | {' | '.join(GROUPS['plain'])} | all tables |"
    yield f"|---|---|---|{'---|' * len(GROUPS['plain'])}---|"
    for n_given, n in product(GIVEN, LENGTHS):
        pairs = {task: _pairs(found, task, n_given, n) for task in GROUPS["plain"]}
        if not all(pairs.values()):
            continue
        means = {task: [fmean(regrets) for regrets in zip(*each, strict=True)] for task, each in pairs.items()}
        cells = " | ".join(f"{default:.3g}, {five:.3g}" for default, five in means.values())
        ratio = math.exp(
            fmean(math.log((five + ALMOST_ZERO) / (default + ALMOST_ZERO)) for default, five in means.values())
        )
        yield f"| {n_given} | {n} | {min(map(len, pairs.values()))} | {cells} | **{ratio:.2f}** |"


def _pairs(found: Mapping[tuple[Any, ...], Row], task: str, n_given: int, n: int) -> list[list[float]]:
    """Regrets of the best point tried among the first n, of each sort, seed by seed."""
    searches = ([found.get((task, n_given, sort, seed)) for sort in SORTS] for seed in range(len(found)))
    return [[row["opt"] - max(row["worths"][:n]) for row in rows if row] for rows in searches if all(rows)]


def wanted(seeds: int) -> list[tuple[Any, ...]]:
    """Keys of all searches."""
    order = product(range(seeds), GIVEN, GROUPS["plain"], SORTS)
    return [(task, n_given, sort, seed) for seed, n_given, task, sort in order]


if __name__ == "__main__":
    fill_and_report(__doc__, wanted, run, report)
