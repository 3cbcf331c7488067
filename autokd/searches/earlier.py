"""What a search learns from: trials of earlier searches, as they were when it began."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optuna.distributions import BaseDistribution

from search_spaces.design.dimensions import Value, contains

__all__ = ["EarlierSearch", "EarlierTrial", "learns_from", "learns_from_json"]


@dataclass(frozen=True)
class EarlierTrial:
    """One trial of an earlier search.

    Attributes:
        parameters: What was chosen, by name.
        reports: For each rung that it reached, from 0, the value of each objective; empty if it failed.
    """

    parameters: dict[str, Value]
    reports: tuple[tuple[int, tuple[float, ...]], ...]


@dataclass(frozen=True)
class EarlierSearch:
    """The trials of an earlier search, or of a file.

    Attributes:
        name: Name of the search, or the file.
        trials: Its trials, with those of their parameters that this search has.
        dropped: Number of further trials, which have values that are not legal here, or none of the parameters.
    """

    name: str
    trials: tuple[EarlierTrial, ...]
    dropped: int = 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "EarlierSearch":
        """What was recorded."""
        trials = (
            EarlierTrial(trial["parameters"], tuple((rung, tuple(each)) for rung, each in trial["reports"]))
            for trial in values["trials"]
        )
        return cls(values["name"], tuple(trials), values["dropped"])

    @property
    def n_observed(self) -> int:
        """Number of trials with a value."""
        return sum(bool(trial.reports) for trial in self.trials)

    def within(self, distributions: Mapping[str, BaseDistribution]) -> "EarlierSearch":
        """The trials whose values are legal in these dimensions, without their other parameters."""
        shared = [
            replace(trial, parameters={name: v for name, v in trial.parameters.items() if name in distributions})
            for trial in self.trials
        ]
        legal = [
            trial
            for trial in shared
            if trial.parameters and all(contains(distributions[name], v) for name, v in trial.parameters.items())
        ]
        return replace(self, trials=tuple(legal), dropped=len(shared) - len(legal))


def learns_from(earlier: Sequence[EarlierSearch]) -> str:
    """What a search learns from, in words: `112 trials of a (52 of 60), b`; empty if it is nothing."""
    if not earlier:
        return ""
    return f"{sum(len(each.trials) for each in earlier)} trials of {', '.join(map(_named, earlier))}"


def learns_from_json(earlier: Iterable[EarlierSearch]) -> list[dict[str, Any]]:
    """The same as plain values."""
    return [{"name": each.name, "trials": len(each.trials), "dropped": each.dropped} for each in earlier]


def _named(search: EarlierSearch) -> str:
    n = len(search.trials)
    return f"{search.name} ({n} of {n + search.dropped})" if search.dropped else search.name
