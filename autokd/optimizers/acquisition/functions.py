"""What a search wants of its next point: to improve on the best, or on the front of several objectives, within limits.

Limits that are measured with the objective are learned by a model each; of an improvement that may break them counts
what is expected of it times the probability that it breaks none (Schonlau et al. 1998; Gardner et al. 2014,
https://proceedings.mlr.press/v32/gardner14.html), and while nothing feasible is known that probability alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy.special import log_ndtr
from torch import Tensor

from autokd.optimizers.arrays import Array
from autokd.optimizers.history import History
from autokd.optimizers.hypervolume import boxes, front, hypervolume, reference_point
from autokd.optimizers.hypervolume import log_expected_improvement as log_expected_hypervolume_improvement
from autokd.optimizers.models.surrogate import PLAIN, SURROGATE_CONFIGS, TAILS, Surrogate
from autokd.optimizers.space.encoding import Key, keys, unseen
from autokd.optimizers.space.features import NOTHING, Description

__all__ = ["AcquisitionFunction", "acquisition_function"]

_MAX_OBSERVATIONS = 400
"""Observations in a model. A fit takes the cube of this; beyond it those nearest to the best feasible trial are kept,
since a model need only be right where the search goes on."""

_MAX_WITH_STEPS = 150
"""The same where trials report at several steps. There most trials are cheap, and a proposal must be, too. On recorded
learning curves 400 were no better."""

_LIKELY = math.log(0.5)
_N_REPEATED = 30  # of the tried points, the best are considered for another observation


class AcquisitionFunction(Protocol):
    """What points are worth, given the finished trials and beliefs about the others."""

    @property
    def lengthscales(self) -> Tensor:
        """The model's, `d`."""

    def merit(self, points: Tensor) -> Tensor:
        """How good tried points are, to choose a region's centre among them, `n`."""

    def log_worth(self, points: Tensor) -> Tensor:
        """Of trying new points, `n`."""

    def repeated(self) -> tuple[Tensor, Tensor]:
        """Tried points that may be worth another observation, `n x d`, and the logarithms of that worth, `n`."""


def acquisition_function(
    history: History,
    categories: Sequence[int],
    number: int,
    repeats: bool,
    reference: Sequence[float] | None,
    description: Description = NOTHING,
) -> AcquisitionFunction:
    """The goal of trial `number`.

    Args:
        history: All other trials, one observed at least.
        categories: As in `Encoding.categories`.
        number: By it, the models' configurations for a single objective are taken in turn.
        repeats: Whether another observation of a tried point can be worth something.
        reference: Reference point of several objectives, turned so that larger is better; None infers it.
        description: What is known of points beside their codes.
    """
    n_objectives = history.Y.shape[1]
    configs = [SURROGATE_CONFIGS[number % len(SURROGATE_CONFIGS)]] if n_objectives == 1 else [TAILS] * n_objectives
    most = _MAX_WITH_STEPS if history.has_steps else _MAX_OBSERVATIONS
    near = _nearest(history, history.X[:, : len(categories)], categories, most)
    X, Y = history.X[near], history.Y[near]
    models = [
        Surrogate.fit(X, Y[:, j], categories, history.has_steps, config, description)
        for j, config in enumerate(configs)
    ]
    limits = _limits(history, categories, description)
    if n_objectives == 1:
        return _Improvement.of(models[0], limits, history, repeats)
    return _FrontImprovement.of(models, limits, history, reference)


@dataclass(frozen=True)
class _Limits:
    """Models of what is measured and limited, one a limit."""

    models: tuple[Surrogate, ...]

    def log_probability(self, points: Tensor) -> Tensor:
        """Logarithm of the probability that each point keeps all limits, `n`."""
        total = torch.zeros(len(points), dtype=torch.float64)
        for model in self.models:
            mean, deviation = model.estimates(points)
            kept = model.scores.score(np.zeros(1))[0]
            spread = (deviation.square() + model.process.noise).sqrt()
            total += torch.from_numpy(log_ndtr(((kept - mean) / spread).numpy()))
        return total


def _limits(history: History, categories: Sequence[int], description: Description) -> _Limits:
    models = []
    for j in range(history.excesses.shape[1]):
        told = ~history.excesses[:, j].isnan()
        X, excesses = history.finished[told], history.excesses[told, j]
        near = _nearest(history, X, categories, _MAX_OBSERVATIONS)
        models.append(Surrogate.fit(X[near], excesses[near], categories, False, PLAIN, description))
    return _Limits(tuple(models))


