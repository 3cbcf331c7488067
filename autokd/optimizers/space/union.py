"""Search space inferred from the trials of a study."""

from collections.abc import Iterable

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

__all__ = ["union"]


def union(trials: Iterable[FrozenTrial]) -> dict[str, BaseDistribution]:
    """Distributions of all parameters that any trial has, without those of a single value.

    Unlike Optuna's intersection search space it includes conditional parameters, which some trials lack. If trials gave
    a parameter different bounds, the widest are used. If its distributions differ in more than the bounds, the
    parameter is omitted, and therefore sampled independently.
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
