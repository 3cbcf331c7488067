"""What the runs with two objectives say: tables of hypervolume as Markdown, and a plot."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from comparison import standard_error
from front_task import Tradeoff, pareto
from report import CHECKPOINTS
from results import Result
from runner import Trace
from tasks import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Shares", "collect", "markdown", "plot"]


@dataclass(frozen=True)
class Shares:
    """All runs of one peer with so many workers; shares are of the true front's hypervolume.

    Attributes:
        peer: Name of the peer.
        workers: Trainings at a time.
        found: After each evaluation the share of all evaluated points, `seeds x evaluations`: the search without
            choice.
        chosen: The share of those points that the peer would call Pareto-optimal by what it observed, Optuna's
            `study.best_trials`, `seeds x evaluations`.
        typical: Rows that the run with the median `found` evaluated.
    """

    peer: str
    workers: int
    found: Array
    chosen: Array
    typical: Sequence[int]


def collect(tradeoff: Tradeoff, results: Iterable[Result]) -> list[Shares]:
    """Shares by workers and peer, in the order in which they first come; all runs must be equally long."""
    groups: dict[tuple[str, int], list[Result]] = {}
    for result in results:
        groups.setdefault((result.run.peer, result.run.workers), []).append(result)
    return [_shares(tradeoff, peer, workers, group) for (peer, workers), group in groups.items()]


def _shares(tradeoff: Tradeoff, peer: str, workers: int, group: Sequence[Result]) -> Shares:
    found = np.array([_found(tradeoff, result.trace) for result in group])
    chosen = np.array([_chosen(tradeoff, result.trace) for result in group])
    median = int(np.argsort(found[:, -1])[len(group) // 2])
    return Shares(peer, workers, found, chosen, group[median].trace.rows)


def _found(tradeoff: Tradeoff, trace: Trace) -> list[float]:
    """After each evaluation the share of all points."""
    return [tradeoff.share(trace.rows[:n]) for n in range(1, len(trace.rows) + 1)]


def _chosen(tradeoff: Tradeoff, trace: Trace) -> list[float]:
    """After each evaluation the share of the points that are Pareto-optimal as observed."""
    rows, observed = np.array(trace.rows), tradeoff.gains(trace.rows, trace.values)
    return [tradeoff.share(rows[:n][pareto(observed[:n])]) for n in range(1, len(rows) + 1)]


def markdown(shares: Sequence[Shares]) -> str:
    """For each number of workers the two shares in percent, mean and standard error, at the checkpoints."""
    parts = []
    for workers in sorted({s.workers for s in shares}):
        chosen = [s for s in shares if s.workers == workers]
        parts += [f"## {workers} worker{'s' if workers > 1 else ''}", ""]
        parts += ["Share of the true front's hypervolume in percent, mean ± standard error, after so many evaluations."]
        parts += ["Of all evaluated points by their true means (search without choice):", ""]
        parts += [*_table({s.peer: s.found for s in chosen}), ""]
        parts += ["Of the points that are Pareto-optimal by what the peer observed, by their true means:", ""]
        parts += [*_table({s.peer: s.chosen for s in chosen}), ""]
    return "\n".join(parts)


def _table(shares: dict[str, Array]) -> list[str]:
    """A line a peer, the best at each checkpoint in bold; shares are `seeds x evaluations`."""
    evaluations = next(iter(shares.values())).shape[1]
    columns = [n - 1 for n in CHECKPOINTS if n <= evaluations]
    most = np.max([share[:, columns].mean(axis=0) for share in shares.values()], axis=0)
    lines = [_row(["peer", "seeds", *(str(column + 1) for column in columns)]), "|" + "---|" * (2 + len(columns))]
    for peer, share in shares.items():
        best = share[:, columns].mean(axis=0) == most
        cells = [_cell(share[:, column], bold) for column, bold in zip(columns, best, strict=True)]
        lines.append(_row([peer, str(len(share)), *cells]))
    return lines


def _cell(share: Array, bold: bool) -> str:
    percent = 100 * share
    error = f" ± {standard_error(percent):.2f}" if len(percent) > 1 else ""
    text = f"{percent.mean():.2f}{error}"
    return f"**{text}**" if bold else text


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def plot(tradeoff: Tradeoff, shares: Sequence[Shares], file: Path) -> None:
    """Writes a PNG, a line of panels for each number of workers.

    The panels are what the two shares miss of the whole against evaluations, mean and standard error, and the fronts of
    the median runs, by true means, over the true one.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    colours = {peer: f"C{index}" for index, peer in enumerate(dict.fromkeys(s.peer for s in shares))}
    workers = sorted({s.workers for s in shares})
    figure = Figure(figsize=(15, 4 * len(workers)), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (found, chosen, fronts) in zip(workers, figure.subplots(len(workers), 3, squeeze=False), strict=True):
        found.set(title=f"{number} worker(s): all evaluated points")
        chosen.set(title="those observed as Pareto-optimal")
        fronts.set(title="fronts of the median runs", xlabel="latency, ms", ylabel="mean accuracy, %")
        fronts.step(*_front(tradeoff, range(tradeoff.task.size)), where="post", color="black", label="true front")
        for s in (s for s in shares if s.workers == number):
            _missing(found, s.found, colours[s.peer])
            _missing(chosen, s.chosen, colours[s.peer])
            fronts.step(*_front(tradeoff, s.typical), where="post", color=colours[s.peer], label=s.peer)
        fronts.set(xlim=(0.0, tradeoff.worst_latency), ylim=(tradeoff.worst_accuracy, None))
        fronts.legend(loc="lower right")
    figure.savefig(file, dpi=120)


def _missing(panel: "Axes", share: Array, colour: str) -> None:
    x, mean = np.arange(1, share.shape[1] + 1), 1.0 - share.mean(axis=0)
    error = share.std(axis=0, ddof=1) / np.sqrt(len(share)) if len(share) > 1 else 0 * mean
    panel.plot(x, mean, color=colour)
    panel.fill_between(x, np.maximum(mean - error, mean / 10), mean + error, color=colour, alpha=0.2)
    panel.set(xlabel="evaluations", ylabel="missing share of hypervolume", yscale="log")


def _front(tradeoff: Tradeoff, rows: Sequence[int]) -> tuple[Array, Array]:
    """Latencies and accuracies of the Pareto-optimal among some points, in rising order."""
    gains = tradeoff.true_gains(rows)
    front = gains[pareto(gains)]
    rising = front[np.argsort(-front[:, 1])]
    return tradeoff.worst_latency - rising[:, 1], tradeoff.worst_accuracy + rising[:, 0]
