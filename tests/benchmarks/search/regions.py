"""Does the trust region help? Our sampler with its own rules, with the number of trials known, with TuRBO's, with none.

    OMP_NUM_THREADS=1 python tests/benchmarks/search/regions.py ROWS.jsonl --tables FOLDER [--seeds 20] [--share 0/2]

One line of JSON a search; what the file holds already is left out, so a run that was killed goes on, and several
processes may fill one file, each its share. Then a table: mean regret of the best point tried (left) and of the best
value observed (right), and over all tables the geometric mean of the latter's ratio to that of our own rules.

All sorts of a search have one sampler's seed and one stream of noise, so they are equal until their regions differ.
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where benchmarks keep what they share

from catalogue import GROUPS, load_task
from filling import Row, fill_and_report
from runner import search
from samplers import SamplerPeer

from autokd.core.seeds import derive
from autokd.optimizers.registry import sampler

SORTS: Mapping[str, tuple[Mapping[str, Any], int]] = {
    "own": ({}, 100),
    "none": ({"rules": "none"}, 100),
    "turbo": ({"rules": "turbo"}, 100),
    "budget40": ({"n_trials": 40}, 40),
    "budget100": ({"n_trials": 100}, 100),
}
"""Options of the sampler, and evaluations of a search."""

LENGTHS = {
    40: ("own", "none", "turbo", "budget40"),
    60: ("own", "none", "turbo"),
    100: ("own", "none", "turbo", "budget100"),
}
"""Which sorts are compared after so many evaluations."""

ALMOST_ZERO = 1e-4  # added to regrets before ratios are taken


def run(task_name: str, sort: str, seed: int, tables: Path) -> Row:
    """One search, as a line."""
    task = load_task(task_name, tables)
    options, evaluations = SORTS[sort]
    own = sampler("trust-region", derive(seed, task_name, "ours") % 2**32, task.space, **options)
    noise = np.random.default_rng(derive(seed, task_name, "training seeds"))
    trace = search(task, SamplerPeer(task, own), evaluations, 1, noise)
    found = {"values": [*map(float, trace.values)], "worths": [*map(float, trace.worths)]}
    return {"key": [task_name, sort, seed], "opt": task.optimum, **found}


def regrets(row: Row, n: int) -> tuple[float, float]:
    """After n evaluations, regret of the best point tried and of the one with the best value."""
    worths, values = row["worths"][:n], row["values"][:n]
    return row["opt"] - max(worths), row["opt"] - worths[int(np.argmax(values))]


def report(rows: Sequence[Row]) -> Iterator[str]:
    """The tables in Markdown."""
    found = {tuple(row["key"]): row for row in rows}
    tasks = sorted({key[0] for key in found})
    for n, sorts in LENGTHS.items():
        yield f"\n| {n} evaluations | n | {' | '.join(sorts)} |\n|---|---|{'---|' * len(sorts)}"
        logs: dict[str, list[float]] = {sort: [] for sort in sorts}
        for task in tasks:
            seeds = [s for s in {key[2] for key in found} if all((task, sort, s) in found for sort in sorts)]
            means = {s: [regrets(found[task, s, seed], n) for seed in seeds] for s in sorts} if seeds else {}
            cells = [" / ".join(f"{fmean(each):.4f}" for each in zip(*pairs, strict=True)) for pairs in means.values()]
            for sort, pairs in means.items():
                logs[sort].append(math.log(fmean(second for _, second in pairs) + ALMOST_ZERO))
            yield f"| {task} | {len(seeds)} | {' | '.join(cells)} |"
        ratios = [math.exp(fmean(a - b for a, b in zip(logs[s], logs["own"], strict=True))) for s in sorts if logs[s]]
        yield f"| ratio to own | | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |"


def wanted(seeds: int) -> list[tuple[Any, ...]]:
    """Keys of all searches."""
    return [(task, sort, seed) for seed in range(seeds) for task in GROUPS["plain"] for sort in SORTS]


if __name__ == "__main__":
    fill_and_report(__doc__, wanted, run, report)
