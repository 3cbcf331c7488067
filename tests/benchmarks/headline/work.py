"""The work of `run.py`: finds what is missing, does it, and writes a line for each run."""

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import optuna
import torch
from locks import alone, together
from plan import KNOWN, Job, jobs
from protocol import PROTOCOLS
from records import Record, Run, append, read
from speed import images_a_second
from tables import markdown
from workbench import Workbench

from autokd.errors import InputError, InterruptedSearchError

__all__ = ["main", "seeds_of"]

QUICK = ("A", "B", "C2", "H")
FILES = {
    "tiny-imagenet": ("AUTOKD_TINY_IMAGENET", "folder of Tiny-ImageNet-20 with train/CLASS and val/CLASS"),
    "tiny-teacher": ("AUTOKD_TINY_TEACHER", "weights of its teacher, from autokd teach; see teachers.py"),
}
"""Options and environment variables for the files that a protocol only names."""
WAIT_SECONDS = 20.0  # until other processes may have finished what a run depends on


def main(description: str, command: Sequence[str] | None = None) -> None:
    """Run what is missing, then report.

    Args:
        description: Text of `--help`.
        command: The arguments; those of the process by default.
    """
    arguments = _arguments(description, command)
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    files = {name: str(path.resolve()) for name, path in _files(arguments).items() if path}
    bench = Workbench(arguments.data, PROTOCOLS[arguments.data], arguments.scratch.resolve(), files)
    try:
        if arguments.list:
            _list(bench, arguments)
        else:
            _perform_all(bench, arguments)
            print(markdown(read(arguments.results)))
    except (InterruptedSearchError, KeyboardInterrupt):
        print("headline: interrupted; the same command goes on.", file=sys.stderr)
        sys.exit(4)
    except InputError as error:
        print(f"headline: {error}", file=sys.stderr)
        sys.exit(2)


def _arguments(description: str, command: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=sorted(PROTOCOLS))
    parser.add_argument(
        "--arms", nargs="+", choices=KNOWN, metavar="ARM", help=f"of {', '.join(KNOWN)}; by default those of the data"
    )
    parser.add_argument("--seeds", nargs="+", help="how many, or which; those of the protocol by default")
    parser.add_argument("--results", type=Path, default=Path("headline-results.jsonl"))
    parser.add_argument("--scratch", type=Path, default=Path("headline-runs"), help="folder of unfinished runs")
    for name, (variable, meaning) in FILES.items():
        parser.add_argument(f"--{name}", type=Path, default=os.environ.get(variable), help=f"{meaning}; or {variable}")
    parser.add_argument("--list", action="store_true", help="show what is done and what is left, with minutes")
    parser.add_argument("--quick", action="store_true", help=f"arms {', '.join(QUICK)} on digits, 2 seeds")
    arguments = parser.parse_args(command)
    arguments.data = arguments.data or ("D" if arguments.quick else None)
    if arguments.data is None:
        parser.error(f"--data is needed: {', '.join(PROTOCOLS)}.")
    usual = QUICK if arguments.quick else PROTOCOLS[arguments.data].arms or KNOWN
    arguments.arms = arguments.arms or list(usual)
    for name, path in _files(arguments).items():
        if path is None and f"{{{name}}}" in str(PROTOCOLS[arguments.data]):
            parser.error(f"--data {arguments.data} needs --{name}, or {FILES[name][0]} in the environment.")
    given = arguments.seeds or [str(2 if arguments.quick else PROTOCOLS[arguments.data].seeds)]
    try:
        arguments.seeds = seeds_of(given)
    except ValueError:
        parser.error(f"--seeds must be a number, several, or ranges such as 3-4, but got {' '.join(given)}.")
    return arguments


def _files(arguments: argparse.Namespace) -> dict[str, Path | None]:
    """The files that a protocol only names."""
    return {name: getattr(arguments, name.replace("-", "_")) for name in FILES}


def seeds_of(given: Sequence[str]) -> list[int]:
    """The seeds that a command line names: `5` is 0 to 4, `0 2` these two, `3-4` a range."""
    if len(given) == 1 and given[0].isdigit():
        return list(range(int(given[0])))
    seeds: set[int] = set()
    for text in given:
        first, _, last = text.partition("-")
        seeds |= set(range(int(first), int(last or first) + 1))
    return sorted(seeds)