def _nearest(history: History, points: Tensor, categories: Sequence[int], most: int) -> Tensor:
    """Indices of the points, `n x d`, to learn from, in their order."""
    if len(points) <= most:
        return torch.arange(len(points))
    worth = [(outcome.value, i) for i, outcome in enumerate(history.outcomes) if outcome.value is not None]
    difference = points - history.finished[max(worth)[1] if worth else -1]
    categorical = torch.tensor([n > 0 for n in categories])
    distance = torch.where(categorical, (difference != 0).double(), difference.square()).sum(dim=1)
    return distance.argsort(stable=True)[:most].sort().values


@dataclass(frozen=True)
class _Improvement:
    """Of one objective, over the best posterior mean of the feasible finished trials."""

    model: Surrogate
    believer: Surrogate
    limits: _Limits
    tried: Tensor
    barred: frozenset[Key]
    best: float | None
    repeats: bool

    @classmethod
    def of(cls, model: Surrogate, limits: _Limits, history: History, repeats: bool) -> "_Improvement":
        # Pruned trials count, too: the model knows what they would have been worth at the last step.
        possible = ~(history.excesses > 0).any(dim=1)
        tried = history.finished[possible]
        means = model.mean(tried)
        order = means.argsort(descending=True, stable=True)
        best = float(means.max()) if len(means) else None
        # What was stopped early would be stopped again, and the model would learn nothing from it.
        stopped = history.finished[history.final.isnan().any(dim=1)]
        barred = frozenset(keys(torch.cat([history.pending, stopped])))
        return cls(model, model.believe(history.pending), limits, tried[order], barred, best, repeats)

    @property
    def lengthscales(self) -> Tensor:
        return self.model.lengthscales

    def merit(self, points: Tensor) -> Tensor:
        """The posterior mean; less than any for points that probably break a limit, the worse the more probably."""
        mean, kept = self.model.mean(points), self.limits.log_probability(points)
        return torch.where(kept >= _LIKELY, mean, mean.min() + kept)

    def log_worth(self, points: Tensor) -> Tensor:
        worth = self.limits.log_probability(points)
        return worth if self.best is None else worth + self.believer.log_expected_improvement(points, self.best)

    def repeated(self) -> tuple[Tensor, Tensor]:
        points = unseen(self.tried, ())[:_N_REPEATED]
        if not self.repeats or len(points) < 2:
            return points[:0], torch.empty(0, dtype=torch.float64)
        idle = [row for row, key in enumerate(keys(points)) if key not in self.barred]
        return points[idle], self.believer.log_worth_of_repeating(points)[idle]


@dataclass(frozen=True)
class _FrontImprovement:
    """Of several objectives: expected hypervolume over the front of the feasible finished trials' posterior means."""

    models: tuple[Surrogate, ...]
    believers: tuple[Surrogate, ...]
    limits: _Limits
    front: Array
    reference: Array

    @classmethod
    def of(
        cls, models: Sequence[Surrogate], limits: _Limits, history: History, reference: Sequence[float] | None
    ) -> "_FrontImprovement":
        feasible = history.feasible
        means = _means(models, history.finished[feasible])
        known = history.final[feasible] if feasible.any() else history.Y
        point = reference_point(known.numpy(), reference)
        scaled = np.array([float(model.scores.score(point[j : j + 1])[0]) for j, model in enumerate(models)])
        believers = tuple(model.believe(history.pending) for model in models)
        return cls(tuple(models), believers, limits, means[front(means)], scaled)

    @property
    def lengthscales(self) -> Tensor:
        return torch.stack([model.lengthscales.log() for model in self.models]).mean(dim=0).exp()

    def merit(self, points: Tensor) -> Tensor:
        """Hypervolume that no other of the points gives, as in MORBO (Daulton et al. 2022)."""
        means = _means(self.models, points)
        merit = np.zeros(len(means))
        best = np.flatnonzero(front(means))
        everything = hypervolume(means[best], self.reference)
        for place in best:
            merit[place] = everything - hypervolume(means[best[best != place]], self.reference)
        return torch.from_numpy(merit)

    def log_worth(self, points: Tensor) -> Tensor:
        estimates = [believer.estimates(points) for believer in self.believers]
        mean = torch.stack([mean for mean, _ in estimates], dim=1).numpy()
        deviation = torch.stack([deviation for _, deviation in estimates], dim=1).numpy()
        worth = log_expected_hypervolume_improvement(mean, deviation, *boxes(self.front, self.reference))
        return torch.from_numpy(worth) + self.limits.log_probability(points)

    def repeated(self) -> tuple[Tensor, Tensor]:
        n_coordinates = len(self.lengthscales)
        return torch.empty(0, n_coordinates, dtype=torch.float64), torch.empty(0, dtype=torch.float64)


def _means(models: Sequence[Surrogate], points: Tensor) -> Array:
    return torch.stack([model.mean(points) for model in models], dim=1).numpy()
