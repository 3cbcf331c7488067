"""What earlier tasks say of a point: a prior mean for this task's model, as strong as their ranking of its trials.

    m_i     posterior mean score of earlier task i at a point
    c       share of the pairs of this task's observations that m_i ranks as they are; ties count half
    n       number of these observations
    N       number of independent pairs that tell as much as all pairs: 9 n (n - 1) / (4 n + 10), which gives Kendall's
            tau = 2 c - 1 its variance where nothing is related (Kendall 1938)
    rho     correlation of m_i with this task's scores

[ours] Like RGPE (Feurer et al. 2018, https://arxiv.org/abs/1802.02219) this weights tasks by how they rank this one's
observations, since ranks are comparable where values are not. Unlike it, tasks do not compete with this task's own
model, which ranks hardly better than chance while its observations are few; and they enter as the mean of its prior, so
that every observation corrects them, not as further models of an ensemble whose variance is that of the earlier tasks.

Half of the prior probability is that a task is unrelated, rho = 0, and half is uniform over rho in (0, 1). A pair is
ranked rightly with probability 1/2 + asin(rho) / pi, if scores are normal, so that the likelihood of rho is that of
c N successes among N. A task is left out if it is more likely unrelated than not: this keeps many useless tasks from
diluting a useful one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp
from torch import Tensor

from autokd.optimizers.arrays import Array
from autokd.optimizers.earlier import EarlierTask
from autokd.optimizers.models.outcome_transforms import standardised
from autokd.optimizers.models.surrogate import TAILS, Surrogate, SurrogateConfig
from autokd.optimizers.space.features import NO_FEATURES, Description

__all__ = ["NO_MEMORY", "Memory", "PriorMean", "Relation", "relation"]

_CORRELATIONS = (np.arange(64) + 0.5) / 64
_MOST_OBSERVATIONS = 150  # of an earlier task in its model, drawn at random: a fit takes time cubic in their number
_SEED = 0
_LEAST_SPREAD = 1e-6  # of scores, which have deviation 1; below it points differ by rounding only


class Relation(NamedTuple):
    """How an earlier task is related to this one.

    Attributes:
        probability: Posterior probability that it is.
        correlation: Posterior mean of rho.
    """

    probability: float
    correlation: float


def relation(concordance: float, n: int) -> Relation:
    """Posterior of the relation of an earlier task; the prior if there are no two observations.

    Args:
        concordance: c, in [0, 1].
        n: n.
    """
    if n < 2:
        return Relation(0.5, 0.25)
    informative = 9 * n * (n - 1) / (4 * n + 10)
    right = 0.5 + np.arcsin(_CORRELATIONS) / np.pi
    logs = informative * (concordance * np.log(2 * right) + (1 - concordance) * np.log(2 * (1 - right)))
    total = logsumexp(logs)
    probability = 1 / (1 + np.exp(np.log(len(logs)) - total))
    return Relation(float(probability), float(probability * np.exp(logs - total) @ _CORRELATIONS))


@dataclass(frozen=True)
class _EarlierModel:
    """The model of one objective of an earlier task."""

    task: EarlierTask
    surrogate: Surrogate

    def scores(self, points: Tensor) -> Array:
        """m_i at codes `n x d`, `n`."""
        mean: Array = self.surrogate.mean(self.task.seen_from_here(points)).numpy()
        return mean


@dataclass(frozen=True)
class PriorMean:
    """The prior mean of this task's scores: a weighted sum of the earlier tasks' scores.

    Attributes:
        models: The models of the tasks that count.
        weights: Their weights, `t`.
        shift: Number that is added, so that the mean over this task's observations is 0.
    """

    models: tuple[_EarlierModel, ...]
    weights: Array
    shift: float

    def __call__(self, points: Tensor) -> Array:
        """Prior mean at codes `n x d`, `n`."""
        return _weighted(self.models, self.weights, points) + self.shift


class Memory:
    """The earlier tasks with their models, which are fitted when they are first needed.

    Args:
        tasks: The earlier tasks in the coordinates of this one.
        categories: Number of choices of each coordinate as in `Encoding.categories`.
        description: Features of points.
    """

    def __init__(
        self, tasks: Sequence[EarlierTask] = (), categories: Sequence[int] = (), description: Description = NO_FEATURES
    ) -> None:
        self.tasks = tuple(tasks)
        self._categories = categories
        self._description = description
        self._models = cache(self._fitted)

    def prior_mean(self, X: Tensor, y: Tensor, objective: int, config: SurrogateConfig) -> PriorMean | None:
        """Prior mean for the model of one objective; None if no earlier task counts.

        It has the scale of standardised scores, times the correlation that is to be expected.

        Args:
            X: This task's observed points, `n x d`, or `n x (d + 1)` with the step in the last column.
            y: Observed values, `n`.
            objective: Index of the objective.
            config: Outcome transform and priors of the model.
        """
        points = X[:, : len(self._categories)]
        counting = self._counting(X, y, objective, config)
        if not counting:
            return None
        models, weights = zip(*((model, share / model.scores(points).std()) for model, share in counting), strict=True)
        total = _weighted(models, np.array(weights), points)
        scale = relation(*concordance(total, y.numpy(), _steps(X, points))).correlation / (total.std() or 1.0)
        return PriorMean(models, scale * np.array(weights), float(-scale * total.mean()))

    def merits(self, X: Tensor, Y: Tensor, points: Tensor) -> Array | None:
        """How good points should be by the earlier tasks that count, `n`; None if there are none.

        It is the sum of the standardised scores over tasks and objectives, weighted by the expected correlations.

        Args:
            X: This task's observed points as in `prior_mean`, perhaps none.
            Y: Observed values, `n x objectives`.
            points: Codes, `m x d`.
        """
        merits = [
            share * standardised(model.scores(points))
            for objective in range(Y.shape[1])
            for model, share in self._counting(X, Y[:, objective], objective, TAILS)
        ]
        return np.sum(merits, axis=0) if merits else None

    def _counting(
        self, X: Tensor, y: Tensor, objective: int, config: SurrogateConfig
    ) -> list[tuple[_EarlierModel, float]]:
        """The models of the tasks that are more likely related than not, with the expected correlations."""
        points = X[:, : len(self._categories)]
        found = []
        for model in self._models(objective, config):
            scores = model.scores(points)
            related = relation(*concordance(scores, y.numpy(), _steps(X, points)))
            if related.probability >= 0.5 and (len(points) == 0 or scores.std() > _LEAST_SPREAD):
                found.append((model, related.correlation))
        return found

    def _fitted(self, objective: int, config: SurrogateConfig) -> tuple[_EarlierModel, ...]:
        return tuple(self._model(task, objective, config) for task in self.tasks)

    def _model(self, task: EarlierTask, objective: int, config: SurrogateConfig) -> _EarlierModel:
        history = task.history
        some = np.sort(np.random.default_rng(_SEED).permutation(len(history.X))[:_MOST_OBSERVATIONS])
        X, y = history.X[some], history.Y[some, objective]
        return _EarlierModel(task, Surrogate.fit(X, y, self._categories, history.has_steps, config, self._description))


NO_MEMORY = Memory()
"""The memory of a study that learns from no other."""


def concordance(scores: Array, values: Array, steps: Array) -> tuple[float, int]:
    """Share c of the pairs of observations that scores rank as they are, and their number n.

    Only observations at the same step are compared; of several steps, n is that of the step with the most.

    Args:
        scores: Scores of an earlier task, `n`.
        values: Observed values, `n`.
        steps: Steps of the observations, `n`.
    """
    if not len(values):
        return 0.5, 0
    pairs = np.triu(steps[:, None] == steps, 1)
    agreement = np.sign(scores[:, None] - scores) * np.sign(values[:, None] - values)
    share = (1 + agreement[pairs].mean()) / 2 if pairs.any() else 0.5
    return float(share), int(np.unique(steps, return_counts=True)[1].max())


def _steps(X: Tensor, points: Tensor) -> Array:
    """Step of each observation, `n`; zeros if all are of one step."""
    steps: Array = X[:, points.shape[1] :].sum(dim=1).numpy()
    return steps


def _weighted(models: Sequence[_EarlierModel], weights: Array, points: Tensor) -> Array:
    total: Array = weights @ np.stack([model.scores(points) for model in models])
    return total
