"""The peers that are Optuna samplers: Optuna's own, those of its integrations, and ours."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import Trial, TrialState
from peers import Peer, PeerUnavailable, Proposal, imported
from tasks import Measurement, Task

from autokd.optimizers.halving import HalvingPruner
from autokd.optimizers.registry import sampler as own_sampler

__all__ = [
    "SamplerPeer",
    "botorch",
    "cma_es",
    "gp",
    "ours",
    "ours_halving",
    "random_halving",
    "tpe",
    "tpe_halving",
]


class SamplerPeer(Peer):
    """Any Optuna sampler on a study in memory.

    Args:
        task: What is searched.
        sampler: A sampler at its start.
        knows_limits: Whether it learns from Optuna's constraints. To another one, a point that breaks a limit is a
            failed trial.
        pruner: Judges short trainings, where the task has them.
    """

    def __init__(self, task: Task, sampler: BaseSampler, knows_limits: bool, pruner: BasePruner | None = None) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = dict(task.space)
        self._study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner or NopPruner())
        self._knows_limits = knows_limits
        self._has_limits = task.violations is not None
        self._running: dict[int, Trial] = {}
        self._early = task.early
        self.stops_early = pruner is not None and task.early is not None

    def ask(self) -> Proposal:
        """A new trial's parameters."""
        with _experimental():
            trial = self._study.ask(self._space)
        self._running[trial.number] = trial
        return Proposal(trial.number, trial.params)

    def keeps(self, number: int, early_value: float) -> bool:
        """The pruner's judgement; prunes the trial."""
        trial = self._running[number]
        self._report(trial, early_value, full=False)
        if not trial.should_prune():
            return True
        self._study.tell(self._running.pop(number), state=TrialState.PRUNED)
        return False

    def tell(self, number: int, measurement: Measurement) -> None:
        """Ends the trial."""
        trial = self._running.pop(number)
        if measurement.violation > 0 and not self._knows_limits:
            self._study.tell(trial, state=TrialState.FAIL)
            return
        if self._has_limits:
            trial.set_constraint("limits", measurement.violation)
        if self.stops_early:
            self._report(trial, measurement.value, full=True)
        self._study.tell(trial, measurement.value)

    def _report(self, trial: Trial, value: float, full: bool) -> None:
        assert self._early is not None  # else nobody wants early values
        trial.report(value, self._early.full_epochs if full else self._early.epochs)


def ours(task: Task, seed: int, workers: int) -> Peer:
    """What a search of AutoKD uses, with nothing set by hand."""
    return SamplerPeer(task, own_sampler("trust-region", seed, task.space), knows_limits=False)


def tpe(task: Task, seed: int, workers: int) -> Peer:
    """Tree-structured Parzen estimator over all parameters jointly; running trials count as bad ones."""
    return SamplerPeer(task, _tpe_sampler(seed, workers), knows_limits=True)


def gp(task: Task, seed: int, workers: int) -> Peer:
    """Optuna's Gaussian process, told that the objective is noisy."""
    with _experimental():
        sampler = GPSampler(seed=seed, deterministic_objective=False)
    return SamplerPeer(task, sampler, knows_limits=True)


def cma_es(task: Task, seed: int, workers: int) -> Peer:
    """CMA-ES over the numbers; categories are random."""
    imported("cmaes", "cma-es", "cmaes")
    if all(isinstance(distribution, CategoricalDistribution) for distribution in task.space.values()):
        raise PeerUnavailable(f"The peer 'cma-es' needs numbers, but {task.name!r} has categories only.")
    with _experimental():
        others = RandomSampler(seed)
        sampler = CmaEsSampler(seed=seed, independent_sampler=others, warn_independent_sampling=False)
    return SamplerPeer(task, sampler, knows_limits=False)


def botorch(task: Task, seed: int, workers: int) -> Peer:
    """BoTorch's default Gaussian process, with categories one-hot."""
    integration = imported("optuna_integration", "botorch", "optuna-integration")
    with _experimental():
        sampler = integration.BoTorchSampler(seed=seed)
    return SamplerPeer(task, sampler, knows_limits=False)


def random_halving(task: Task, seed: int, workers: int) -> Peer:
    """Random points, of which our pruner keeps a third."""
    return _halving(task, RandomSampler(seed))


def ours_halving(task: Task, seed: int, workers: int) -> Peer:
    """Our sampler and our pruner, as in a search with two rungs."""
    return _halving(task, own_sampler("trust-region", seed, task.space))


def tpe_halving(task: Task, seed: int, workers: int) -> Peer:
    """Optuna's sampler and our pruner: all but BOHB."""
    return _halving(task, _tpe_sampler(seed, workers))


def _halving(task: Task, sampler: BaseSampler) -> Peer:
    if task.early is None:
        raise PeerUnavailable(f"Peers with halving need short trainings, which {task.name!r} has not.")
    return SamplerPeer(task, sampler, knows_limits=False, pruner=HalvingPruner(rungs=[task.early.epochs]))


def _tpe_sampler(seed: int, workers: int) -> TPESampler:
    with _experimental():
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=workers > 1)


@contextmanager
def _experimental() -> Iterator[None]:
    """Silences Optuna's warning that a sampler is experimental: who names it wants it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
