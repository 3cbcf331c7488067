"""Values of an objective as scores that a Gaussian process can learn: without long tails, of mean 0 and deviation 1.

Larger values have larger scores, so that what is best by one is best by the other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from autokd.optimizers.arrays import Array

__all__ = ["OutcomeTransform", "compressed", "ranked", "standardised"]


def standardised(values: Array) -> Array:
    """The values less their mean, over their standard deviation, `n`; zeros if they are equal."""
    scores: Array = (values - values.mean()) / (values.std() or 1.0)
    return scores


def ranked(values: Array) -> Array:
    """Normal scores, `n`: the normal quantiles of the ranks, equal for equal values.

    Whatever the distribution of the values, that of their scores is normal; only their order counts.
    """
    return standardised(ndtri((rankdata(values) - 0.5) / len(values)))


def compressed(values: Array) -> Array:
    """The values as they are above their median, and on a logarithmic scale below it, standardised, `n`.

    How bad the bad ones are says little about the good ones; a network that did not learn is as good as one that
    diverged.
    """
    middle = np.median(values)
    above = values[values > middle]
    unit = (above - middle).mean() if len(above) else 1.0
    shifted = (values - middle) / unit
    return standardised(np.where(shifted < 0, -np.log1p(-np.minimum(shifted, 0)), shifted))


@dataclass(frozen=True)
class OutcomeTransform:
    """The scores of some values, and the values of other scores.

    Attributes:
        of_values: OutcomeTransform, `n`.
        values: The different values, increasing, `k`.
        scores: Theirs, `k`.
    """

    of_values: Array
    values: Array
    scores: Array

    @classmethod
    def of(cls, values: Array, scale: Callable[[Array], Array]) -> "OutcomeTransform":
        """OutcomeTransform of at least one value."""
        scores = scale(values)
        different, first = np.unique(values, return_index=True)
        return cls(scores, different, scores[first])

    def value(self, scores: Array) -> Array:
        """Values at any scores, same shape: linear between those known, and beyond them by the slope over all."""
        return _interpolated(scores, self.scores, self.values)

    def score(self, values: Array) -> Array:
        """Inverse of `value`."""
        return _interpolated(values, self.values, self.scores)


def _interpolated(at: Array, x: Array, y: Array) -> Array:
    inside = np.clip(at, x[0], x[-1])
    slope = (y[-1] - y[0]) / (x[-1] - x[0]) if len(x) > 1 else 1.0
    found: Array = np.interp(inside, x, y) + slope * (at - inside)
    return found
