"""How well cheap rungs rank students: Spearman correlations over a pool, as `pool.py` has trained it.

    python tests/benchmarks/trial/rungs.py POOL.jsonl

For each way of training and each signal the correlation of its values at a lower rung with what the students reach at
the last rung. That is the mean accuracy of the last rung by the cosine and by the stable schedule, two trainings of
different course, so that no way is judged by its own noise; beside it the correlation with the way's own last rung.
Brackets hold the middle 90 % of 2,000 bootstrap samples of students. Kept is the mean final accuracy, over the pool's
mean, of the third of the students that the signal would let climb.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where benchmarks keep what they share

from lines import read_lines

WAYS = ("cosine", "trunk", "average", "branch")
FIDELITY_METRICS = {  # metric -> its sign where larger is better
    "accuracy": 1,
    "loss": -1,
    "agreement": 1,
    "teacher_kl": -1,
    "loss_last": -1,
    "loss_sum": -1,
    "entropy_last": -1,
    "entropy_sum": -1,
}
TRAINING = ("loss_last", "loss_sum", "entropy_last", "entropy_sum")  # of the network, whichever way it is measured
BOOTSTRAPS = 2_000
Array = NDArray[np.float64]
Row = dict[str, Any]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pool", type=Path)
    pool = parser.parse_args().pool
    rows = list(read_lines(pool))
    if not rows:
        sys.exit(f"there is no student in {pool}")
    _print_accuracies(rows)
    final = _final(rows)
    for rung in range(len(rows[0]["ways"]["cosine"]) - 1):
        _print_rung(rows, rung, final)


def _final(rows: list[Row]) -> Array:
    return (_values(rows, "cosine", -1, "accuracy") + _values(rows, "branch", -1, "accuracy")) / 2


def _values(rows: list[Row], way: str, rung: int, metric: str) -> Array:
    return np.array([row["ways"][way][rung][metric] for row in rows])


def _print_accuracies(rows: list[Row]) -> None:
    rungs = [found["step"] for found in rows[0]["ways"]["cosine"]]
    print(f"n = {len(rows)} students of {_range(rows, 'params')} parameters and {_range(rows, 'nodes')} nodes\n")
    heads = " | ".join(f"accuracy at step {step}" for step in rungs)
    print(f"| way | {heads} | last over cosine, points |\n|---|{'---|' * (len(rungs) + 1)}")
    for way in (*WAYS, "scaled"):
        there = [row for row in rows if way in row["ways"]]
        cells = [_spread(100 * _values(there, way, rung, "accuracy")) for rung in range(len(rungs))]
        gain = 100 * (_values(there, way, -1, "accuracy") - _values(there, "cosine", -1, "accuracy"))
        error = gain.std(ddof=1) / len(gain) ** 0.5
        print(f"| {way}, n = {len(there)} | {' | '.join(cells)} | {gain.mean():+.2f} ± {error:.2f} |")


def _range(rows: list[Row], key: str) -> str:
    values = [row[key] for row in rows]
    return f"{min(values):,} to {max(values):,}"


def _spread(values: Array) -> str:
    return f"{values.mean():.2f} ± {values.std(ddof=1):.2f}"


def _print_rung(rows: list[Row], rung: int, final: Array) -> None:
    step, last = (rows[0]["ways"]["cosine"][at]["step"] for at in (rung, -1))
    print(f"\n### Step {step} of {last}\n")
    print("| way | signal | with the final accuracy | with its own last rung | kept, points |\n|---|---|---|---|---|")
    for way in WAYS:
        own = _values(rows, way, -1, "accuracy")
        for signal, sign in FIDELITY_METRICS.items():
            if way != "average" or signal not in TRAINING:
                values = sign * _values(rows, way, rung, signal)
                cells = (_correlation(values, final), _correlation(values, own), f"{_kept(values, final):+.2f}")
                print(f"| {way} | {signal} | {' | '.join(cells)} |")


def _correlation(values: Array, final: Array) -> str:
    low, high = _interval(lambda chosen: _spearman(values[chosen], final[chosen]), len(values))
    return f"{_spearman(values, final):.2f} ({low:.2f} to {high:.2f})"


def _interval(statistic: Callable[[NDArray[np.int64]], float], n: int) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    found = [statistic(rng.integers(n, size=n)) for _ in range(BOOTSTRAPS)]
    low, high = np.quantile(found, [0.05, 0.95])
    return float(low), float(high)


def _spearman(a: Array, b: Array) -> float:
    return float(spearmanr(a, b).statistic)


def _kept(values: Array, final: Array) -> float:
    best = np.argsort(-values, kind="stable")[: len(values) // 3]
    return float(100 * (final[best].mean() - final.mean()))


if __name__ == "__main__":
    main()