def _jobs(bench: Workbench, arguments: argparse.Namespace, arms: Collection[str] = ()) -> tuple[list[Job], list[Job]]:
    """All jobs, and those that are not done, of these arms or of those that are asked for."""
    records = read(arguments.results)
    wanted = jobs(bench, arms or arguments.arms, arguments.seeds, records, arguments.quick)
    return wanted, [job for job in wanted if job.run not in records]


def _perform_all(bench: Workbench, arguments: argparse.Namespace) -> None:
    while True:
        wanted, left = _jobs(bench, arguments)
        ready = [job for job in left if job.perform is not None]
        if not any(_perform(job, bench, arguments, len(wanted) - len(left), len(wanted)) for job in ready):
            if not ready:
                _say_what_waits(left)
                return
            time.sleep(WAIT_SECONDS)  # others run all that is ready


def _perform(job: Job, bench: Workbench, arguments: argparse.Namespace, n_done: int, n_wanted: int) -> bool:
    """Do a job and write its line, unless another process does; whether it was done here."""
    run, of_seed = job.run, _lock(bench, f"seed {job.run.seed}")
    with alone(_lock(bench, f"{job.folder} {run.seed}")) as is_ours:  # arms that share a search take turns
        records = read(arguments.results)
        if not is_ours or run in records or job.perform is None:
            return False
        _check_alike(bench, records)
        with together(of_seed):
            started = time.monotonic()
            record = job.perform()
            append(arguments.results, record)
        name = " ".join(filter(None, (run.arm, run.variant, f"seed {run.seed}")))
        outcome = record.failure or ", ".join(f"{key} {100 * value:.2f}" for key, value in record.metrics.items())
        minutes = (time.monotonic() - started) / 60
        print(f"[{n_done + 1} of {n_wanted}] {name}: {outcome} ({minutes:.1f} min)", file=sys.stderr, flush=True)
        if all((other.folder, other.run.seed) != (job.folder, run.seed) for other in _jobs(bench, arguments, KNOWN)[1]):
            bench.clear(run.seed, job.folder)
    with alone(of_seed) as is_unused:
        if is_unused and all(other.run.seed != run.seed for other in _jobs(bench, arguments)[1]):
            bench.clear(run.seed, "teachers")
    return True


def _check_alike(bench: Workbench, records: Mapping[Run, Record]) -> None:
    """Raise if the file has runs of another teacher or of other samples, whose results are not comparable."""
    for name, what in (("digest", "teacher"), ("data", "samples")):
        own = bench.teacher[name]
        found = {record.teacher.get(name, own) for run, record in records.items() if run.data == bench.name}
        if others := found - {own}:
            raise InputError(
                f"the results have runs with another {what} (digest {others.pop()}) than this one ({own}): choose "
                "another --results file."
            )


def _lock(bench: Workbench, name: str) -> Path:
    """File of the lock of this name."""
    folder = bench.scratch / bench.name / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / hashlib.sha256(name.encode()).hexdigest()[:16]


def _list(bench: Workbench, arguments: argparse.Namespace) -> None:
    """Show each arm's runs: done, ready and waiting, and the minutes of those that are left."""
    wanted, left = _jobs(bench, arguments)
    speed = images_a_second(bench, read(arguments.results))
    samples = len(bench.dataset.train)
    print(f"{bench.name}: {len(wanted) - len(left)} of {len(wanted)} runs done; {speed:,.0f} images a second\n")
    print("| arm | done | ready | waiting | minutes left | minutes a run |")
    print("|---|---|---|---|---|---|")
    for arm in dict.fromkeys(job.run.arm for job in wanted):
        own, open_ = [job for job in wanted if job.run.arm == arm], [job for job in left if job.run.arm == arm]
        ready = sum(job.perform is not None for job in open_)
        minutes = [job.epochs * samples / speed / 60 for job in open_]
        each = max(job.epochs * samples / speed / 60 for job in own)
        print(
            f"| {arm} | {len(own) - len(open_)} | {ready} | {len(open_) - ready} | {sum(minutes):,.0f} | {each:,.1f} |"
        )
    _say_what_waits(left)


def _say_what_waits(left: Sequence[Job]) -> None:
    for reason in dict.fromkeys(job.waits_for for job in left if job.waits_for):
        n_waiting = sum(job.waits_for == reason for job in left)
        print(f"{n_waiting} runs wait for {reason}", file=sys.stderr)
