"""Acquisition functions: expected improvement, and expected hypervolume improvement of several objectives.

Constraints that are measured with the objective have one model each. The expected improvement is multiplied by the
probability that all constraints hold (Schonlau et al. 1998; Gardner et al. 2014,
https://proceedings.mlr.press/v32/gardner14.html). As long as no feasible trial is known, that probability alone is the
acquisition function. All values are logarithms.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy.special import log_ndtr
from torch import Tensor

from autokd.optimizers.arrays import Array
from autokd.optimizers.history import History
from autokd.optimizers.hypervolume import (
    boxes,
    exclusive_hypervolume,
    front,
    log_expected_hypervolume_improvement,
    reference_point,
)
from autokd.optimizers.models.prior_mean import NO_MEMORY, Memory
from autokd.optimizers.models.surrogate import PLAIN, SURROGATE_CONFIGS, TAILS, Surrogate, SurrogateConfig
from autokd.optimizers.space.encoding import Key, keys, nearest, unseen
from autokd.optimizers.space.features import NO_FEATURES, Description

__all__ = [
    "Acquisition",
    "AcquisitionFunction",
    "acquisition_function",
    "constrained_observations",
    "feasible_first",
    "feasible_volumes",
    "front_reference",
    "observations",
    "pending_points",
]

_MAX_OBSERVATIONS = 400
"""Most observations in a model, since a fit takes time cubic in their number. If there are more, those nearest to the
best feasible trial, or to the front of several objectives, are kept: the model must be accurate only where the search
continues."""

_MAX_WITH_STEPS = 150
"""The same if trials report at several steps, or are so many that a history is a part of them. Then most trials are
cheap, so proposals must be, too. On recorded learning curves 400 were no better."""

_MAX_PENDING = 64
"""Most pending points on which a model is conditioned where a history is a part: those nearest to the best trial. The
time is cubic in their number, too, and none of the others is proposed again."""

_LIKELY = math.log(0.5)
_N_REPEATED = 30  # best tried points that are considered for another observation


class AcquisitionFunction(Protocol):
    """Value of observing a point, given the finished trials and the model's expectation of the pending ones."""

    @property
    def lengthscales(self) -> Tensor:
        """Length scales of the model, `d`."""

    def merit(self, points: Tensor) -> Tensor:
        """Quality of tried points, `n`, from which the centre of a trust region is chosen; larger is better."""

    def log_value(self, points: Tensor) -> Tensor:
        """Logarithm of the acquisition value of new points, `n`."""

    def repeated(self) -> tuple[Tensor, Tensor]:
        """Tried points that may deserve another observation, `n x d`, and their log acquisition values, `n`."""


Acquisition = Callable[
    [History, Sequence[int], int, bool, Sequence[float] | None, Description, Memory], AcquisitionFunction
]
"""Makes the acquisition function for a trial, see `acquisition_function`."""


def acquisition_function(
    history: History,
    categories: Sequence[int],
    number: int,
    repeats: bool,
    reference: Sequence[float] | None,
    description: Description = NO_FEATURES,
    memory: Memory = NO_MEMORY,
) -> AcquisitionFunction:
    """Acquisition function for trial `number`.

    Args:
        history: All other trials, of which at least one is observed.
        categories: Number of choices of each coordinate, as in `Encoding.categories`.
        number: Number of the trial. It selects the model of a single objective: `SURROGATE_CONFIGS` alternate.
        repeats: Whether tried points may be proposed again.
        reference: Reference point of several objectives, with signs such that larger is better; inferred if None.
        description: Features of points.
        memory: What is known of earlier tasks.
    """
    n_objectives = history.Y.shape[1]
    configs = [SURROGATE_CONFIGS[number % len(SURROGATE_CONFIGS)]] if n_objectives == 1 else [TAILS] * n_objectives
    seen = observations(history, categories)
    models = [_surrogate(history, seen, j, categories, config, description, memory) for j, config in enumerate(configs)]
    limits = _limits(history, categories, description)
    if n_objectives == 1:
        return _Improvement.of(models[0], limits, history, pending_points(history, categories), repeats)
    return _FrontImprovement.of(models, limits, history, reference)


