"""Outcome transforms: an objective's values as scores that a Gaussian process can fit.

Scores have mean 0, standard deviation 1 and no long tails. All transforms are increasing, so the best value has the
best score.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from autokd.optimizers.arrays import Array

__all__ = ["OutcomeTransform", "compressed", "ranked", "standardised"]


def standardised(values: Array) -> Array:
    """The values minus their mean, divided by their standard deviation, `n`; zeros if all are equal."""
    if np.ptp(values) == 0:
        return np.zeros(len(values))  # from their mean they may differ by rounding
    scores: Array = (values - values.mean()) / (values.std() or 1.0)
    return scores


LARGEST = 1e100
"""Values in units of the good ones' differences are cut to this, so that sums of their squares are finite."""


def ranked(values: Array) -> Array:
    """Normal scores of the values, `n`: standardised normal quantiles of the ranks, equal for equal values.

    The scores are normally distributed whatever the distribution of the values, since only the order of these counts.
    """
    return standardised(ndtri((rankdata(values) - 0.5) / len(values)))


def compressed(values: Array) -> Array:
    """The values, unchanged above their median and on a logarithmic scale below it, then standardised, `n`.

    Differences between bad values carry little information about good ones: a network that did not learn is as bad as
    one that diverged.
    """
    middle = np.median(values)
    above = values[values > middle]
    unit = (above - middle).mean() if len(above) else 1.0
    with np.errstate(over="ignore"):
        shifted = np.clip((values - middle) / unit, -LARGEST, LARGEST)
    return standardised(np.where(shifted < 0, -np.log1p(-np.minimum(shifted, 0)), shifted))


@dataclass(frozen=True)
class OutcomeTransform:
    """An outcome transform fitted to some values, and its inverse.

    Attributes:
        transformed: Scores of the values, `n`.
        values: Distinct values, increasing, `k`.
        scores: Scores of the distinct values, `k`.
    """

    transformed: Array
    values: Array
    scores: Array

    @classmethod
    def of(cls, values: Array, scale: Callable[[Array], Array]) -> "OutcomeTransform":
        """Transform fitted to at least one value; `scale` computes the scores of all values at once."""
        scores = scale(values)
        different, first = np.unique(values, return_index=True)
        return cls(scores, different, scores[first])

    @property
    def slope(self) -> float:
        """Mean increase of the score per unit of the value in the better half of the values; 1 if all are equal."""
        middle = (len(self.values) - 1) // 2
        rise, run = self.scores[-1] - self.scores[middle], self.values[-1] - self.values[middle]
        return float(rise / run) if run else 1.0

    def value(self, scores: Array) -> Array:
        """Values at any scores, same shape.

        They are interpolated linearly between the fitted scores. Above them they are extrapolated with the slope of the
        better half, below with the mean slope: one network that learnt nothing tells nothing of what the best may gain.
        """
        return _interpolated(scores, self.scores, self.values, 1 / self.slope)

    def score(self, values: Array) -> Array:
        """Scores at any values, same shape: the inverse of `value`."""
        return _interpolated(values, self.values, self.scores, self.slope)


def _interpolated(at: Array, x: Array, y: Array, above: float) -> Array:
    inside = np.clip(at, x[0], x[-1])
    below = (y[-1] - y[0]) / (x[-1] - x[0]) if len(x) > 1 else 1.0
    found: Array = np.interp(inside, x, y) + np.where(at > inside, above, below) * (at - inside)
    return found
