"""Simple regret of our optimiser and its peers on recorded trainings.

    python tests/benchmarks/search/run.py --tables FOLDER [--tasks ...] [--peers ...] [--seeds 20] [--workers 1 8]
        [--evaluations 200] [--jobs 1] [--results FILE] [--plot FILE]

Runs what the results file lacks, then prints the report of everything it holds of these tasks, peers and workers. A run
that was cut off starts again; the others stay. A changed optimiser is another version of it, and is run anew. A run
that fails is named in a line on standard error and left out, and the script ends with 1; the same command tries it
again.

Without options: the tasks of the group "plain", sequentially, by all peers that are installed and train everything
fully. `--tasks limited` and `--tasks fidelity` are the other groups, see `catalogue`. With shorter trainings, a search
goes on for the time of so many full `--evaluations`, of which 100 are enough for the report, and the peers are those
that stop some trainings early, and a few others.

The tables are those that `catalogue` lists; their folder may also stand in the environment variable AUTOKD_TABLES.
Peers with an environment of their own are those of the folder in AUTOKD_PEERS, see `piped_peer.py`.
"""

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import lru_cache, partial
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np
from catalogue import GROUPS, load_task
from comparison import collect
from peers import FULL, LADDER, PeerUnavailable, make_peer, peer_version
from plots import plot
from report import markdown
from results import Result, Run, append, read
from runner import search
from tasks import Task

from autokd.core.seeds import derive
from autokd.errors import first_line
from workers.base import Limits
from workers.registry import executor

VARIABLE = "AUTOKD_TABLES"


def main() -> None:
    """Run what is missing, then report."""
    arguments = _arguments()
    try:
        wanted = list(_wanted(arguments))
    except ValueError as error:
        sys.exit(str(error))
    done = read(arguments.results)
    missing = [run for run in wanted if run not in done]
    print(f"{len(wanted)} runs, {len(wanted) - len(missing)} of them in {arguments.results}", file=sys.stderr)
    n_failed = _perform_all(missing, arguments)
    done = read(arguments.results)
    groups = collect(done[run] for run in wanted if run in done)
    load = partial(_load, tables=arguments.tables)
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, {_versions()}\n")
    print(markdown(groups, load))
    if arguments.plot is not None and groups:
        plot(groups, load, arguments.plot)
    if n_failed:
        sys.exit(f"{n_failed} of {len(missing)} runs failed; the same command tries them again.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, default=os.environ.get(VARIABLE), help="folder of the recorded tables")
    parser.add_argument("--tasks", nargs="+", default=["plain"], help="names of tasks or groups")
    parser.add_argument("--peers", nargs="+", help="instead of all that suit a task")
    parser.add_argument("--seeds", type=int, default=20, help="runs of each, with the seeds 0, 1, ...")
    parser.add_argument("--workers", type=int, nargs="+", default=[1], help="trainings at a time, in simulated seconds")
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=1, help="processes, of one thread each")
    parser.add_argument("--results", type=Path, default=Path("search-results.jsonl"))
    parser.add_argument("--plot", type=Path, help="a PNG file for the curves")
    arguments = parser.parse_args()
    if arguments.tables is None:
        parser.error(f"the tables' folder is needed: pass --tables FOLDER or set {VARIABLE}.")
    return arguments


def _wanted(arguments: argparse.Namespace) -> Iterator[Run]:
    """All runs asked for, seed by seed, so that an unfinished benchmark has as many of each."""
    names = dict.fromkeys(name for given in arguments.tasks for name in GROUPS.get(given, (given,)))
    pairs = [(task, peer) for task in names for peer in arguments.peers or _suited(task, arguments.tables)]
    versions = {peer: peer_version(peer) for _, peer in pairs}
    able = [pair for pair in pairs if _is_able(*pair, arguments.tables)]
    for seed, workers, (task, peer) in product(range(arguments.seeds), arguments.workers, able):
        yield Run(task, peer, versions[peer], seed, workers, arguments.evaluations)


def _suited(task: str, tables: Path) -> tuple[str, ...]:
    return LADDER if _load(task, tables).ladder.top else FULL


def _is_able(task: str, peer: str, tables: Path) -> bool:
    try:
        make_peer(peer, _load(task, tables), 0, 1)
    except PeerUnavailable as reason:
        print(f"skipped: {reason}", file=sys.stderr)
        return False
    return True


def _perform_all(runs: list[Run], arguments: argparse.Namespace) -> int:
    """Perform and record runs; the number of those that failed."""
    kind = "inline" if arguments.jobs == 1 else "local"
    running: dict[Future[Result], Run] = {}
    n_failed = 0
    with executor(kind, arguments.jobs, Limits(threads=1)) as jobs:
        for number, run in enumerate(runs):
            running[jobs.submit(_perform, run, arguments.tables)] = run
            if len(running) >= jobs.capacity or number == len(runs) - 1:
                n_failed += _record(running, arguments.results, everything=number == len(runs) - 1)
    return n_failed


def _record(running: dict[Future[Result], Run], file: Path, everything: bool) -> int:
    """Waits for one run, or for all, and writes what has ended, which is running no more; how many of it failed."""
    n_failed = 0
    while True:
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            run, error = running.pop(future), future.exception()
            if error is None:
                append(file, future.result())
                outcome = f"{sum(future.result().trace.ask_seconds):.1f} s"
            else:
                n_failed += 1
                outcome = f"failed, {type(error).__name__}: {first_line(error)}"
            print(f"{run.task}, {run.peer}, seed {run.seed}, {run.workers} workers: {outcome}", file=sys.stderr)
        if not (everything and running):
            return n_failed


def _perform(run: Run, tables: Path) -> Result:
    task = _load(run.task, tables)
    peer = make_peer(run.peer, task, derive(run.seed, run.task, run.peer) % 2**32, run.workers)
    rng = np.random.default_rng(derive(run.seed, run.task, "training seeds"))
    return Result(run, task.optimum, search(task, peer, run.evaluations, run.workers, rng))


@lru_cache
def _load(name: str, tables: Path) -> Task:
    return load_task(name, tables)


def _versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("numpy", "optuna", "torch"))


if __name__ == "__main__":
    main()