def observations(history: History, categories: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Points and values of the observations in a model, as in `History`: all, or those nearest to the best trials.

    Args:
        history: All other trials.
        categories: Number of choices of each coordinate, as in `Encoding.categories`.
    """
    most = _MAX_WITH_STEPS if history.has_steps or history.is_part else _MAX_OBSERVATIONS
    near = _nearest(history, history.X[:, : len(categories)], categories, most)
    return history.X[near], history.Y[near]


def constrained_observations(history: History, categories: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Points, `n x d`, and values, `n`, of the observations in the model of each measured constraint.

    Args:
        history: All other trials.
        categories: Number of choices of each coordinate, as in `Encoding.categories`.
    """
    for j in range(history.excesses.shape[1]):
        reported = ~history.excesses[:, j].isnan()
        X, excesses = history.finished[reported], history.excesses[reported, j]
        near = _nearest(history, X, categories, _MAX_WITH_STEPS if history.is_part else _MAX_OBSERVATIONS)
        yield X[near], excesses[near]


def pending_points(history: History, categories: Sequence[int]) -> Tensor:
    """The pending points on which a model is conditioned, `p x d`: all, or those nearest to the best trial.

    Args:
        history: All other trials.
        categories: Number of choices of each coordinate, as in `Encoding.categories`.
    """
    most = _MAX_PENDING if history.is_part else len(history.pending)
    return history.pending[_nearest(history, history.pending, categories, most)]


def front_reference(history: History, reference: Sequence[float] | None) -> Array:
    """Reference point of several objectives, `m`: the given one, or one that follows from the feasible trials, if any.

    Args:
        history: All other trials.
        reference: The given one, with signs such that larger is better.
    """
    known = history.final[history.feasible] if history.feasible.any() else history.Y
    return reference_point(known.numpy(), reference)


def feasible_first(mean: Tensor, log_probability: Tensor) -> Tensor:
    """The means, but below every mean for points that are probably infeasible, the lower the less probable.

    Args:
        mean: Posterior means, `n`.
        log_probability: Logarithms of the probabilities that all constraints hold, `n`.
    """
    return torch.where(log_probability >= _LIKELY, mean, mean.min() + log_probability)


def feasible_volumes(means: Array, reference: Array, log_probability: Tensor) -> Tensor:
    """Exclusive hypervolumes, as in MORBO (Daulton et al. 2022), of probably feasible points among such, others below.

    Args:
        means: Posterior means of the objectives, `n x m`.
        reference: The reference point, `m`.
        log_probability: Logarithms of the probabilities that all constraints hold, `n`.
    """
    likely = log_probability >= _LIKELY
    volumes = torch.zeros(len(means), dtype=torch.float64)
    volumes[likely] = torch.from_numpy(exclusive_hypervolume(means[likely.numpy()], reference))
    return feasible_first(volumes, log_probability)


def _surrogate(
    history: History,
    seen: tuple[Tensor, Tensor],
    j: int,
    categories: Sequence[int],
    config: SurrogateConfig,
    description: Description,
    memory: Memory,
) -> Surrogate:
    """The model of objective `j`, with the length scales that fit the basis if there is one.

    Args:
        history: The history.
        seen: Its observations.
        j: Number of the objective.
        categories: Numbers of categories, as in `acquisition_function`.
        config: Configuration of the model.
        description: Features of points.
        memory: What earlier tasks tell.
    """
    X, y = seen[0], seen[1][:, j]
    prior_mean = memory.prior_mean(X, y, j, config)
    if history.basis is None:
        return Surrogate.fit(X, y, categories, history.has_steps, config, description, prior_mean)
    fitted = history.basis.once(
        (j, config, memory),
        lambda basis: _surrogate(basis, observations(basis, categories), j, categories, config, description, memory),
    )
    return fitted.of_others(X, y, config, prior_mean)


@dataclass(frozen=True)
class _Limits:
    """Models of the measured constraints, one for each."""

    models: tuple[Surrogate, ...]

    def log_probability(self, points: Tensor) -> Tensor:
        """Logarithm of the probability that a point satisfies all constraints, `n`."""
        total = torch.zeros(len(points), dtype=torch.float64)
        for model in self.models:
            mean, deviation = model.estimates(points)
            threshold = model.transform.score(np.zeros(1))[0]
            spread = (deviation.square() + model.process.noise).sqrt()
            total += torch.from_numpy(log_ndtr(((threshold - mean) / spread).numpy()))
        return total


def _limits(history: History, categories: Sequence[int], description: Description) -> _Limits:
    constraints = constrained_observations(history, categories)
    return _Limits(tuple(Surrogate.fit(X, y, categories, False, PLAIN, description) for X, y in constraints))


def _nearest(history: History, points: Tensor, categories: Sequence[int], most: int) -> Tensor:
    """Indices of at most `most` of the points, `n x d`: those nearest to one of the best trials, in their order."""
    if len(points) <= most:
        return torch.arange(len(points))
    return nearest(points, history.finished[_best_trials(history)], categories, most)


def _best_trials(history: History) -> list[int]:
    """Indices of the best feasible finished trial, or of the front of several objectives; without any, the newest."""
    if history.final.shape[1] > 1:
        feasible = history.feasible.nonzero().flatten()
        best = feasible[torch.from_numpy(front(history.final[feasible].numpy()))].tolist()
        return best or [len(history.finished) - 1]
    values = [(outcome.value, i) for i, outcome in enumerate(history.outcomes) if outcome.value is not None]
    return [max(values)[1] if values else len(history.finished) - 1]


@dataclass(frozen=True)
class _Improvement:
    """Expected improvement of one objective over the best posterior mean of the feasible finished trials."""

    model: Surrogate
    conditioned: Surrogate
    limits: _Limits
    tried: Tensor
    barred: frozenset[Key]
    best: float | None
    repeats: bool

    @classmethod
    def of(cls, model: Surrogate, limits: _Limits, history: History, pending: Tensor, repeats: bool) -> "_Improvement":
        # Pruned trials count, too: the model predicts their values at the last step.
        possible = ~(history.excesses > 0).any(dim=1)
        tried = history.finished[possible]
        means = model.mean(tried)
        order = means.argsort(descending=True, stable=True)
        best = float(means.max()) if len(means) else None
        # A trial that was stopped early would be stopped again, and the model would learn nothing from it.
        stopped = history.finished[history.final.isnan().any(dim=1)]
        barred = frozenset(keys(torch.cat([history.pending, stopped])))
        return cls(model, model.condition_on_pending(pending), limits, tried[order], barred, best, repeats)

    @property
    def lengthscales(self) -> Tensor:
        return self.model.lengthscales

    def merit(self, points: Tensor) -> Tensor:
        """Posterior mean, of feasible points first."""
        return feasible_first(self.model.mean(points), self.limits.log_probability(points))

    def log_value(self, points: Tensor) -> Tensor:
        value = self.limits.log_probability(points)
        return value if self.best is None else value + self.conditioned.log_expected_improvement(points, self.best)

    def repeated(self) -> tuple[Tensor, Tensor]:
        points = unseen(self.tried, ())[:_N_REPEATED]
        if not self.repeats or len(points) < 2:
            return points[:0], torch.empty(0, dtype=torch.float64)
        idle = [row for row, key in enumerate(keys(points)) if key not in self.barred]
        return points[idle], self.conditioned.log_knowledge_gradient(points)[idle]


@dataclass(frozen=True)
class _FrontImprovement:
    """Expected hypervolume improvement over the front of the posterior means of the feasible finished trials."""

    models: tuple[Surrogate, ...]
    conditioned: tuple[Surrogate, ...]
    limits: _Limits
    front: Array
    reference: Array

    @classmethod
    def of(
        cls, models: Sequence[Surrogate], limits: _Limits, history: History, reference: Sequence[float] | None
    ) -> "_FrontImprovement":
        means = _means(models, history.finished[history.feasible])
        point = front_reference(history, reference)
        scaled = np.array([float(model.transform.score(point[j : j + 1])[0]) for j, model in enumerate(models)])
        conditioned = tuple(model.condition_on_pending(history.pending) for model in models)
        return cls(tuple(models), conditioned, limits, means[front(means)], scaled)

    @property
    def lengthscales(self) -> Tensor:
        return torch.stack([model.lengthscales.log() for model in self.models]).mean(dim=0).exp()

    def merit(self, points: Tensor) -> Tensor:
        return feasible_volumes(_means(self.models, points), self.reference, self.limits.log_probability(points))

    def log_value(self, points: Tensor) -> Tensor:
        if self.limits.models and not len(self.front):
            return self.limits.log_probability(points)
        estimates = [model.estimates(points) for model in self.conditioned]
        mean = torch.stack([mean for mean, _ in estimates], dim=1).numpy()
        deviation = torch.stack([deviation for _, deviation in estimates], dim=1).numpy()
        value = log_expected_hypervolume_improvement(mean, deviation, *boxes(self.front, self.reference))
        return torch.from_numpy(value) + self.limits.log_probability(points)

    def repeated(self) -> tuple[Tensor, Tensor]:
        n_coordinates = len(self.lengthscales)
        return torch.empty(0, n_coordinates, dtype=torch.float64), torch.empty(0, dtype=torch.float64)


def _means(models: Sequence[Surrogate], points: Tensor) -> Array:
    return torch.stack([model.mean(points) for model in models], dim=1).numpy()
