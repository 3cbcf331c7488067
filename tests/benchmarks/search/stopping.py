"""Is a search right about itself? Its P(best), its 90 % interval and what it says 20 more trials gain, in 300 searches.

    OMP_NUM_THREADS=1 python tests/benchmarks/search/stopping.py LINES.jsonl --tables FOLDER [--seeds 30]

First the searches (see `replays`), then what the model says of each after 10, 20, 30, ... trials; a line of JSON each.
What the file holds already is left out, so a run that was killed goes on. The lines have what the samples say; the
constants by which it is calibrated are those of the code. Then the tables: each constant as one would fit it to the one
half of the tables, and how well what is said holds on either half.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import torch

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where benchmarks keep what they share

from lines import append_line, read_lines
from replays import CHECKED, FITTED, SEEDS, Replay, load, replay, seeds_of
from run import VARIABLE
from scipy.optimize import minimize
from scipy.special import expit, logit

from autokd.optimizers.gain import FACTOR, TRIALS, gain
from autokd.optimizers.models.posterior import SHIFT, SLOPE, posterior

EVERY = 10  # trials
AFTER = (10, 20, 40, 100)  # trials; what is reported
N_BINS = 10
N_SAMPLES = 4000
ENOUGH = (1.0, 0.5, 0.2, 0.1)  # values of `stop.gain`, in points
IN_POINTS = ("nb201-cifar100", "nb201-cifar100-early", "nb201-cifar10", "macro")
Row = Mapping[str, Any]


def state(replayed: Replay, n: int) -> dict[str, Any]:
    """What the model says after n trials, and what was so, as a line."""
    task, study = replayed.task, replayed.study(n)
    reached = [len(values) for values in replayed.values[:n]]
    eligible = [number for number, rungs in enumerate(reached) if rungs == max(reached)]
    space, features = dict(task.space), replayed.features
    found = posterior(study, space, range(n), N_SAMPLES, seed=0, features=features, eligible=eligible)
    further = gain(study, space, eligible, features=features)
    assert further is not None  # every task has something to choose
    chosen = max(eligible, key=found.mean.__getitem__)
    worths, trainings = task.worths[list(replayed.rows[:n])], task.values[replayed.rows[chosen]]
    trainings = trainings[~np.isnan(trainings)]
    return {
        "key": [task.name, replayed.seed, n],
        "logit": (logit(found.probability_best[chosen]) - SHIFT) / SLOPE,
        "is_best": bool(worths[chosen] >= worths.max() - 1e-9),
        "below": float(np.mean(trainings < found.low[chosen])),
        "above": float(np.mean(trainings > found.high[chosen])),
        "gain": further.most / FACTOR,
        "worth": float(worths[chosen]),
    }


def said(line: Row) -> Row:
    """A line with P(best), `p`, and the bound on the gain, `most`, as the calibrated model says them."""
    return {**line, "p": float(expit(SHIFT + SLOPE * line["logit"])), "most": FACTOR * line["gain"]}


def calibration_error(p: np.ndarray, is_best: np.ndarray) -> float:
    """Expected calibration error over bins of equal width (Naeini et al. 2015)."""
    bins = np.minimum((p * N_BINS).astype(int), N_BINS - 1)
    return float(sum(abs((p - is_best)[bins == k].sum()) for k in range(N_BINS)) / len(p))


def fitted_scaling(logits: np.ndarray, is_best: np.ndarray) -> tuple[float, float]:
    """`SHIFT` and `SLOPE` of largest likelihood."""
    signs = np.where(is_best, 1.0, -1.0)
    shift, slope = minimize(lambda ab: np.logaddexp(0, -signs * (ab[0] + ab[1] * logits)).mean(), (0.0, 1.0)).x
    return float(shift), float(slope)


def gains(rows: Sequence[Row], all_rows: Sequence[Row]) -> list[tuple[Row, float]]:
    """The rows after which 20 more trials were run, and what they gained."""
    worths = {tuple(row["key"]): row["worth"] for row in all_rows}
    later = [(row, (row["key"][0], row["key"][1], row["key"][2] + TRIALS)) for row in rows]
    return [(row, worths[key] - row["worth"]) for row, key in later if key in worths]


def report(rows: Sequence[Row]) -> Iterator[str]:
    """The tables in Markdown."""
    halves = {"fitted": FITTED, "checked": CHECKED}
    of_half = {name: [row for row in rows if row["key"][0] in tables] for name, tables in halves.items()}
    for name, half in of_half.items():
        logits, is_best = np.array([row["logit"] for row in half]), np.array([row["is_best"] for row in half])
        shift, slope = fitted_scaling(logits, is_best)
        factor = np.quantile([gained / row["gain"] for row, gained in gains(half, rows)], 0.9)
        yield f"\nfitted to the {name} half: SHIFT {shift:.2f}, SLOPE {slope:.2f}, FACTOR {factor:.2f}"
    yield from _reliability(of_half)
    groups: dict[str, Sequence[Row]] = {}
    for name, half in of_half.items():
        groups[name] = half
        groups |= {f"{name}, after {n}": [row for row in half if row["key"][2] == n] for n in AFTER}
    groups |= {table: [row for row in rows if row["key"][0] == table] for table in (*FITTED, *CHECKED)}
    head = "| | searches | n | best | mean P | ECE | in the interval | below | above | n | right | bound | gain |"
    yield f"\n{head}\n|---|{'---|' * 12}"
    yield from (_line(name, group, rows) for name, group in groups.items() if group)
    yield from _stops(rows)


def _reliability(of_half: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    yield f"\n| P(best) | {' | '.join(f'{name}: n | mean P | best' for name in of_half)} |\n|---|{'---|' * 6}"
    for k in range(N_BINS):
        cells = []
        for half in of_half.values():
            inside = [row for row in half if min(int(row["p"] * N_BINS), N_BINS - 1) == k]
            means = [fmean(row[name] for row in inside) for name in ("p", "is_best")] if inside else []
            cells += [str(len(inside)), *(f"{mean:.2f}" for mean in means or [])] if inside else ["0", "", ""]
        yield f"| {k / N_BINS:.1f} to {(k + 1) / N_BINS:.1f} | {' | '.join(cells)} |"


def _line(name: str, rows: Sequence[Row], all_rows: Sequence[Row]) -> str:
    p, is_best = np.array([row["p"] for row in rows]), np.array([row["is_best"] for row in rows])
    below, above = (fmean(row[end] for row in rows) for end in ("below", "above"))
    cells = [str(len({tuple(row["key"][:2]) for row in rows})), str(len(rows))]
    cells += [f"{is_best.mean():.2f}", f"{p.mean():.2f}", f"{calibration_error(p, is_best):.3f}"]
    cells += [f"{100 * share:.1f} %" for share in (1 - below - above, below, above)]
    known = gains(rows, all_rows)
    if known:
        right = fmean(gained < row["most"] for row, gained in known)
        cells += [str(len(known)), f"{100 * right:.1f} %"]
        middles = median(row["most"] for row, _ in known), float(np.quantile([gained for _, gained in known], 0.9))
        is_one_table = len({row["key"][0] for row in rows}) == 1
        cells += [f"{value:.3g}" for value in middles] if is_one_table else ["", ""]
    else:
        cells += ["0", "", "", ""]
    return f"| {name} | {' | '.join(cells)} |"


def _stops(rows: Sequence[Row]) -> Iterator[str]:
    """How the searches would have ended by `stop.gain`, on the tables in percent."""
    yield "\n| `stop.gain` | searches | stopped | after, median | 20 more gained less | mean gain of 20 more |"
    yield f"|{'---|' * 6}"
    known = [(row, gained) for row, gained in gains(rows, rows) if row["key"][2] >= 2 * EVERY]
    of_search: dict[tuple[str, int], list[tuple[Row, float]]] = {}
    for row, gained in sorted(known, key=lambda pair: pair[0]["key"][2]):
        if row["key"][0] in IN_POINTS:
            of_search.setdefault(tuple(row["key"][:2]), []).append((row, gained))
    for points in ENOUGH:
        firsts = [next((pair for pair in pairs if pair[0]["most"] < points), None) for pairs in of_search.values()]
        stopped = [pair for pair in firsts if pair is not None]
        cells = ["", "", ""]
        if stopped:
            less = fmean(gained < points for _, gained in stopped)
            after, mean = median(row["key"][2] for row, _ in stopped), fmean(gained for _, gained in stopped)
            cells = [f"{after:g}", f"{100 * less:.0f} %", f"{mean:.3f}"]
        yield f"| {points:g} | {len(firsts)} | {len(stopped)} | {' | '.join(cells)} |"


def states(file: Path, tables: Path, seeds: int) -> Iterator[Row]:
    """What is said of every search, by number of trials; what the file lacks is run and appended."""
    lines = {tuple(line["key"]): line for line in read_lines(file)}

    def known(key: tuple[Any, ...], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if key not in lines:
            lines[key] = make()
            append_line(file, lines[key])
        return lines[key]

    for seed, name in product(range(seeds), (*FITTED, *CHECKED)):
        if seed < seeds_of(name):
            search = known((name, seed), partial(replay, name, seed, tables))
            replayed = Replay(load(name, tables), seed, search["params"], search["rows"], search["values"])
            for n in range(EVERY, len(search["rows"]) + 1, EVERY):
                yield said(known((name, seed, n), partial(state, replayed, n)))


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
    print("\n".join(report([*states(arguments.file, arguments.tables, arguments.seeds)])))


if __name__ == "__main__":
    main()
