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

__all__ = ["PEERS", "Kind", "Make", "Peer", "PeerUnavailable", "Proposal", "imported", "make_peer", "peer_version"]


class Proposal(NamedTuple):
    """A point to evaluate, and the number under which its value is told."""

    number: int
    params: dict[str, Any]


class PeerUnavailable(ValueError):  # noqa: N818
    """A peer is not installed, or cannot search a task's space."""


class Peer(ABC):
    """An optimiser in the middle of one search, which maximises.

    Numbers count the proposals from 0. Several may be out at a time, and values may come in any order. The same seed
    and the same values give the same proposals.

    Attributes:
        stops_early: Whether it wants each point's short training first, and says by `keeps` which are trained fully.
    """

    stops_early = False

    @abstractmethod
    def ask(self) -> Proposal:
        """The next point."""

    @abstractmethod
    def tell(self, number: int, measurement: Measurement) -> None:
        """Takes what a proposal gave, once for each; all a peer may use of it is the value and the violation."""

    def keeps(self, number: int, early_value: float) -> bool:
        """Whether a point is trained fully after its short training. Of one that is not, nothing more is told."""
        return True


Make = Callable[[Task, int, int], Peer]


class Kind(NamedTuple):
    """A sort of peer.

    Attributes:
        home: `module:callable` of task, seed and workers, which makes one.
        code: The distribution, or the module or package whose files decide what it proposes.
    """

    home: str
    code: str


PEERS: Mapping[str, Kind] = {
    "random": Kind("baselines:RandomSearch", "baselines"),
    "evolution": Kind("baselines:RegularisedEvolution", "baselines"),
    "ours": Kind("samplers:ours", "autokd.optimizers"),
    "tpe": Kind("samplers:tpe", "optuna"),
    "gp": Kind("samplers:gp", "optuna"),
    "random+halving": Kind("samplers:random_halving", "autokd.optimizers"),
    "ours+halving": Kind("samplers:ours_halving", "autokd.optimizers"),
    "tpe+halving": Kind("samplers:tpe_halving", "autokd.optimizers"),
    "cma-es": Kind("samplers:cma_es", "cmaes"),
    "smac": Kind("smac_peer:SmacPeer", "smac"),
    "botorch": Kind("samplers:botorch", "optuna-integration"),
}
"""The peers; imported when asked for, since some take seconds and some need not be installed."""


def make_peer(name: str, task: Task, seed: int, workers: int) -> Peer:
    """A peer at the start of a search.

    Args:
        name: One of `PEERS`.
        task: What it will search; only the space is for the peer to see.
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
    """Version of a peer's distribution, or a digest of its sources where these are ours and may change any minute.

    Raises:
        ValueError: If the name is unknown.
    """
    code = _kind(name).code
    try:
        return f"{code} {version(code)}"
    except PackageNotFoundError:
        spec = find_spec(code)
    if spec is None or spec.origin is None:
        return f"{code}, not installed"
    files = sorted(Path(spec.origin).parent.glob("*.py")) if spec.submodule_search_locations else [Path(spec.origin)]
    return hashlib.blake2b(b"".join(file.read_bytes() for file in files), digest_size=4).hexdigest()


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
