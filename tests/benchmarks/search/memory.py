"""Does memory help, and can it hurt? Our sampler with and without earlier searches of related and of misleading tables.

    OMP_NUM_THREADS=1 python tests/benchmarks/search/memory.py ROWS.jsonl --tables FOLDER [--seeds 20] [--families ...]

One line of JSON a search; what the file holds already is left out, so a run that was killed goes on. Then tables: mean
regret of the best point tried (left) and of the best value observed (right), and over all tables of a family the
geometric mean of the latter's ratio to that of a cold search, with a 90 % bootstrap interval over the seeds.

An earlier search is a cold one with the other seed of a pair: 0 and 1, 2 and 3, and so on. Sorts of a search:

* cold: learns from none.
* related: learns from the other tables of its family. Those of our own table of students (`nago students` and the like,
  not run unless they are named) are one space with fewer samples, smaller students, or both.
* relabelled: learns from a search of its own table in which every parameter had been turned round: a function of the
  same kind that has nothing to do with this one.
* negated: learns from a search of its own table in which good and bad had been exchanged, the worst that there can be.

All sorts of a search have one sampler's seed and one stream of noise.
"""

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import optuna
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where benchmarks keep what they share

from catalogue import TASKS, load_task
from lines import append_line, read_lines
from run import VARIABLE
from runner import search
from samplers import SamplerPeer
from students import RUNGS, SPACES
from tasks import Task

from autokd.core.seeds import derive
from autokd.optimizers import TrustRegionSampler

OPEN_TABLES: Mapping[str, tuple[str, ...]] = {
    "NAS-Bench-201": ("nb201-cifar100", "nb201-cifar10"),
    "HPOLib": ("hpolib-slice", "hpolib-protein"),
    "TaskSet": (
        "taskset-patch128-lstm128-avg",
        "taskset-patch32-gru128",
        "taskset-patch32-irnn64-relu-avg",
        "taskset-patch32-vrnn64-tanh-avg",
    ),
    "Macro": ("macro",),
}
STUDENTS: Mapping[str, tuple[str, ...]] = {
    f"{space} students": tuple(
        name for name in TASKS if name.startswith(f"students-{space}") and not name.endswith(RUNGS)
    )
    for space in SPACES
}
FAMILIES: Mapping[str, tuple[str, ...]] = {**OPEN_TABLES, **STUDENTS}
SORTS = ("cold", "related", "relabelled", "negated")
LENGTHS = (10, 20, 40)
FEW, MANY = 10, 40  # trials with memory that are to reach what a cold search has after so many
ALMOST_ZERO = 1e-4  # added to regrets before ratios are taken
DRAWS = 1000  # of the bootstrap
Row = dict[str, Any]
Rows = Mapping[tuple[str, str, int], Row]


def run(task_name: str, sort: str, seed: int, earlier: Sequence[optuna.Study], tables: Path) -> Row:
    """One search, as a line."""
    task = _load(task_name, tables)
    sampler = TrustRegionSampler(derive(seed, task_name, "ours") % 2**32, search_space=task.space, earlier=earlier)
    noise = np.random.default_rng(derive(seed, task_name, "training seeds"))
    trace = search(task, SamplerPeer(task, sampler), max(LENGTHS), 1, noise)
    found = {"values": [*map(float, trace.values)], "worths": [*map(float, trace.worths)], "rows": trace.rows}
    return {"key": [task_name, sort, seed], "opt": task.optimum, "seconds": sum(trace.ask_seconds), **found}


def earlier_studies(task_name: str, sort: str, seed: int, done: Rows, tables: Path) -> list[optuna.Study]:
    """The studies from which a search of this sort learns."""

    def study(name: str, **changes: Any) -> optuna.Study:
        return study_of(_load(name, tables), done[name, "cold", seed], **changes)

    if sort == "related":
        family = next(names for names in FAMILIES.values() if task_name in names)
        return [study(name) for name in family if name != task_name]
    if sort == "cold":
        return []
    return [study(task_name, changed=turned) if sort == "relabelled" else study(task_name, sign=-1.0)]


def turned(distribution: BaseDistribution, value: Any) -> Any:
    """The value at the other end of a range, or the next choice."""
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        return choices[(choices.index(value) + 1) % len(choices)]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = distribution.low, distribution.high
    return min(max(low * high / value if distribution.log else low + high - value, low), high)


