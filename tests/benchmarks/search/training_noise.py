"""What repeated trainings of a network differ by, and what it is worth to a search to know it beforehand.

    OMP_NUM_THREADS=1 python tests/benchmarks/search/training_noise.py LINES.jsonl --tables FOLDER [--seeds 30]

On the tables of recorded accuracies: the standard deviation over the training seeds of one point, in binomial standard
errors of an accuracy on as many validation samples; then what the model of a search says after 10, 20 and 40 trials,
with that as its noise (`families.NOISE_SHARE`) and without. A line of JSON for each search and each number of trials;
what the file holds already is left out, so a run that was killed goes on.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where benchmarks keep what they share

from lines import append_line, read_lines
from replays import SEEDS, Replay, load, replay
from run import VARIABLE
from stopping import calibration_error
from tasks import Task

from autokd.optimizers.models.posterior import posterior
from autokd.optimizers.models.study_model import StudyModel
from autokd.searches.families import NOISE_SHARE

SAMPLES: Mapping[str, int] = {"nb201-cifar100": 5_000, "nb201-cifar10": 25_000, "macro": 10_000}
"""Validation samples of the tables."""
BANDS = ((0.99, 1.0), (0.9, 0.99), (0.5, 0.9))  # quantiles of the points' mean accuracies
AFTER = (10, 20, 40)  # trials
N_SAMPLES = 2000
Row = Mapping[str, Any]


def standard_error(percent: float, n: int) -> float:
    """Binomial standard error of an accuracy on n samples, both in percent."""
    return float(np.sqrt(percent * (100 - percent) / n))


def ratio(task: Task, band: tuple[float, float], n: int) -> tuple[float, float]:
    """Standard deviation over training seeds of the points in a band, in percent, and in binomial standard errors."""
    low, high = np.quantile(task.means, band)
    within = (task.means >= low) & (task.means <= high) & ((~np.isnan(task.values)).sum(axis=1) > 1)
    deviation = float(np.sqrt(np.nanvar(task.values[within], axis=1, ddof=1).mean()))
    return deviation, deviation / standard_error(float(task.means[within].mean()), n)


def state(replayed: Replay, n: int, is_known: bool) -> dict[str, Any]:
    """What the model says after n trials, and what was so.

    Args:
        replayed: The search.
        n: Number of its trials.
        is_known: Whether it knows the noise.
    """
    task, study, numbers = replayed.task, replayed.study(n), list(range(n))
    best = max(values[-1] for values in replayed.values[:n])
    noise = NOISE_SHARE * standard_error(best, SAMPLES[task.name]) if is_known else None
    model = StudyModel.fit(study, dict(task.space), replayed.features, noise=noise)
    found = posterior(study, dict(task.space), numbers, N_SAMPLES, seed=0, model=model)
    chosen = max(numbers, key=found.mean.__getitem__)
    worths, trainings = task.worths[list(replayed.rows[:n])], task.values[replayed.rows[chosen]]
    trainings = trainings[~np.isnan(trainings)]
    return {
        "key": [task.name, replayed.seed, n, is_known],
        "p": found.probability_best[chosen],
        "is_best": bool(worths[chosen] >= worths.max() - 1e-9),
        "regret": float(worths.max() - worths[chosen]),
        "inside": float(np.mean((trainings >= found.low[chosen]) & (trainings <= found.high[chosen]))),
        "within": bool(abs(found.mean[chosen] - worths[chosen]) <= found.deviation[chosen]),
    }


def states(file: Path, tables: Path, seeds: int) -> Iterator[Row]:
    """What is said of every search; what the file lacks is run and appended."""
    lines = {tuple(line["key"]): line for line in read_lines(file)}
    for name, seed in product(SAMPLES, range(seeds)):
        wanted = [(name, seed, n, is_known) for n, is_known in product(AFTER, (False, True))]
        if not all(key in lines for key in wanted):
            line = replay(name, seed, tables)
            replayed = Replay(load(name, tables), seed, line["params"], line["rows"], line["values"])
            for key in wanted:
                lines[key] = state(replayed, *key[2:])
                append_line(file, lines[key])
        yield from (lines[key] for key in wanted)


def report(rows: Sequence[Row]) -> Iterator[str]:
    """The table of what was said, in Markdown."""
    head = "| table | noise | after | n | best | mean P(best) | ECE | in the interval | within the ± | regret |"
    yield f"\n{head}\n|{'---|' * 10}"
    groups = [(name, n) for name in SAMPLES for n in AFTER] + [("all", None)]
    for (name, n), is_known in product(groups, (False, True)):
        group = [row for row in rows if row["key"][3] == is_known and (n is None or row["key"][:3:2] == [name, n])]
        if group:
            p, is_best = np.array([row["p"] for row in group]), np.array([row["is_best"] for row in group])
            shares = [f"{100 * fmean(row[key] for row in group):.0f} %" for key in ("inside", "within")]
            cells = [name, "known" if is_known else "not", "" if n is None else str(n), str(len(group))]
            cells += [f"{is_best.mean():.2f}", f"{p.mean():.2f}", f"{calibration_error(p, is_best):.3f}", *shares]
            cells.append(f"{fmean(row['regret'] for row in group):.3f}")
            yield f"| {' | '.join(cells)} |"


def main() -> None:
    """Run what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--tables", type=Path, default=os.environ.get(VARIABLE), help="folder of the recorded tables")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    arguments = parser.parse_args()
    if arguments.tables is None:
        parser.error(f"the tables' folder is needed: pass --tables FOLDER or set {VARIABLE}.")
    torch.set_num_threads(1)
    print("| table | points, quantiles | between trainings, points | in binomial standard errors |\n|---|---|---|---|")
    for (name, n), band in product(SAMPLES.items(), BANDS):
        deviation, share = ratio(load(name, arguments.tables), band, n)
        print(f"| {name} | {band[0]:g} to {band[1]:g} | {deviation:.3f} | {share:.2f} |")
    print("\n".join(report([*states(arguments.file, arguments.tables, arguments.seeds)])))


if __name__ == "__main__":
    main()
