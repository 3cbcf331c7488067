"""Accuracy against latency: how much of the true trade-off our optimiser and its peers find.

    python tests/benchmarks/search/fronts.py --tables FOLDER [--peers ...] [--seeds 20] [--workers 1 8]
        [--evaluations 200] [--results FILE] [--plot FILE]

The task is NAS-Bench-201, https://arxiv.org/abs/2001.00326, on CIFAR-100, with the latencies of HELP,
https://arxiv.org/abs/2106.08630: the validation accuracy of one training seed is maximised, the latency on a Raspberry
Pi 4 minimised. Points are judged by the mean of the seeds, and sets of points by their hypervolume above 40 % and below
60 ms, as a share of that of the whole table.

Runs what the results file lacks, then prints the report of everything that was asked for. A run that was cut off starts
again; the others stay. Peers that are not installed are skipped with a line.
"""

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np
from front_peers import FRONT_PEERS, front_peer_version, make_front_peer
from front_report import collect, markdown, plot
from front_task import Tradeoff, accuracy_and_latency
from peers import PeerUnavailable
from results import Result, Run, append, read
from runner import search

from autokd.core.seeds import derive
from autokd.errors import first_line

VARIABLE = "AUTOKD_TABLES"
_NAME = "nb201-cifar100-raspi4"


def main() -> None:
    """Run what is missing, then report."""
    arguments = _arguments()
    try:
        tradeoff = accuracy_and_latency(arguments.tables)
        wanted = list(_wanted(arguments, tradeoff))
    except ValueError as error:
        sys.exit(str(error))
    done = read(arguments.results)
    missing = [run for run in wanted if run not in done]
    print(f"{len(wanted)} runs, {len(wanted) - len(missing)} of them in {arguments.results}", file=sys.stderr)
    n_failed = 0
    for run in missing:
        what = f"{run.peer}, seed {run.seed}, {run.workers} workers"
        try:
            done[run] = _perform(run, tradeoff)
        except Exception as error:  # of a peer: it must not end the runs of the others
            n_failed += 1
            print(f"{what}: failed, {type(error).__name__}: {first_line(error)}", file=sys.stderr)
            continue
        append(arguments.results, done[run])
        print(f"{what}: {sum(done[run].trace.ask_seconds):.1f} s", file=sys.stderr)
    shares = collect(tradeoff, (done[run] for run in wanted if run in done))
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "optuna", "torch"))
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, {versions}\n")
    print(markdown(shares))
    if arguments.plot is not None and shares:
        plot(tradeoff, shares, arguments.plot)
    if n_failed:
        sys.exit(f"{n_failed} of {len(missing)} runs failed; the same command tries them again.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, default=os.environ.get(VARIABLE), help="folder of the recorded tables")
    parser.add_argument("--peers", nargs="+", default=list(FRONT_PEERS))
    parser.add_argument(
        "--seeds", type=int, default=20, help="runs of each, with the seeds 0, 1, ...; fewer of slow peers"
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1], help="trainings at a time, in simulated seconds")
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--results", type=Path, default=Path("front-results.jsonl"))
    parser.add_argument("--plot", type=Path, help="a PNG file for the curves and fronts")
    arguments = parser.parse_args()
    if arguments.tables is None:
        parser.error(f"the tables' folder is needed: pass --tables FOLDER or set {VARIABLE}.")
    return arguments


def _wanted(arguments: argparse.Namespace, tradeoff: Tradeoff) -> Iterator[Run]:
    """All runs asked for, seed by seed, so that an unfinished benchmark has as many of each."""
    versions = {name: front_peer_version(name) for name in arguments.peers if _is_able(name, tradeoff)}
    for seed, workers, (peer, code) in product(range(arguments.seeds), arguments.workers, versions.items()):
        most = FRONT_PEERS[peer].most_seeds
        if most is None or seed < most:
            yield Run(_NAME, peer, code, seed, workers, arguments.evaluations)


def _is_able(peer: str, tradeoff: Tradeoff) -> bool:
    try:
        make_front_peer(peer, tradeoff, seed=0)
    except PeerUnavailable as reason:
        print(f"skipped: {reason}", file=sys.stderr)
        return False
    return True


def _perform(run: Run, tradeoff: Tradeoff) -> Result:
    peer = make_front_peer(run.peer, tradeoff, derive(run.seed, run.task, run.peer) % 2**32)
    rng = np.random.default_rng(derive(run.seed, run.task, "training seeds"))
    return Result(run, tradeoff.optimum, search(tradeoff.task, peer, run.evaluations, run.workers, rng))


if __name__ == "__main__":
    main()
