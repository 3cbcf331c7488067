"""Seconds of one proposal after so many finished trials: our optimiser and its peers, side by side.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python tests/benchmarks/search/ask_time.py [--peers ...]
        [--trials 10 20 ...] [--limit 60] [--plot FILE]

The space has ten dimensions: six of the NAGO space's numbers, its two categories, and the temperature and weight of
distillation. The finished trials are random points of it, put into each optimiser's history without a search. One
proposal takes in that history, which a search would have done bit by bit (SMAC3 compares each of its points with all
others), and is not timed. Then `ROUNDS` proposals are asked for and told in turn, and the median is printed, of one
thread's CPU seconds and of the clock's. SMAC3 trains and searches anew for every eighth proposal only, so there a round
is eight, and is divided by it. A peer whose proposal takes longer than the limit is not asked after more trials. What
is not installed is skipped.

As long as its start-up trials last, an optimiser proposes without a model, as ours does after ten trials in ten
dimensions. Optuna's Gaussian process is slower, and says so, where the package greenlet is not installed.
"""

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import optuna
import torch
from ask_time_peers import PEERS, Optimiser, history, make
from peers import PeerUnavailable, peer_version

TRIALS = (10, 20, 50, 100, 200, 500, 1000, 2000)
ROUNDS = 3


class Seconds(NamedTuple):
    """Of one proposal."""

    cpu: float
    wall: float


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found: dict[str, dict[int, Seconds]] = {}
    for name in arguments.peers:
        try:
            found[name] = measure(name, sorted(arguments.trials), arguments.limit)
        except PeerUnavailable as reason:
            print(f"skipped: {reason}", file=sys.stderr)
    versions = [
        *(f"{name} {version(name)}" for name in ("numpy", "torch")),
        *(f"{n}: {peer_version(n)}" for n in found),
    ]
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, {', '.join(versions)}\n")
    print(markdown(found, sorted(arguments.trials)))
    if arguments.plot is not None:
        plot(found, arguments.plot)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--trials", type=int, nargs="+", default=TRIALS, help="finished ones")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds of a proposal, after which a peer stops")
    parser.add_argument("--plot", type=Path, help="a PNG file for the curves")
    return parser.parse_args()


def measure(name: str, trials: Sequence[int], limit: float) -> dict[int, Seconds]:
    """Seconds by number of finished trials, up to the first ones beyond the limit."""
    finished = history(max(trials), np.random.default_rng(0))
    found: dict[int, Seconds] = {}
    for n in trials:
        found[n] = timed(make(name, finished[:n]), np.random.default_rng(n))
        print(f"{name}, {n} trials: {found[n].cpu:.3f} s CPU, {found[n].wall:.3f} s", file=sys.stderr)
        if found[n].wall > limit:
            break
    return found


def timed(optimiser: Optimiser, rng: np.random.Generator) -> Seconds:
    """Medians of the rounds, for one proposal, after one that is not timed."""
    optimiser.turn(rng)
    rounds = [_round(optimiser, rng) for _ in range(ROUNDS)]
    return Seconds(statistics.median(r.cpu for r in rounds), statistics.median(r.wall for r in rounds))


def _round(optimiser: Optimiser, rng: np.random.Generator) -> Seconds:
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(optimiser.period):
        optimiser.turn(rng)
    return Seconds((time.process_time() - cpu) / optimiser.period, (time.perf_counter() - wall) / optimiser.period)


def markdown(found: Mapping[str, Mapping[int, Seconds]], trials: Sequence[int]) -> str:
    """A table of CPU seconds and one of the clock's, a line a peer, "-" where it was not asked any more."""
    parts = []
    for field, title in (("cpu", "CPU seconds"), ("wall", "Seconds of the clock")):
        parts += [f"{title} of one ask and tell after so many finished trials:", ""]
        parts += [_row(["peer", *map(str, trials)]), "|" + "---|" * (1 + len(trials))]
        for name, seconds in found.items():
            cells = [f"{getattr(seconds[n], field):.3f}" if n in seconds else "-" for n in trials]
            parts.append(_row([name, *cells]))
        parts.append("")
    return "\n".join(parts)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def plot(found: Mapping[str, Mapping[int, Seconds]], file: Path) -> None:
    """Writes a PNG of CPU seconds against finished trials."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    for name, seconds in found.items():
        panel.plot(list(seconds), [each.cpu for each in seconds.values()], marker="o", label=name)
    panel.set(xlabel="finished trials", ylabel="CPU seconds of one ask and tell", xscale="log", yscale="log")
    panel.legend()
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
