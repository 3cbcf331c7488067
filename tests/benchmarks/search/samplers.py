"""The peers that are Optuna samplers and train everything fully: its own, those of its integrations, and ours."""

import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import Trial, TrialState
from peers import Peer, PeerUnavailable, Proposal, imported
from tasks import Measurement, Params, Task

from autokd.optimizers.registry import sampler as own_sampler

__all__ = [
    "SamplerPeer",
    "botorch_model",
    "cma_es",
    "experimental",
    "gp",
    "ours",
    "ours_graphs",
    "tpe",
    "tpe_sampler",
]


class SamplerPeer(Peer):
    """Any Optuna sampler on a study in memory.

    Args:
        task: What is searched.
        sampler: A sampler at its start.
        constraints: Names of the limits of which it learns as Optuna's constraints. A point that breaks another one is
            a failed trial.
        pruner: Judges trials at the rungs of a ladder.
        name: The study's, on which some pruners depend.
        given: Parameters of the first trials.
    """

    def __init__(
        self,
        task: Task,
        sampler: BaseSampler,
        constraints: Collection[str] = (),
        pruner: BasePruner | None = None,
        name: str | None = None,
        given: Iterable[Params] = (),
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = dict(task.space)
        self._study = optuna.create_study(
            study_name=name, direction="maximize", sampler=sampler, pruner=pruner or NopPruner()
        )
        for parameters in given:
            self._study.enqueue_trial(dict(parameters))
        self._constraints = frozenset(constraints)
        self._running: dict[int, Trial] = {}

    def ask(self) -> Proposal:
        """A new trial's parameters."""
        with experimental():
            trial = self._study.ask(self._space)
        self._running[trial.number] = trial
        return Proposal(trial.number, trial.params)

    def tell(self, number: int, measurement: Measurement) -> None:
        """Ends the trial."""
        trial = self._running.pop(number)
        if any(excess > 0 for name, excess in measurement.excesses.items() if name not in self._constraints):
            self._study.tell(trial, state=TrialState.FAIL)
            return
        for name in self._constraints:
            trial.set_constraint(name, measurement.excesses[name])
        self._study.tell(trial, measurement.value)


def ours(task: Task, seed: int, workers: int) -> Peer:
    """What a search of AutoKD uses, with nothing set by hand; it knows beforehand what can be computed."""
    return _ours(task, seed)


def ours_graphs(task: Task, seed: int, workers: int) -> Peer:
    """The same, told what the graphs are like that the parameters make, where something is known of them."""
    return _ours(task, seed, features=task.features, described=task.described)


def _ours(task: Task, seed: int, **options: Any) -> Peer:
    if any(limit.computable for limit in task.limits.values()):
        options["feasible"] = task.keeps_computable
    sampler = own_sampler("trust-region", seed, task.space, **options)
    return SamplerPeer(task, sampler, [name for name, limit in task.limits.items() if not limit.computable])


def botorch_model(task: Task, seed: int, workers: int) -> Peer:
    """Ours with today's BoTorch as its model and acquisition function, and the whole space as its region."""
    imported("botorch", "botorch-model", "botorch")
    return _ours(task, seed, model="botorch", rules="none")


def tpe(task: Task, seed: int, workers: int) -> Peer:
    """Tree-structured Parzen estimator over all parameters jointly; running trials count as bad ones."""
    return SamplerPeer(task, tpe_sampler(seed, workers), task.limits)


def gp(task: Task, seed: int, workers: int) -> Peer:
    """Optuna's Gaussian process, told that the objective is noisy."""
    with experimental():
        sampler = GPSampler(seed=seed, deterministic_objective=False)
    return SamplerPeer(task, sampler, task.limits)


def cma_es(task: Task, seed: int, workers: int) -> Peer:
    """CMA-ES over the numbers; categories are random."""
    imported("cmaes", "cma-es", "cmaes")
    if all(isinstance(distribution, CategoricalDistribution) for distribution in task.space.values()):
        raise PeerUnavailable(f"The peer 'cma-es' needs numbers, but {task.name!r} has categories only.")
    with experimental():
        others = RandomSampler(seed)
        sampler = CmaEsSampler(seed=seed, independent_sampler=others, warn_independent_sampling=False)
    return SamplerPeer(task, sampler)


def tpe_sampler(seed: int, workers: int) -> TPESampler:
    """Over all parameters jointly; running trials count as bad ones where there are several."""
    with experimental():
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=workers > 1)


@contextmanager
def experimental() -> Iterator[None]:
    """Silences Optuna's warning that a sampler is experimental: who names it wants it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
