"""The peers that learn least: random search, and evolution."""

from collections import deque

import numpy as np
from grids import choices, decoded, is_continuum
from optuna.distributions import BaseDistribution
from peers import Peer, Proposal
from tasks import Measurement, Params, Task

__all__ = ["RandomSearch", "RegularisedEvolution"]

POPULATION = 25
TOURNAMENT = 8


class RandomSearch(Peer):
    """Random points, none twice."""

    def __init__(self, task: Task, seed: int, workers: int) -> None:
        self._task = task
        self._rows = np.random.default_rng(seed).permutation(task.size)
        self._n_asked = 0

    def ask(self) -> Proposal:
        """The next point of a random order of the whole space."""
        number = self._n_asked
        self._n_asked += 1
        return Proposal(number, self._task.params(int(self._rows[number % self._task.size])))

    def tell(self, number: int, measurement: Measurement) -> None:
        """Nothing is learned."""


class RegularisedEvolution(Peer):
    """Ageing evolution, Real et al. 2019, https://arxiv.org/abs/1802.01548, algorithm 1, asynchronous.

    The first `POPULATION` points are random. Then the best of `TOURNAMENT` of the `POPULATION` youngest finished points
    is the parent of the next, which differs from it in one parameter. A point may come twice. Points that keep the
    limits are better than those that break them, and of these the one that breaks them least is best (Deb 2000,
    https://doi.org/10.1016/S0045-7825(99)00389-8).
    """

    def __init__(self, task: Task, seed: int, workers: int) -> None:
        self._task = task
        self._rng = np.random.default_rng(seed)
        self._proposed: list[Params] = []
        self._population: deque[tuple[Measurement, Params]] = deque(maxlen=POPULATION)

    def ask(self) -> Proposal:
        """A random point or a child."""
        beginning = len(self._proposed) < POPULATION or not self._population
        params = self._task.params(int(self._rng.integers(self._task.size))) if beginning else self._child()
        self._proposed.append(params)
        return Proposal(len(self._proposed) - 1, params)

    def tell(self, number: int, measurement: Measurement) -> None:
        """The newcomer takes the oldest one's place."""
        self._population.append((measurement, self._proposed[number]))

    def _child(self) -> dict[str, object]:
        n_candidates = min(TOURNAMENT, len(self._population))
        candidates = self._rng.choice(len(self._population), n_candidates, replace=False)
        _, parent = max((self._population[index] for index in candidates), key=lambda member: _fitness(member[0]))
        name = self._rng.choice(list(self._task.space))
        return {**parent, name: self._other(self._task.space[name], parent.get(name))}

    def _other(self, distribution: BaseDistribution, value: object) -> object:
        """A value of a parameter that is not this one, each as likely."""
        if is_continuum(distribution):
            return decoded(distribution, float(self._rng.random()))
        others = [choice for choice in choices(distribution) if choice != value]
        return others[self._rng.integers(len(others))]


def _fitness(measurement: Measurement) -> tuple[float, float]:
    return -measurement.violation, measurement.value
