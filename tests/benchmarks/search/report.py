"""What the results say: tables of regret as Markdown, and a plot.

Simple regret is the optimum less what the incumbent is worth. Everybody's incumbent is the point with the best value
observed so far, one noisy value a training; its worth is its mean over all training seeds.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from results import Result
from runner import incumbents
from tasks import Array

__all__ = ["CHECKPOINTS", "Curves", "collect", "geometric_mean_ratio", "markdown", "plot"]

CHECKPOINTS = (50, 100, 200)
OURS = "ours"

_CLOCK = "random"  # the peer whose simulated time is everybody's in the comparison at equal time
_FLOOR = 1e-3
"""Least share of the first evaluation's regret that enters a ratio. Below it a peer has found the optimum, and how
often in some tens of seeds is luck that a ratio would turn into any number."""

Cut = Callable[["Curves", int], Array]
"""Regret of some curves at the moment of comparison that belongs to a number of evaluations, `seeds`."""


@dataclass(frozen=True)
class Curves:
    """All runs of one peer on one task with so many workers.

    Attributes:
        task: Name of the task.
        peer: Name of the peer, with its version where there are results of several.
        workers: Trainings at a time.
        regret: After each evaluation, `seeds x evaluations`.
        found: The same if the incumbent were the point that is worth most of those evaluated, which nobody can know.
        finished: Simulated seconds of each evaluation's end, `seeds x evaluations`.
        ask_seconds: CPU seconds of each of the first proposals, `seeds x evaluations`.
    """

    task: str
    peer: str
    workers: int
    regret: Array
    found: Array
    finished: Array
    ask_seconds: Array

    def after(self, evaluations: int) -> Array:
        """Regret after so many evaluations, `seeds`."""
        return self.regret[:, evaluations - 1]

    def found_after(self, evaluations: int) -> Array:
        """Regret of the best point among so many evaluations, `seeds`."""
        return self.found[:, evaluations - 1]

    def at(self, seconds: float) -> Array:
        """Regret at a simulated time, `seeds`: a run that is over keeps its last."""
        n_finished = np.sum(self.finished <= seconds, axis=1)
        columns = np.clip(n_finished - 1, 0, None)  # before the first end the first counts, as a random point would
        return np.asarray(self.regret[np.arange(len(columns)), columns])


def collect(results: Iterable[Result]) -> list[Curves]:
    """Curves by task, workers and peer, in the order in which they first come.

    Runs of another number of evaluations than the longest ones are left out.
    """
    everything = list(results)
    longest = max((result.run.evaluations for result in everything), default=0)
    versions: dict[str, set[str]] = {}
    groups: dict[tuple[str, int, str], list[Result]] = {}
    for result in everything:
        versions.setdefault(result.run.peer, set()).add(result.run.version)
    for result in everything:
        run = result.run
        label = run.peer if len(versions[run.peer]) == 1 else f"{run.peer} ({run.version})"
        if run.evaluations == longest:
            groups.setdefault((run.task, run.workers, label), []).append(result)
    return [_curves(task, label, workers, group) for (task, workers, label), group in groups.items()]


def _curves(task: str, label: str, workers: int, group: Sequence[Result]) -> Curves:
    worths = [np.array(r.trace.worths)[incumbents(r.trace.values)] for r in group]
    return Curves(
        task=task,
        peer=label,
        workers=workers,
        regret=np.array([r.optimum - worth for r, worth in zip(group, worths, strict=True)]),
        found=np.array([r.optimum - np.maximum.accumulate(r.trace.worths) for r in group]),
        finished=np.array([r.trace.finished for r in group]),
        ask_seconds=np.array([r.trace.ask_seconds[: r.run.evaluations] for r in group]),
    )


def geometric_mean_ratio(curves: Sequence[Curves], peer: str, cut: Cut, evaluations: int) -> float:
    """Mean regret of a peer over that of the best other on each task, as a geometric mean over the tasks.

    Below 1 the peer is ahead of whoever is best on each task, and these may be different peers. NaN without a task on
    which both it and another have run.

    Args:
        curves: All peers' on all tasks, for one number of workers.
        peer: The label of the peer in question; other versions of it, with or without halving, do not count as others.
        cut: What is compared,
        evaluations: and when.
    """
    logs = []
    for task in dict.fromkeys(c.task for c in curves):
        here = [c for c in curves if c.task == task]
        floor = _FLOOR * statistics.fmean(float(c.after(1).mean()) for c in here)
        means = {c.peer: max(float(cut(c, evaluations).mean()), floor) for c in here}
        others = [mean for label, mean in means.items() if _name(label) != _name(peer)]
        if peer in means and others:
            logs.append(np.log(means[peer] / min(others)))
    return float(np.exp(np.mean(logs))) if logs else float("nan")


def markdown(curves: Sequence[Curves]) -> str:
    """For each number of workers: regret at equal evaluations and at equal simulated time, and the seconds an ask."""
    parts = []
    for workers in sorted({c.workers for c in curves}):
        chosen = [c for c in curves if c.workers == workers]
        checkpoints = [n for n in CHECKPOINTS if n <= chosen[0].regret.shape[1]]
        parts += [f"## {workers} worker{'s' if workers > 1 else ''}, {_n_seeds(chosen)} seeds", ""]
        parts += ["Simple regret, mean ± standard error, after so many evaluations:", ""]
        parts += [*_regrets(chosen, checkpoints, Curves.after), ""]
        if clock := _Clock.of(chosen):
            timed = [c for c in chosen if c.task in clock.finished]
            parts += [f"The same at the simulated time that {_CLOCK} takes for so many evaluations on average:", ""]
            parts += [*_regrets(timed, checkpoints, clock.regret), ""]
        parts += [
            "The same as the first, if everybody knew which of its points is worth most (search without choice):",
            "",
        ]
        parts += [*_regrets(chosen, checkpoints, Curves.found_after), ""]
        parts += ["CPU seconds of one proposal, mean of the ten up to that evaluation, over all tasks:", ""]
        parts += [*_ask_seconds(chosen, checkpoints), ""]
    return "\n".join(parts)


@dataclass(frozen=True)
class _Clock:
    """Mean simulated seconds of each evaluation's end, by task."""

    finished: dict[str, Array]

    @classmethod
    def of(cls, curves: Sequence[Curves]) -> "_Clock | None":
        finished = {c.task: c.finished.mean(axis=0) for c in curves if c.peer == _CLOCK}
        return cls(finished) if finished else None

    def regret(self, curves: Curves, evaluations: int) -> Array:
        return curves.at(float(self.finished[curves.task][evaluations - 1]))


