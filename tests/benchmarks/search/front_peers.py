"""The contestants for two objectives: Optuna's samplers, those of its integrations, and ours."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from front_task import Tradeoff
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.trial import Trial
from peers import Peer, PeerUnavailable, Proposal, code_version
from tasks import Measurement

from autokd.optimizers.errors import OptimizerError
from autokd.optimizers.registry import sampler

__all__ = ["FRONT_PEERS", "FrontPeer", "front_peer_version", "make_front_peer", "make_sampler"]


@dataclass(frozen=True)
class Entrant:
    """A sampler with all but its seed.

    Attributes:
        sampler: Its name, as in a search of AutoKD.
        code: The distributions and packages whose files decide what it proposes, as in `peers.Kind`.
        options: What differs from the sampler's defaults.
        told: What it is told of the task: the `reference_point`, which is what an objective must beat to be worth
            anything, and the `features` of graphs.
        most_seeds: Runs of it at most; None is as many as of the others.
    """

    sampler: str
    code: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    told: tuple[str, ...] = ()
    most_seeds: int | None = None


OPTUNA, OURS = ("optuna",), ("autokd.optimizers",)

FRONT_PEERS: Mapping[str, Entrant] = {
    "random": Entrant("random", OPTUNA),
    "nsga2": Entrant("optuna.samplers:NSGAIISampler", OPTUNA),
    "ours": Entrant("trust-region", OURS, told=("reference_point",)),
    "ours+graphs": Entrant("trust-region", OURS, told=("reference_point", "features")),
    "tpe": Entrant("tpe", OPTUNA, options={"multivariate": True, "constant_liar": True}),
    "gp": Entrant("gp", OPTUNA, options={"deterministic_objective": False}),
    "botorch": Entrant("optuna_integration:BoTorchSampler", ("optuna-integration", "botorch"), most_seeds=5),
}
"""The peers. Their settings are those for one objective; TPE's liar speaks only of trials that are still running. Ours
alone has an argument for the task's reference point; BoTorch's infers one from what it has observed."""


class FrontPeer(Peer):
    """Any Optuna sampler on a study in memory that has two objectives.

    It is told a point's accuracy and knows the table's latency, which is that point's second value.

    Attributes:
        study: All its trials.
    """

    def __init__(self, tradeoff: Tradeoff, sampler: BaseSampler) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._tradeoff = tradeoff
        self._space = dict(tradeoff.task.space)
        self.study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        self._running: dict[int, Trial] = {}

    def ask(self) -> Proposal:
        """A new trial's parameters."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # who names a sampler wants it
            trial = self.study.ask(self._space)
        self._running[trial.number] = trial
        return Proposal(trial.number, trial.params)

    def tell(self, number: int, measurement: Measurement) -> None:
        """Ends the trial."""
        trial = self._running.pop(number)
        latency = float(self._tradeoff.latencies[self._tradeoff.task.row(trial.params)])
        self.study.tell(trial, [measurement.value, latency])


def make_front_peer(name: str, tradeoff: Tradeoff, seed: int) -> FrontPeer:
    """A peer at the start of a search.

    Raises:
        ValueError: If the name is unknown.
        PeerUnavailable: If it is not installed.
    """
    known = {"reference_point": tradeoff.reference_point, "features": tradeoff.task.features}
    told = {what: known[what] for what in _entrant(name).told}
    return FrontPeer(tradeoff, make_sampler(name, tradeoff.task.space, seed, **told))


def make_sampler(name: str, space: Mapping[str, BaseDistribution], seed: int, **told: Any) -> BaseSampler:
    """The sampler of a peer, which will search any study over this space; `told` are options that depend on the study.

    Raises:
        ValueError: If the name is unknown.
        PeerUnavailable: If it is not installed.
    """
    entrant = _entrant(name)
    try:
        return sampler(entrant.sampler, seed, space, **entrant.options, **told)
    except OptimizerError as error:
        raise PeerUnavailable(f"The peer {name!r}: {error}") from error


def front_peer_version(name: str) -> str:
    """Versions of the peer's code; see `peers.code_version`.

    Raises:
        ValueError: If the name is unknown.
    """
    return ", ".join(map(code_version, _entrant(name).code))


def _entrant(name: str) -> Entrant:
    if name not in FRONT_PEERS:
        raise ValueError(f"Unknown peer {name!r}. Known: {', '.join(FRONT_PEERS)}.")
    return FRONT_PEERS[name]
