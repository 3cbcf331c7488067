"""Regularised evolution as an Optuna sampler."""

from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from autokd.core.seeds import derive

__all__ = ["RegularisedEvolution"]

POPULATION, TOURNAMENT = 16, 4
"""[ours] A search of this benchmark has few trials: larger ones would leave no room for children."""
ATTEMPTS = 20  # at a value other than the parent's


class RegularisedEvolution(BaseSampler):
    """Ageing evolution, Real et al. 2019, https://arxiv.org/abs/1802.01548, algorithm 1.

    The first `POPULATION` trials are random. Then the best of `TOURNAMENT` random ones of the `POPULATION` youngest
    finished trials is the parent of the next, which differs from it in one parameter; parameters that exist only for
    the new value are random. It keeps no state: equal trials and seeds give equal proposals.

    Args:
        seed: Seed of all proposals.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = RandomSampler(seed)
        self._parent: dict[str, Any] = {}
        self._mutated = ""

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Choose the parent of a trial and the parameter in which they differ."""
        rng = np.random.default_rng(derive(self._seed, trial.number, "evolution"))
        self._random = RandomSampler(derive(self._seed, trial.number, "values") % 2**32)
        finished = [other for other in study.get_trials(deepcopy=False) if _value(other) is not None]
        youngest = sorted(finished, key=lambda other: other.number)[-POPULATION:]
        self._parent, self._mutated = {}, ""
        if len(youngest) == POPULATION:
            chosen = rng.choice(POPULATION, TOURNAMENT, replace=False)
            self._parent = dict(
                max((youngest[index] for index in chosen), key=lambda other: _value(other) or 0.0).params
            )
            self._mutated = str(rng.choice(sorted(self._parent)))

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Nothing: parameters are sampled one by one."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing: parameters are sampled one by one."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The parent's value, or a random one of the parameter that is mutated or that the parent lacks."""
        if param_name in self._parent and param_name != self._mutated:
            return self._parent[param_name]
        for _ in range(ATTEMPTS):
            value = self._random.sample_independent(study, trial, param_name, param_distribution)
            if value != self._parent.get(param_name):
                break
        return value


def _value(trial: FrozenTrial) -> float | None:
    return trial.value if trial.state == TrialState.COMPLETE else None
