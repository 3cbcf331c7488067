"""Peers side by side: their runs in groups, regret at a moment, and how one of them stands among the others.

Simple regret is the optimum less what the chosen point is worth, which is its mean over all training seeds.
"""

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from choosing import Choose, Load, by_observation, first_worth, worth_at
from results import Result
from runner import time_of
from tasks import Array

__all__ = [
    "Cut",
    "Group",
    "Standing",
    "collect",
    "geometric_mean_ratio",
    "name_of",
    "observed",
    "standard_error",
    "standing",
]

_FLOOR = 1e-3
"""Least share of the first evaluation's regret that enters a ratio. Below it a peer has found the optimum, and how
often in some tens of seeds is luck that a ratio would turn into any number."""


@dataclass(frozen=True)
class Group:
    """All runs of one peer on one task with so many workers.

    Attributes:
        task: Name of the task.
        peer: Name of the peer, with its version where there are results of several.
        workers: Trainings at a time.
        results: The runs.
    """

    task: str
    peer: str
    workers: int
    results: tuple[Result, ...]

    @property
    def evaluations(self) -> int:
        """Full trainings of each run, or how many its time is enough for."""
        return self.results[0].run.evaluations

    def after(self, evaluations: int, choose: Choose) -> Array:
        """Regret after so many full trainings, `runs`."""
        return np.array([_regret(result, choose(result, evaluations)) for result in self.results])

    def at(self, seconds: float, choose: Choose) -> Array:
        """Regret at a simulated time, `runs`; before the first end of a training that one counts already."""
        return np.array([_regret(result, choose(result, _n_finished(result, seconds))) for result in self.results])

    def with_shorter_at(self, seconds: float) -> Array:
        """Regret at a simulated time where there are shorter trainings, `runs`; see `choosing.worth_at`."""
        return np.array([result.optimum - worth_at(result.trace, seconds) for result in self.results])

    def first(self) -> Array:
        """Regret of what finished first, `runs`."""
        return np.array([result.optimum - first_worth(result.trace) for result in self.results])


Cut = Callable[[Group, int], Array]
"""Regret of a group at the moment of comparison that belongs to a number of evaluations, `runs`."""


def observed(load: Load) -> Cut:
    """Regret by the best observation: after so many full trainings, or in the time of so many with a ladder."""

    def cut(group: Group, evaluations: int) -> Array:
        task = load(group.task)
        if task.ladder.top:
            return group.with_shorter_at(time_of(task, evaluations, group.workers))
        return group.after(evaluations, by_observation)

    return cut


def _regret(result: Result, index: int) -> float:
    return result.optimum - result.trace.worths[index]


def _n_finished(result: Result, seconds: float) -> int:
    return max(1, int(np.searchsorted(result.trace.finished, seconds, side="right")))


def collect(results: Iterable[Result]) -> list[Group]:
    """Groups in the order in which their task, workers and peer first come.

    Runs of another number of evaluations than the longest ones are left out.
    """
    everything = list(results)
    longest = max((result.run.evaluations for result in everything), default=0)
    versions: dict[str, set[str]] = {}
    groups: dict[tuple[str, str, int], list[Result]] = {}
    for result in everything:
        versions.setdefault(result.run.peer, set()).add(result.run.version)
    for result in everything:
        run = result.run
        label = run.peer if len(versions[run.peer]) == 1 else f"{run.peer} ({run.version})"
        if run.evaluations == longest:
            groups.setdefault((run.task, label, run.workers), []).append(result)
    return [Group(*key, tuple(group)) for key, group in groups.items()]


def geometric_mean_ratio(groups: Sequence[Group], peer: str, cut: Cut, evaluations: int) -> float:
    """Mean regret of a peer over that of the best other on each task, as a geometric mean over the tasks.

    Below 1 the peer is ahead of whoever is best on each task, and these may be different peers. NaN without a task on
    which both it and another have run.

    Args:
        groups: All peers' on all tasks, for one number of workers.
        peer: The label of the peer in question; other versions of it, with or without halving, do not count as others.
        cut: What is compared,
        evaluations: and when.
    """
    logs = []
    for own, others in _with_others(groups, peer):
        floor = _FLOOR * statistics.fmean(float(group.first().mean()) for group in (own, *others))
        mean, *rest = (max(float(cut(group, evaluations).mean()), floor) for group in (own, *others))
        logs.append(np.log(mean / min(rest)))
    return float(np.exp(np.mean(logs))) if logs else float("nan")


class Standing(NamedTuple):
    """In how many cells of a table a peer stands how.

    Attributes:
        cells: Those in which both it and another are.
        lowest: Those in which no other has a lower mean.
        close: Those in which another has, but by no more than the standard error of the difference.
    """

    cells: int
    lowest: int
    close: int


def standing(groups: Sequence[Group], peer: str, cut: Cut, checkpoints: Sequence[int]) -> Standing:
    """How a peer stands among the others, who are as in `geometric_mean_ratio`."""
    n_cells = n_lowest = n_close = 0
    for (own, others), evaluations in product(_with_others(groups, peer), checkpoints):
        regrets = cut(own, evaluations)
        best = min((cut(group, evaluations) for group in others), key=lambda regret: float(regret.mean()))
        difference = float(regrets.mean() - best.mean())
        error = float(np.hypot(standard_error(regrets), standard_error(best)))
        n_cells += 1
        n_lowest += difference <= 0
        n_close += 0 < difference <= error
    return Standing(n_cells, n_lowest, n_close)


def standard_error(values: Array) -> float:
    """Standard error of the mean, 0 for a single value, of which nobody can tell."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _with_others(groups: Sequence[Group], peer: str) -> Iterator[tuple[Group, list[Group]]]:
    """A peer's group and the others' on each task that has both."""
    for own in (group for group in groups if group.peer == peer):
        others = [group for group in groups if group.task == own.task and name_of(group.peer) != name_of(peer)]
        if others:
            yield own, others


def name_of(label: str) -> str:
    """Whose column it is: that of "ours" also for another version, and for "ours+halving"."""
    return label.split(" ")[0].split("+")[0]
