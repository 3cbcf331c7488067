"""The optimisers whose proposals `ask_time` times, each with a history that no search had to make."""

import tempfile
import warnings
import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import optuna
from front_peers import make_sampler
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from peers import imported
from tasks import Params

from autokd.distillation.registry import method_class
from search_spaces.design.dimensions import draw
from search_spaces.design.registry import space
from search_spaces.spaces.nago import MERGES, OPERATIONS

__all__ = [
    "NOISE",
    "PEERS",
    "Observation",
    "Optimiser",
    "SamplerOptimiser",
    "SmacOptimiser",
    "history",
    "make",
    "observe",
    "search_space",
]

PEERS = ("ours", "gp", "tpe", "botorch", "smac")
NOISE = 0.1
"""Standard deviation of a value. The values without it lie between 0 and -5."""


class Observation(NamedTuple):
    """A finished trial; a larger value is better."""

    params: Params
    value: float


@cache
def search_space() -> Mapping[str, BaseDistribution]:
    """Four kinds of parameters: integers, numbers, a number in logarithm, and categories without order."""
    nago = space("nago", top_neighbours=2, bottom_neighbours=2, operation=OPERATIONS, merge=MERGES)
    of_graphs = {name: dimension.distribution for name, dimension in nago.distributions().items()}
    return {**of_graphs, **method_class("kd").distributions()}


def observe(params: Params, rng: np.random.Generator) -> Observation:
    """One noisy value: minus the squared distance from a point inside of the space, each side being 1 long."""
    positions = [_position(distribution, params[name]) for name, distribution in search_space().items()]
    return Observation(params, -sum((position - 0.3) ** 2 for position in positions) + NOISE * rng.normal())


def _position(distribution: BaseDistribution, value: Any) -> float:
    """0 for the first value, 1 for the last one."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices.index(value) / (len(distribution.choices) - 1)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return float((value - distribution.low) / (distribution.high - distribution.low))


def history(n: int, rng: np.random.Generator) -> list[Observation]:
    """Finished trials at random points."""
    draws = ({name: draw(distribution, rng) for name, distribution in search_space().items()} for _ in range(n))
    return [observe(params, rng) for params in draws]


class Optimiser(ABC):
    """An optimiser with a history, whose next proposals are timed.

    Attributes:
        period: Proposals from one fit of its model to the next.
    """

    period = 1

    @abstractmethod
    def turn(self, rng: np.random.Generator) -> None:
        """Asks for one point, and tells what it gave."""


class SamplerOptimiser(Optimiser):
    """An Optuna sampler on a study in memory."""

    def __init__(self, sampler: BaseSampler, finished: Sequence[Observation]) -> None:
        self.study = optuna.create_study(direction="maximize", sampler=sampler)
        space = dict(search_space())
        self.study.add_trials([optuna.create_trial(params=dict(p), distributions=space, value=v) for p, v in finished])

    def turn(self, rng: np.random.Generator) -> None:
        """Optuna's ask and tell."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # who names a sampler wants it
            trial = self.study.ask(dict(search_space()))
        self.study.tell(trial, observe(trial.params, rng).value)


class SmacOptimiser(Optimiser):
    """SMAC3's facade for hyper-parameters, without its initial design, in whose place the history stands."""

    period = 8  # `retrain_after` of the facade

    def __init__(self, finished: Sequence[Observation]) -> None:
        smac = imported("smac", "smac", "smac")
        self._history = imported("smac.runhistory", "smac", "smac")
        folder = tempfile.TemporaryDirectory()
        weakref.finalize(self, folder.cleanup)
        options = {
            "deterministic": True,
            "n_trials": 2 * len(finished) + 100,
            "seed": 0,
            "output_directory": folder.name,
        }
        scenario = smac.Scenario(_config_space(), **options)
        facade = smac.HyperparameterOptimizationFacade
        design = facade.get_initial_design(scenario, n_configs=0)
        target = {"target_function": lambda config, seed: 0.0, "overwrite": True, "logging_level": False}
        self.smac = facade(scenario, initial_design=design, **target)
        configuration = imported("ConfigSpace", "smac", "smac").Configuration
        for params, value in finished:
            info = self._history.TrialInfo(configuration(scenario.configspace, values=dict(params)), seed=0)
            self.smac.tell(info, self._history.TrialValue(-value), save=False)

    def turn(self, rng: np.random.Generator) -> None:
        """SMAC3's ask and tell."""
        info = self.smac.ask()
        self.smac.tell(info, self._history.TrialValue(-observe(dict(info.config), rng).value))


def _config_space() -> Any:
    """The search space as SMAC3 takes it."""
    config_space = imported("ConfigSpace", "smac", "smac")
    space = config_space.ConfigurationSpace(seed=0)
    for name, distribution in search_space().items():
        if isinstance(distribution, CategoricalDistribution):
            space.add(config_space.Categorical(name, distribution.choices))
        else:
            assert isinstance(distribution, FloatDistribution | IntDistribution)
            kind = config_space.Float if isinstance(distribution, FloatDistribution) else config_space.Integer
            space.add(kind(name, (distribution.low, distribution.high), log=distribution.log))
    return space


def make(name: str, finished: Sequence[Observation]) -> Optimiser:
    """A peer that knows some finished trials.

    Raises:
        PeerUnavailable: If it is not installed.
    """
    if name == "smac":
        return SmacOptimiser(finished)
    return SamplerOptimiser(make_sampler(name, search_space(), seed=0), finished)