def study_of(
    task: Task, row: Row, changed: Callable[[BaseDistribution, Any], Any] = lambda _, value: value, sign: float = 1.0
) -> optuna.Study:
    """A recorded search as a study, with changed parameters or values of another sign."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for point, value in zip(row["rows"], row["values"], strict=True):
        params = {name: changed(task.space[name], each) for name, each in task.params(point).items()}
        distributions = {name: task.space[name] for name in params}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=sign * value))
    return study


def regrets(row: Row, n: int) -> tuple[float, float]:
    """After n evaluations, regret of the best point tried and of the one with the best value."""
    worths, values = row["worths"][:n], row["values"][:n]
    return row["opt"] - max(worths), row["opt"] - worths[int(np.argmax(values))]


def report(rows: Rows) -> Iterator[str]:
    """The tables in Markdown."""
    for family, tasks in FAMILIES.items():
        sorts = [sort for sort in SORTS if all(any(key[:2] == (task, sort) for key in rows) for task in tasks)]
        if not sorts:
            continue
        yield f"\n| {family} | trials | {' | '.join(sorts)} |\n|---|---|{'---|' * len(sorts)}"
        for task in tasks:
            for n in LENGTHS:
                cells = [" / ".join(f"{fmean(each):.4f}" for each in _columns(rows, task, sort, n)) for sort in sorts]
                yield f"| {task} | {n} | {' | '.join(cells)} |"
        yield from _ratios(rows, tasks, sorts)
    tasks = tuple(dict.fromkeys(task for task, _, _ in rows))
    yield f"\n| all tables | trials | {' | '.join(SORTS)} |\n|---|---|{'---|' * len(SORTS)}"
    yield from _ratios(rows, tasks, SORTS)


def _ratios(rows: Rows, tasks: Sequence[str], sorts: Sequence[str]) -> Iterator[str]:
    """Rows of the ratios to a cold search, after as many trials and after `MANY`."""
    for mine, cold in (*((n, n) for n in LENGTHS), (FEW, MANY)):
        cells = [_ratio(rows, tasks, sort, (mine, cold)) for sort in sorts]
        yield f"| ratio to cold after {cold} | {mine} | {' | '.join(cells)} |"


def _columns(rows: Rows, task: str, sort: str, n: int) -> tuple[tuple[float, ...], ...]:
    """The two regrets, each of all seeds."""
    return tuple(zip(*(regrets(row, n) for key, row in sorted(rows.items()) if key[:2] == (task, sort)), strict=True))


def _ratio(rows: Rows, tasks: Sequence[str], sort: str, lengths: tuple[int, int]) -> str:
    """Geometric mean over the tasks of the ratio to a cold search, at given numbers of trials of the two."""
    pairs = []
    for task in tasks:
        seeds = sorted(key[2] for key in rows if key[:2] == (task, sort))
        if not seeds:
            continue
        of_sorts = zip((sort, "cold"), lengths, strict=True)
        pairs.append(np.array([[regrets(rows[task, one, seed], n)[1] for seed in seeds] for one, n in of_sorts]))
    if not pairs:
        return "-"
    rng = np.random.default_rng(0)
    drawn = [
        _mean_ratio([pair[:, rng.integers(pair.shape[1], size=pair.shape[1])] for pair in pairs]) for _ in range(DRAWS)
    ]
    low, high = np.quantile(drawn, (0.05, 0.95))
    return f"{_mean_ratio(pairs):.2f} ({low:.2f} to {high:.2f})"


def _mean_ratio(pairs: Sequence[np.ndarray]) -> float:
    logs = [np.log(pair.mean(axis=1) + ALMOST_ZERO) for pair in pairs]
    return math.exp(fmean(float(mine - cold) for mine, cold in logs))


@lru_cache
def _load(name: str, tables: Path) -> Task:
    return load_task(name, tables)


def main() -> None:
    """Run what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--tables", type=Path, default=os.environ.get(VARIABLE), help="folder of the recorded tables")
    parser.add_argument("--seeds", type=int, default=20, help="an even number")
    parser.add_argument("--sorts", nargs="+", choices=SORTS, default=SORTS)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=OPEN_TABLES)
    arguments = parser.parse_args()
    if arguments.tables is None:
        parser.error(f"the tables' folder is needed: pass --tables FOLDER or set {VARIABLE}.")
    torch.set_num_threads(1)
    done = {tuple(row["key"]): row for row in read_lines(arguments.file)}
    for key in _wanted(arguments):
        if key not in done:
            task_name, sort, seed = key
            studies = earlier_studies(task_name, sort, seed ^ 1, done, arguments.tables)
            if studies or sort == "cold":
                done[key] = run(*key, studies, arguments.tables)
                append_line(arguments.file, done[key])
    print("\n".join(report(done)))


def _wanted(arguments: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    """All searches asked for, pair by pair of seeds, so that a file that is not complete has as many of each sort."""
    tasks = [task for family in arguments.families for task in FAMILIES[family]]
    for first in range(0, arguments.seeds, 2):
        for sort, seed, task in product(arguments.sorts, (first, first + 1), tasks):
            yield task, sort, seed


if __name__ == "__main__":
    main()