def _regrets(curves: Sequence[Curves], checkpoints: Sequence[int], cut: Cut) -> list[str]:
    peers = list(dict.fromkeys(c.peer for c in curves))
    lines = _header(["task", "evaluations", *peers])
    for task, n in product(dict.fromkeys(c.task for c in curves), checkpoints):
        lines.append(_row([task, str(n), *_cells(peers, {c.peer: cut(c, n) for c in curves if c.task == task})]))
    for peer in (peer for peer in peers if _name(peer) == OURS):
        ratios = [f"{geometric_mean_ratio(curves, peer, cut, n):.2f}" for n in checkpoints]
        after = ", ".join(map(str, checkpoints))
        lines += ["", f"{peer} over the best other, geometric mean over the tasks, after {after}: {', '.join(ratios)}"]
    return lines


def _cells(peers: Sequence[str], regrets: dict[str, Array]) -> list[str]:
    least = min(float(regret.mean()) for regret in regrets.values())
    cells = []
    for peer in peers:
        text = _mean_and_error(regrets[peer]) if peer in regrets else ""
        cells.append(f"**{text}**" if text and float(regrets[peer].mean()) == least else text)
    return cells


def _mean_and_error(values: Array) -> str:
    if len(values) < 2:
        return f"{values.mean():.3g}"
    error = values.std(ddof=1) / np.sqrt(len(values))
    digits = int(np.clip(1 - np.floor(np.log10(error)), 0, 4)) if error > 0 else 3
    return f"{values.mean():.{digits}f} ± {error:.{digits}f}"


def _ask_seconds(curves: Sequence[Curves], checkpoints: Sequence[int]) -> list[str]:
    lines = _header(["peer", *map(str, checkpoints)])
    for peer in dict.fromkeys(c.peer for c in curves):
        asks = [c.ask_seconds for c in curves if c.peer == peer]
        means = [statistics.fmean(float(ask[:, n - 10 : n].mean()) for ask in asks) for n in checkpoints]
        lines.append(_row([peer, *(f"{mean:.3f}" for mean in means)]))
    return lines


def plot(curves: Sequence[Curves], file: Path) -> None:
    """Writes a PNG of regret against evaluations, mean and standard error, a panel for each task and workers."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys((c.task, c.workers) for c in curves))
    colours = {peer: f"C{index}" for index, peer in enumerate(dict.fromkeys(c.peer for c in curves))}
    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for panel, (task, workers) in zip(axes, panels, strict=True):
        for c in (c for c in curves if (c.task, c.workers) == (task, workers)):
            x, mean = np.arange(1, c.regret.shape[1] + 1), c.regret.mean(axis=0)
            error = c.regret.std(axis=0, ddof=1) / np.sqrt(len(c.regret)) if len(c.regret) > 1 else 0 * mean
            panel.plot(x, mean, color=colours[c.peer], label=c.peer)
            panel.fill_between(x, np.maximum(mean - error, mean / 10), mean + error, color=colours[c.peer], alpha=0.2)
        panel.set(title=f"{task}, {workers} worker(s)", xlabel="evaluations", yscale="log")
    axes[0].set_ylabel("simple regret")
    axes[0].legend()
    figure.savefig(file, dpi=120)


def _n_seeds(curves: Sequence[Curves]) -> str:
    low, high = min(len(c.regret) for c in curves), max(len(c.regret) for c in curves)
    return str(low) if low == high else f"{low} to {high}"


def _name(label: str) -> str:
    """Whose column it is: that of "ours" also for another version, and for "ours+halving"."""
    return label.split(" ")[0].split("+")[0]


def _header(cells: Sequence[str]) -> list[str]:
    return [_row(cells), "|" + "---|" * len(cells)]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
