"""Destroys what can be destroyed around real searches, and checks that they lose nothing.

    python tests/chaos/run.py --database sqlite|postgresql --engine local|dask --kills N --seed S --results FILE
        [--faults NAME ...] [--scratch FOLDER]

Runs tiny searches of digits by the command line, one after the other, strikes each at random instants of every stage
until there were so many SIGKILLs, and after each fault and in the end checks the invariants of `invariants.py`. The
faults are those of `faults.py`, by default all; those that this machine cannot do are named and left out. Writes one
line of JSON a search; what a search that broke has printed is kept beside the results, in a folder `.logs`. A run that
was cut off goes on after the searches that its file holds. The same seed gives the same faults in the same order, at
instants that depend on the machine. `report.py` makes the tables of RESULTS.md.

A PostgreSQL server is started for the run. With `--engine dask` the search has a cluster of its own, or, if the network
is to be cut, a scheduler here and one worker in a network namespace.
"""

import argparse
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from functools import cache, partial
from pathlib import Path
from random import Random

sys.path += [str(Path(__file__).resolve().parents[1] / room) for room in ("support", "benchmarks")]

from arenas import entered
from attacks import attack, plan
from chaos_records import Record, append, read
from evidence import Evidence
from faults import FAULTS, Arena
from machines import processor
from victims import RECIPES, Hung, Victim

__all__ = ["main", "undisturbed"]

KILLS_PER_SEARCH = 20
INLINE = ("workers.engine=inline",)


def main(words: Sequence[str] | None = None) -> int:
    """Run what the results file lacks; 1 if an invariant was broken.

    Args:
        words: The command line's words.
    """
    options = _parse(words)
    done = [record for record in read(options.results) if _is_of(record, options)]
    left = options.kills - sum(record.kills for record in done)
    number = 1 + max((record.number for record in done), default=-1)
    survived = all(record.is_survived for record in done)
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="undisturbed-") as folder:
        known = cache(partial(undisturbed, Path(folder)))
        while left > 0:
            record = _run(options, number, min(left, KILLS_PER_SEARCH), known)
            append(options.results, record)
            print(_line(record), flush=True)
            left, number, survived = left - max(record.kills, 1), number + 1, survived and record.is_survived
    return 0 if survived else 1


def undisturbed(folder: Path, name: str) -> Evidence:
    """What the search of a recipe leaves behind when nobody disturbs it, trained inside its controller.

    Args:
        folder: An existing folder, in which its files stay.
        name: Name of the recipe.

    Raises:
        Hung: If it does not end well.
    """
    (folder / name).mkdir()
    victim = Victim(folder / name, RECIPES[name], INLINE)
    victim.start()
    victim.wait(lambda: False)
    if victim.code != 0 or (evidence := victim.evidence()) is None:
        raise Hung(f"the undisturbed search ended with exit code {victim.code}: {victim.last_words}")
    return evidence


def _run(options: argparse.Namespace, number: int, kills: int, known: Callable[[str], Evidence]) -> Record:
    """The record of one search, struck and compared with the undisturbed one of its recipe.

    Args:
        options: The command line.
        number: Its number in the run.
        kills: Number of SIGKILLs.
        known: `undisturbed` of a recipe's name.
    """
    recipe = sorted(RECIPES)[number % len(RECIPES)]
    chance, whole = Random(f"{options.seed} {number}"), known(recipe)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="chaos-") as name:
        folder = Path(name)
        with entered(folder, options.database, options.engine, options.faults) as (arena, engine, url):
            faults = _possible(options.faults, arena, first=number == 0)
            victim = Victim(folder, RECIPES[recipe], engine, url, worker_mark=arena.worker_mark)
            outcome = attack(victim, arena, plan(faults, kills, chance), chance, whole)
        record = Record(
            options.engine,
            options.database,
            options.seed,
            number,
            recipe,
            outcome.hits,
            sum(FAULTS[hit.fault].kills for hit in outcome.hits),
            outcome.broken,
            outcome.hung,
            round(time.monotonic() - started, 1),
            _machine(),
        )
        if not record.is_survived:
            _keep_logs(folder, options.results.with_suffix(".logs") / f"{options.database}-{options.engine}-{number}")
    return record


def _keep_logs(folder: Path, kept: Path) -> None:
    """Keep what a search and its cluster printed, to be looked at."""
    kept.mkdir(parents=True, exist_ok=True)
    for log in folder.glob("*.txt"):
        shutil.copy(log, kept)


def _possible(names: Collection[str], arena: Arena, first: bool) -> list[str]:
    """The faults that can be done here; what the others lack is told once."""
    lacks = {name: FAULTS[name].lacks(arena) for name in names}
    for name, lack in lacks.items():
        if first and lack:
            print(f"left out: {name}: {lack}", flush=True)
    return [name for name, lack in lacks.items() if not lack]


def _is_of(record: Record, options: argparse.Namespace) -> bool:
    return (record.engine, record.database, record.seed) == (options.engine, options.database, options.seed)


def _line(record: Record) -> str:
    verdict = "survived" if record.is_survived else f"BROKEN: {_broken(record)}"
    counts = f"{record.kills} kills, {len(record.hits) - record.kills} other faults"
    return f"search {record.number} ({record.recipe}): {counts}, {record.seconds:.0f} s, {verdict}"


def _broken(record: Record) -> str:
    return "; ".join([*(f"{hit.fault}: {line}" for hit in record.hits for line in hit.broken), *record.broken])


def _machine() -> dict[str, str]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return {"processor": processor(), "python": platform.python_version(), "commit": commit.stdout.strip()}


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite", help="where rows are kept")
    parser.add_argument("--engine", choices=("local", "dask"), default="local", help="where students are trained")
    parser.add_argument("--faults", nargs="+", choices=sorted(FAULTS), default=sorted(FAULTS), metavar="NAME")
    parser.add_argument("--kills", type=int, default=500, help="SIGKILLs in all")
    parser.add_argument("--seed", type=int, default=0, help="of the faults and of their moments")
    parser.add_argument(
        "--results", type=Path, required=True, help="file of the lines; it may hold those of other runs"
    )
    parser.add_argument("--scratch", type=Path, help="folder of the searches while they run")
    return parser.parse_args(words)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started and mounted goes, too
    sys.exit(main())
