"""The search space that the trials of a study have asked for."""

from collections.abc import Iterable

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

__all__ = ["union"]


def union(trials: Iterable[FrozenTrial]) -> dict[str, BaseDistribution]:
    """All parameters that any trial has, without those that can take a single value only.

    Unlike Optuna's intersection it keeps conditional parameters, which some trials lack. Where trials gave a parameter
    different bounds, these become the widest; where they disagree in more than that, the parameter is left out and so
    is sampled independently.
    """
    seen: dict[str, dict[BaseDistribution, None]] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            seen.setdefault(name, {})[distribution] = None
    hulls = {name: _hull(list(distributions)) for name, distributions in sorted(seen.items())}
    return {name: hull for name, hull in hulls.items() if hull is not None and not hull.single()}


def _hull(distributions: list[BaseDistribution]) -> BaseDistribution | None:
    first = distributions[0]
    if len(distributions) == 1:
        return first
    if isinstance(first, IntDistribution):
        ints = [d for d in distributions if isinstance(d, IntDistribution) and (d.log, d.step) == (first.log, 1)]
        if len(ints) == len(distributions):
            return IntDistribution(min(d.low for d in ints), max(d.high for d in ints), log=first.log)
    if isinstance(first, FloatDistribution):
        floats = [d for d in distributions if isinstance(d, FloatDistribution) and (d.log, d.step) == (first.log, None)]
        if len(floats) == len(distributions):
            return FloatDistribution(min(d.low for d in floats), max(d.high for d in floats), log=first.log)
    return None
