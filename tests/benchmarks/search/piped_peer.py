"""Peers that live in environments of their own, since no single one holds them all; each is a process behind a pipe.

    python tests/benchmarks/search/piped_peer.py FOLDER [NAME ...]

makes the environments, or those that are named, as `FOLDER/NAME`. The folder then stands in the environment variable
AUTOKD_PEERS. What such a process runs, and what it requires, is `away/NAME_peer.py`; how it is talked to is in
`away/serving.py`.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tomllib
import weakref
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from venv import EnvBuilder

from grids import choices, decoded, is_continuum
from optuna.distributions import BaseDistribution, CategoricalDistribution
from peers import AWAY, Peer, PeerUnavailable, Proposal
from tasks import Measurement, Task

__all__ = ["PipedPeer", "ax", "botorch", "cqr", "flaml", "hebo", "install", "requirements", "smac"]

VARIABLE = "AUTOKD_PEERS"
SCRIPTS = Path(__file__).resolve().parent / "away"
SECONDS_TO_END = 10
_METADATA = re.compile(r"^# /// script\n(.*?)^# ///$", re.MULTILINE | re.DOTALL)


class PipedPeer(Peer):
    """A peer in a process of its own, which knows of each parameter how many choices it has and if they have an order.

    A continuum is [0, 1] to it, of the logarithm where the scale is logarithmic.

    Args:
        name: One of `peers.AWAY`.
        task: What is searched.
        seed: Seed of all proposals.
        workers: How many proposals will be out at a time, which it sees when it is asked.

    Raises:
        PeerUnavailable: If it has no environment.
    """

    def __init__(self, name: str, task: Task, seed: int, workers: int) -> None:
        self._name, self._python = name, _python(name)
        self._space = task.space
        ordered = [not isinstance(each, CategoricalDistribution) for each in task.space.values()]
        self._first = {"sizes": [_size(each) for each in task.space.values()], "ordered": ordered, "seed": seed}
        self._process: subprocess.Popen[str] | None = None
        self._n_asked = 0

    def ask(self) -> Proposal:
        """Its next point."""
        answer = self._answer({"ask": None})
        self.seconds_away = answer["seconds"]
        pairs = zip(self._space.items(), answer["point"], strict=True)
        self._n_asked += 1
        return Proposal(self._n_asked - 1, {name: _value(distribution, place) for (name, distribution), place in pairs})

    def tell(self, number: int, measurement: Measurement) -> None:
        """Its value; a point that breaks a limit has none."""
        self._answer({"tell": number, "value": None if measurement.violation > 0 else measurement.value})

    def _answer(self, request: Mapping[str, Any]) -> Any:
        if self._process is None:  # at the first request, since many are made that are never asked
            self._process = _started(self._python, SCRIPTS / f"{self._name}_peer.py")
            weakref.finalize(self, _end, self._process)
            self._exchange(self._process, self._first)
        return self._exchange(self._process, request)

    def _exchange(self, process: "subprocess.Popen[str]", request: Mapping[str, Any]) -> Any:
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps(request), file=process.stdin, flush=True)
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"The peer {self._name!r} ended with {process.wait()}; it says why on standard error.")
        return json.loads(line)


ax = partial(PipedPeer, "ax")
botorch = partial(PipedPeer, "botorch")
cqr = partial(PipedPeer, "cqr")
flaml = partial(PipedPeer, "flaml")
hebo = partial(PipedPeer, "hebo")
smac = partial(PipedPeer, "smac")


def requirements(name: str) -> list[str]:
    """What a peer's environment must hold: the dependencies that its script names, as PEP 723 has them."""
    found = _METADATA.search((SCRIPTS / f"{name}_peer.py").read_text())
    assert found is not None
    lines = (line.removeprefix("#").removeprefix(" ") for line in found[1].splitlines())
    dependencies: list[str] = tomllib.loads("\n".join(lines))["dependencies"]
    return dependencies


def install(name: str, folder: Path) -> None:
    """Make a peer's environment anew.

    Raises:
        CalledProcessError: If pip finds no set of its requirements.
    """
    EnvBuilder(clear=True, with_pip=True).create(folder / name)
    subprocess.run([folder / name / "bin" / "python", "-m", "pip", "install", "-q", *requirements(name)], check=True)


def _size(distribution: BaseDistribution) -> int | None:
    """Number of choices; None for a continuum."""
    return None if is_continuum(distribution) else len(choices(distribution))


def _value(distribution: BaseDistribution, place: float) -> Any:
    """The choice of an index, or the number at a place in the unit interval."""
    return decoded(distribution, place) if is_continuum(distribution) else choices(distribution)[int(place)]


def _python(name: str) -> Path:
    folder = os.environ.get(VARIABLE)
    python = Path(folder or "") / name / "bin" / "python"
    if folder is None or not python.exists():
        raise PeerUnavailable(
            f"The peer {name!r} needs an environment of its own, which `python {Path(__file__).name} FOLDER {name}` "
            f"makes, and {VARIABLE} names the folder."
        )
    return python


def _started(python: Path, script: Path) -> "subprocess.Popen[str]":
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = own | one_thread | {"PYTHONHASHSEED": "0"}  # the order of sets decides what some propose
    return subprocess.Popen([python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def _end(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def main() -> None:
    """Make environments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=AWAY, metavar="NAME", help=", ".join(AWAY))
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - {*AWAY}:
        parser.error(f"there is no peer {min(unknown)!r}, but {', '.join(AWAY)}.")
    for name in arguments.names:
        print(f"{name}: {', '.join(requirements(name))}", file=sys.stderr)
        install(name, arguments.folder.resolve())


if __name__ == "__main__":
    main()
