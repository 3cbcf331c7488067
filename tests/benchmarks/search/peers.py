"""The contestants: ask for a point, tell what it gave. By name, so that a run can be repeated."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from tasks import Measurement, Task

__all__ = [
    "AWAY",
    "FULL",
    "LADDER",
    "PEERS",
    "Kind",
    "Make",
    "Peer",
    "PeerUnavailable",
    "Proposal",
    "code_version",
    "imported",
    "make_peer",
    "peer_version",
]


class Proposal(NamedTuple):
    """A point to evaluate.

    Attributes:
        number: The number under which its value is told.
        params: The point.
        rung: Up to which rung of the ladder it is trained, where the peer lays that down when it is asked.
        after: Number of the proposal whose training it goes on with, if any: the same point at a lower rung.
    """

    number: int
    params: dict[str, Any]
    rung: int | None = None
    after: int | None = None


class PeerUnavailable(ValueError):  # noqa: N818
    """A peer is not installed, or cannot search a task's space."""


class Peer(ABC):
    """An optimiser in the middle of one search, which maximises.

    Numbers count the proposals from 0. Several may be out at a time, and values may come in any order. The same seed
    and the same values give the same proposals.

    Attributes:
        stops_early: Whether its points start at the lowest rung of the task's ladder, and it says by `keeps` which
            climb on.
        seconds_away: CPU seconds that its last proposal took in another process.
    """

    stops_early = False
    seconds_away = 0.0

    @abstractmethod
    def ask(self) -> Proposal:
        """The next point."""

    @abstractmethod
    def tell(self, number: int, measurement: Measurement) -> None:
        """Takes what a proposal gave, once for each; all a peer may use of it is the value and the excesses."""

    def keeps(self, number: int, rung: int, value: float) -> bool:
        """Whether a point climbs on from a rung below the top. Of one that does not, nothing more is told."""
        return True


Make = Callable[[Task, int, int], Peer]


class Kind(NamedTuple):
    """A sort of peer.

    Attributes:
        home: `module:callable` of task, seed and workers, which makes one.
        code: The distribution, the module or package whose files decide what it proposes, or the script that runs it
            in an environment of its own and names the versions there.
    """

    home: str
    code: str


AWAY = ("ax", "botorch", "cqr", "flaml", "hebo", "smac")
"""Peers in environments of their own."""

PEERS: Mapping[str, Kind] = {
    "random": Kind("baselines:RandomSearch", "baselines"),
    "evolution": Kind("baselines:RegularisedEvolution", "baselines"),
    "ours": Kind("samplers:ours", "autokd.optimizers"),
    "ours+graphs": Kind("samplers:ours_graphs", "autokd.optimizers"),
    "tpe": Kind("samplers:tpe", "optuna"),
    "gp": Kind("samplers:gp", "optuna"),
    "cma-es": Kind("samplers:cma_es", "cmaes"),
    **{name: Kind(f"piped_peer:{name}", f"away/{name}_peer.py") for name in AWAY},
    "botorch-model": Kind("samplers:botorch_model", "botorch"),
    "random+halving": Kind("ladder_samplers:random_halving", "autokd.optimizers"),
    "ours+halving": Kind("ladder_samplers:ours_halving", "autokd.optimizers"),
    "ours+graphs+halving": Kind("ladder_samplers:ours_graphs_halving", "autokd.optimizers"),
    "tpe+halving": Kind("ladder_samplers:tpe_halving", "autokd.optimizers"),
    "hyperband": Kind("ladder_samplers:hyperband", "optuna"),
    "bohb": Kind("ladder_samplers:bohb", "optuna"),
    "dehb": Kind("dehb_peer:DehbPeer", "dehb"),
}
"""The peers; imported when asked for, since some take seconds and some need not be installed."""

FULL = ("random", "evolution", "ours", "ours+graphs", "tpe", "gp", "cma-es", "botorch-model", *AWAY)
"""Those that train everything fully."""

LADDER = (
    "random",
    "random+halving",
    "hyperband",
    "bohb",
    "dehb",
    "tpe+halving",
    "gp",
    "ours",
    "ours+halving",
    "ours+graphs+halving",
)
"""Those that are compared on a task with a ladder."""


def make_peer(name: str, task: Task, seed: int, workers: int) -> Peer:
    """A peer at the start of a search.

    Args:
        name: One of `PEERS`.
        task: What it will search; only the space, the names of the limits, those limits that can be computed and the
            ladder's steps are for the peer to see.
        seed: Seed of all its proposals.
        workers: How many proposals will be out at a time.

    Raises:
        ValueError: If the name is unknown.
        PeerUnavailable: If it is not installed, or the space is not for it.
    """
    module, _, attribute = _kind(name).home.partition(":")
    make: Make = getattr(import_module(module), attribute)
    return make(task, seed, workers)


def peer_version(name: str) -> str:
    """Version of a peer's code; see `code_version`.

    Raises:
        ValueError: If the name is unknown.
    """
    return code_version(_kind(name).code)


def code_version(code: str) -> str:
    """Version of a distribution, or a digest of sources where these are ours and may change any minute; see `Kind`."""
    if code.endswith(".py"):
        return _digest(Path(__file__).parent / code)
    try:
        return f"{code} {version(code)}"
    except PackageNotFoundError:
        spec = find_spec(code)
    if spec is None or spec.origin is None:
        return f"{code}, not installed"
    return _digest(Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin))


def _digest(code: Path) -> str:
    """Digest of a file, or of all modules of a package at any depth and of their names in it."""
    if code.is_dir():
        named = {file.relative_to(code).as_posix(): file.read_bytes() for file in code.rglob("*.py")}
        content = b"".join(name.encode() + b"\0" + named[name] for name in sorted(named))
    else:
        content = code.read_bytes()
    return hashlib.blake2b(content, digest_size=4).hexdigest()


def imported(module: str, peer: str, package: str) -> ModuleType:
    """A module of a package that need not be installed.

    Raises:
        PeerUnavailable: If it is not.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise PeerUnavailable(f"The peer {peer!r} needs the package {package}.") from error


def _kind(name: str) -> Kind:
    if name not in PEERS:
        raise ValueError(f"Unknown peer {name!r}. Known: {', '.join(PEERS)}.")
    return PEERS[name]
