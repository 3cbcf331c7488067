"""How well a search's cheap rungs predict its last one: rank correlations over its own trials.

Trials that reached the last rung are a selected sample wherever others were pruned: these would have spread the values
of both rungs, so that the correlation over the rest is lower than that over all trials.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from autokd.config.fidelity_metrics import FidelityMetric
from autokd.searches.trial_record import TrialRecord

__all__ = ["RungCorrelation", "pairs", "rung_correlations"]

FEWEST = 4  # trials of which anything is said: the interval divides by n - 3
NORMAL_QUANTILE = 1.6448536269514722  # 95 %: a two-sided interval of 90 %
SPEARMAN_VARIANCE = 1.06


@dataclass(frozen=True)
class RungCorrelation:
    """Spearman's rank correlation of a rung's fidelity metric with the accuracy at the last rung.

    Attributes:
        rung: Index of the lower rung.
        epochs: Its length.
        metric: Name of the fidelity metric, oriented so that larger is better: 1 is a perfect prediction.
        n: Trials with both.
        rho: The correlation; None of fewer than four trials, or where either has one value only.
        low: Lower end of its interval of 90 %; None where there is no correlation or it is 1 or -1.
        high: Upper end.
    """

    rung: int
    epochs: float
    metric: str
    n: int
    rho: float | None
    low: float | None
    high: float | None


def rung_correlations(
    trial_records: Collection[TrialRecord], rungs: Sequence[float], metric: FidelityMetric
) -> list[RungCorrelation]:
    """The correlation of each rung but the last with the last.

    Args:
        trial_records: A search's trials.
        rungs: Epochs of its rungs.
        metric: What is compared with the last rung's accuracy.
    """
    found = []
    for rung, epochs in enumerate(rungs[:-1]):
        both = pairs(trial_records, rung, len(rungs) - 1, metric)
        rho = _rank_correlation(both, metric.sign)
        low, high = _interval(rho, len(both))
        found.append(RungCorrelation(rung, epochs, metric.name, len(both), rho, low, high))
    return found


def pairs(
    trial_records: Collection[TrialRecord], rung: int, last: int, metric: FidelityMetric
) -> list[tuple[float, float]]:
    """The metric at a rung and the accuracy at the last one, for each trial that has both and did not fail.

    Args:
        trial_records: Trials of one search.
        rung: Index of the rung at which the metric is taken.
        last: Index of the last rung.
        metric: Metric to take at `rung`; it is not oriented.
    """
    measured = [
        (record.means(metric.name), record.values) for record in trial_records if record.trial.state != "failed"
    ]
    return [(lower[rung], values[last]) for lower, values in measured if rung in lower and last in values]


def _rank_correlation(both: Sequence[tuple[float, float]], sign: int) -> float | None:
    """Spearman's rho, None where it says nothing."""
    from scipy.stats import spearmanr  # slow to load; most of what shows a search needs none of it

    metrics, accuracies = {metric for metric, _ in both}, {accuracy for _, accuracy in both}
    if len(both) < FEWEST or len(metrics) < 2 or len(accuracies) < 2:
        return None
    return sign * float(spearmanr(both).statistic)


def _interval(rho: float | None, n: int) -> tuple[float, float] | tuple[None, None]:
    """Its interval of 90 % by Fisher's z, whose variance for ranks is about 1.06 / (n - 3).

    Fieller, Hartley and Pearson 1957, "Tests for rank correlation coefficients I", https://doi.org/10.2307/2332878.
    """
    if rho is None or math.isclose(abs(rho), 1):
        return None, None
    half = NORMAL_QUANTILE * math.sqrt(SPEARMAN_VARIANCE / (n - 3))
    return math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)
