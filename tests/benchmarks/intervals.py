"""Means with intervals, and the exact sign test, for a few paired runs."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest, t

__all__ = ["Estimate", "between_share", "brier", "estimate", "sign_test"]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean and how sure it is.

    Attributes:
        mean: The mean.
        deviation: Sample standard deviation; NaN for one value.
        low: Lower end of the t-interval of 95 %; minus infinity for one value.
        high: Its upper end; infinity for one value.
        sign: Two-sided p-value of the exact sign test of the values against 0, without zeros.
        n: Number of values.
    """

    mean: float
    deviation: float
    low: float
    high: float
    sign: float
    n: int

    @property
    def text(self) -> str:
        """Mean, interval, p-value and number, such as `+0.31 [+0.05, +0.57], sign test p = 0.06, n = 5`."""
        if self.n < 2:
            return f"{self.mean:+.2f}, n = {self.n}"
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}], sign test p = {self.sign:.2g}, n = {self.n}"


def estimate(values: Sequence[float]) -> Estimate | None:
    """The mean of some values with its t-interval; None without values."""
    if not values:
        return None
    n, mean = len(values), statistics.fmean(values)
    if n == 1:
        return Estimate(mean, math.nan, -math.inf, math.inf, sign_test(values), n)
    deviation = statistics.stdev(values)
    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * deviation / math.sqrt(n)
    return Estimate(mean, deviation, mean - half, mean + half, sign_test(values), n)


def sign_test(values: Sequence[float]) -> float:
    """Two-sided p-value of the exact sign test that positive and negative values are equally likely; 1 without any."""
    positive, negative = sum(value > 0 for value in values), sum(value < 0 for value in values)
    if not positive + negative:
        return 1.0
    return float(binomtest(positive, positive + negative).pvalue)


def between_share(groups: Sequence[Sequence[float]]) -> float:
    """Share of the variance that lies between groups, by the components of one-way analysis of variance.

    With `k` groups of `n_i` of all `N` values and the mean squares `B` between and `W` within groups, the variance
    between groups is `max(0, (B - W) / n_0)`, and that within is `W`. `n_0 = (N - sum(n_i^2) / N) / (k - 1)` is the
    size of the groups if they have one size. 0 if all values are equal.

    Args:
        groups: At least two groups, none of them empty, one of them of at least two values.
    """
    sizes, means = [len(group) for group in groups], [statistics.fmean(group) for group in groups]
    n, degrees = sum(sizes), len(groups) - 1
    mean = statistics.fmean(means, sizes)
    square_between = sum(size * (each - mean) ** 2 for size, each in zip(sizes, means, strict=True)) / degrees
    errors = ((value - each) ** 2 for group, each in zip(groups, means, strict=True) for value in group)
    within = sum(errors) / (n - len(groups))
    typical_size = (n - sum(size**2 for size in sizes) / n) / degrees
    between = max(0.0, (square_between - within) / typical_size)
    return between / (between + within) if between + within else 0.0


def brier(probabilities: Sequence[float], winner: int) -> float:
    """Mean squared difference between the probabilities of winning, scaled to sum to 1, and what happened.

    Args:
        probabilities: Of each candidate; equal ones if all are 0.
        winner: Index of the one that won.
    """
    total = sum(probabilities)
    scaled = [each / total if total else 1 / len(probabilities) for each in probabilities]
    return statistics.fmean((each - (number == winner)) ** 2 for number, each in enumerate(scaled))
