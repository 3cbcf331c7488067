"""State of the trust region, and its update by one finished trial.

TuRBO-1 of Eriksson et al. 2019, https://arxiv.org/abs/1910.01739, section 2 and appendix: the length doubles after
`success_tolerance` successes in a row, halves after `failure_tolerance` failures in a row, and the region restarts when
it would become shorter than `min_length`. [ours] Departures, most of them for noisy trials that run in parallel:

* A region begins as the whole space and contracts towards its centre. With an accurate model a global search is better,
  and a few dozen trials do not show whether the model is accurate.
* A restart requests no new space-filling points, since a region that covers the whole space needs no centre. Its first
  proposals are chosen by the model of all data and decide where it contracts (a guided restart, as in Wan et al. 2021,
  https://arxiv.org/abs/2102.07188). The trials of the abandoned region do not count for the new one.
* Counters count finished trials, not batches, since trials finish one at a time, in any order.
* A success must exceed the best value by more than `max(relative_margin * |best|, noise)`; the paper has no noise.
* A trial counts for the region in which it was proposed. One that started before a restart belongs to the abandoned
  region. One that started before the start-up trials were finished was not proposed by the region.
* Pruned and failed trials count as failures.
* The centre is chosen by the model (posterior mean), so it is not part of this state.
* No data are dropped: after a restart the model still learns from all trials.

`Rules.of` has the paper's constants and its restart with new space-filling points, too, under the name "turbo"; the
other departures then remain.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from functools import reduce
from numbers import Real
from typing import Any

from autokd.optimizers.errors import OptimizerError

__all__ = ["WHOLE", "Outcome", "Rules", "TrustRegion", "fold", "update"]

WHOLE = 2.0
"""Length at which a region covers the whole space, wherever its centre is."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of one finished trial for the trust region.

    Attributes:
        value: Value of a complete trial, larger is better; None for a pruned or failed one.
        observed: Whether the trial gave the model an observation, which a failed one does not.
        started: When the trial was proposed. If None, it counts for the current region.
        finished: When it ended.
    """

    value: float | None
    observed: bool = True
    started: datetime | None = None
    finished: datetime | None = None


@dataclass(frozen=True)
class Rules:
    """Constants of the trust region.

    Attributes:
        n_startup: Number of observed trials before the model makes proposals.
        failure_tolerance: Failures in a row that halve the length.
        success_tolerance: Successes in a row that double the length; the paper's code uses 3.
        initial_length: Length of a new region, as a share of the unit cube's edge.
        min_length: A region that would become shorter than this restarts.
        max_length: Largest length.
        relative_margin: Share of the best value by which a success must exceed it.
        noise: Standard deviation of one observation, in the objective's unit; 0 if unknown.
        starts_anew: Whether a restarted region begins with `n_startup` trials of its own.
    """

    n_startup: int
    failure_tolerance: int
    success_tolerance: int = 3
    initial_length: float = WHOLE
    min_length: float = 0.5**7
    max_length: float = WHOLE
    relative_margin: float = 1e-3
    noise: float = 0.0
    starts_anew: bool = False

    def __post_init__(self) -> None:
        if min(self.n_startup, self.failure_tolerance, self.success_tolerance) < 1:
            raise OptimizerError(f"Counts of a trust region must be at least 1, but got {self}.")
        if not 0 < self.min_length <= self.initial_length <= self.max_length:
            raise OptimizerError(f"`0 < min_length <= initial_length <= max_length` must hold, but got {self}.")
        if min(self.relative_margin, self.noise) < 0:
            raise OptimizerError(f"`relative_margin` and `noise` must not be negative, but got {self}.")

    @classmethod
    def of(
        cls,
        dimension: int,
        n_startup: int | None = None,
        noise: float = 0.0,
        resolution: float = 0.0,
        rules: str | Mapping[str, Any] = "own",
        n_trials: int | None = None,
    ) -> "Rules":
        """Rules for a search space.

        Args:
            dimension: Number of coordinates, d.
            n_startup: As in the attribute; `d + 2` within 5 to 12 by default.
            noise: As in the attribute.
            resolution: Shortest step between two points, see `Encoding.resolution`. The region gets no shorter than
                this, since shorter regions would all hold the same points.
            rules: "own"; "turbo", the constants of the paper; "none" for a region that stays the whole space; or
                attributes that differ from our own.
            n_trials: Number of trials of the whole study, if known, for our own failure tolerance.

        Raises:
            OptimizerError: If the rules are unknown or do not fit together.
        """
        n_startup = min(max(dimension + 2, 5), 12) if n_startup is None else n_startup
        own = cls(
            n_startup,
            failure_tolerance=_failure_tolerance(dimension, n_startup, n_trials),
            min_length=max(resolution, cls.min_length),
            noise=noise,
        )
        return replace(own, **_changes(rules, dimension, own))


_NEVER = 2**31


def _changes(rules: str | Mapping[str, Any], dimension: int, own: Rules) -> Mapping[str, Any]:
    """Attributes in which rules differ from our own.

    Those of "turbo" are from the paper's code, https://github.com/uber-research/TuRBO.

    Raises:
        OptimizerError: If there are no such rules or attributes.
    """
    turbo = {
        "failure_tolerance": max(4, dimension),
        "initial_length": 0.8,
        "min_length": min(own.min_length, 0.8),
        "max_length": 1.6,
        "starts_anew": True,
    }
    named: dict[str, dict[str, Any]] = {"own": {}, "turbo": turbo, "none": {"failure_tolerance": _NEVER}}
    attributes = [each.name for each in fields(own)]
    if isinstance(rules, str) and rules in named:
        return named[rules]
    if (
        isinstance(rules, Mapping)
        and rules.keys() <= {*attributes}
        and all(isinstance(each, Real) and math.isfinite(each) for each in rules.values())
    ):
        longest = rules.get("initial_length", own.initial_length)  # our own least length follows from the space
        return {"min_length": min(own.min_length, longest), **rules}
    allowed = f"{', '.join(map(repr, named))}, or in Python a dict of finite numbers for {', '.join(attributes)}"
    raise OptimizerError(f"`rules` must be {allowed}, but got {rules!r}.")


def _failure_tolerance(dimension: int, n_startup: int, n_trials: int | None) -> int:
    """Failures in a row that halve our own region.

    They are `4 max(4, d)`, where the paper has `max(4, d)`: a region that begins as the whole space needs more trials
    before half of it may be dropped. If the number of trials is known, there are fewer, but not under four, so that the
    region may halve eight times.
    """
    longest = 4 * max(4, dimension)
    return longest if n_trials is None else min(max(math.ceil((n_trials - n_startup) / 8), 4), longest)


@dataclass(frozen=True)
class TrustRegion:
    """State of the trust region after some finished trials.

    Attributes:
        length: Edge of the region, as a share of the unit cube's edge.
        successes: Number of successes since the last failure or change of length.
        failures: Number of failures since the last success or change of length.
        restarts: Number of restarts.
        n_observed: Number of observed trials, counted up to `n_startup`.
        best: Best value of the region's own trials, None before the first.
        born: When the region was started, None for the first region.
        opened: When the start-up trials were finished or the region restarted; its own proposals start no earlier.
    """

    length: float
    successes: int = 0
    failures: int = 0
    restarts: int = 0
    n_observed: int = 0
    best: float | None = None
    born: datetime | None = field(default=None)
    opened: datetime | None = field(default=None)

    def owns(self, started: datetime | None) -> bool:
        """Whether a trial that started at that time was proposed for this region."""
        return not _before(started, self.born)

    def is_open(self, rules: Rules) -> bool:
        """Whether enough trials are observed for the model to make proposals."""
        return self.n_observed >= rules.n_startup


def fold(outcomes: Iterable[Outcome], rules: Rules) -> TrustRegion:
    """State of the region after finished trials, given in the order in which they finished."""
    return reduce(lambda region, outcome: update(region, outcome, rules), outcomes, TrustRegion(rules.initial_length))


def update(region: TrustRegion, outcome: Outcome, rules: Rules) -> TrustRegion:
    """State of the region after one more finished trial.

    Args:
        region: State before.
        outcome: Outcome of the trial.
        rules: Constants of the region.
    """
    if not region.owns(outcome.started):
        return region
    known = replace(region, best=_better(region.best, outcome.value))
    if not region.is_open(rules):
        n_observed = region.n_observed + outcome.observed
        opened = outcome.finished if n_observed >= rules.n_startup else None
        return replace(known, n_observed=n_observed, opened=opened)
    if _before(outcome.started, region.opened):
        return known
    if _is_success(region.best, outcome.value, rules):
        counted = replace(known, successes=region.successes + 1, failures=0)
    else:
        counted = replace(known, successes=0, failures=region.failures + 1)
    return _resized(counted, outcome, rules)


def _resized(region: TrustRegion, outcome: Outcome, rules: Rules) -> TrustRegion:
    if region.successes >= rules.success_tolerance:
        return replace(region, length=min(2 * region.length, rules.max_length), successes=0)
    if region.failures < rules.failure_tolerance:
        return region
    if region.length / 2 < rules.min_length:
        fresh = TrustRegion(rules.initial_length, restarts=region.restarts + 1, born=outcome.finished)
        if rules.starts_anew:
            return fresh
        return replace(fresh, n_observed=region.n_observed, opened=outcome.finished)
    return replace(region, length=region.length / 2, failures=0)


def _is_success(best: float | None, value: float | None, rules: Rules) -> bool:
    if value is None:
        return False
    return best is None or value > best + max(rules.relative_margin * abs(best), rules.noise)


def _better(best: float | None, value: float | None) -> float | None:
    if best is None or value is None:
        return value if best is None else best
    return max(best, value)


def _before(first: datetime | None, second: datetime | None) -> bool:
    return first is not None and second is not None and first < second
