"""What the results say: tables as Markdown.

Three kinds of tasks are reported: those with limits have the same tables as those without, and one more; those with
shorter trainings have one of their own, since numbers of trainings cannot be compared there.
"""

import statistics
from collections.abc import Sequence
from functools import partial
from itertools import product

import numpy as np
from choosing import TOLD_OF_GRAPHS, ByModel, Choose, Load, by_hindsight, by_observation
from comparison import Cut, Group, geometric_mean_ratio, name_of, observed, standard_error, standing
from results import Result
from tasks import Array

__all__ = ["CHECKPOINTS", "LADDER_CHECKPOINTS", "markdown"]

CHECKPOINTS = (50, 100, 200)
LADDER_CHECKPOINTS = (20, 50, 100)
OURS = "ours"

_CLOCK = "random"  # the peer whose simulated time is everybody's in the comparison at equal time


def markdown(groups: Sequence[Group], load: Load) -> str:
    """The report: for each number of workers the tables of all tasks.

    Args:
        groups: Who is compared.
        load: Of their tasks.
    """
    parts = []
    by_model = ByModel(load)
    for workers in sorted({group.workers for group in groups}):
        chosen = [group for group in groups if group.workers == workers]
        parts += [f"## {workers} worker{'s' if workers > 1 else ''}, {_n_runs(chosen)} seeds", ""]
        full = [group for group in chosen if not load(group.task).ladder.top]
        parts += _full(full, by_model) if full else []
        limited = [group for group in full if load(group.task).limits]
        parts += _limited(limited, load, by_model) if limited else []
        laddered = [group for group in chosen if load(group.task).ladder.top]
        parts += _laddered(laddered, load) if laddered else []
    return "\n".join(parts)


def _full(groups: Sequence[Group], by_model: Choose) -> list[str]:
    """Tasks whose trainings are all full, with or without limits."""
    checkpoints = _checkpoints(CHECKPOINTS, groups)
    own = partial(_by_own_rule, by_model)
    lines = _titled(
        "Simple regret, mean ± standard error, after so many evaluations, each by its own recommendation: ours by its "
        "model's posterior mean, the others by their best observation:",
        _regrets(groups, checkpoints, _after(own)),
    )
    for title, choose in (
        ("The same, everybody by the best observation:", by_observation),
        ("The same, everybody by our model's posterior mean:", by_model),
    ):
        lines += _titled(title, _regrets(groups, checkpoints, _after(choose)))
    ends = {group.task: _mean_ends(group) for group in groups if group.peer == _CLOCK}
    if timed := [group for group in groups if group.task in ends]:
        lines += _titled(
            f"As the first, at the simulated time that {_CLOCK} takes for so many evaluations on average:",
            _regrets(timed, checkpoints, lambda group, n: group.at(ends[group.task][n - 1], own)),
        )
    lines += _titled(
        "As the first, if everybody knew which of its points is worth most (search without choice):",
        _regrets(groups, checkpoints, _after(by_hindsight)),
    )
    return lines + _titled(
        "CPU seconds of one proposal, mean of the ten up to that evaluation, over all tasks:",
        _ask_seconds(groups, checkpoints),
    )


def _by_own_rule(by_model: Choose, result: Result, n: int) -> int:
    return (by_model if result.run.peer in (OURS, TOLD_OF_GRAPHS) else by_observation)(result, n)


def _after(choose: Choose) -> Cut:
    return lambda group, n: group.after(n, choose)


def _mean_ends(group: Group) -> list[float]:
    """Simulated seconds of each evaluation's end, mean over the runs."""
    return [float(end) for end in np.mean([result.trace.finished for result in group.results], axis=0)]


def _limited(groups: Sequence[Group], load: Load, by_model: Choose) -> list[str]:
    lines = _header(["task", "peer", "keep what is computable", "keep all", "regret", "optimum after"])
    for group in groups:
        task = load(group.task)
        rows = np.array([result.trace.rows for result in group.results])
        regret = group.after(group.evaluations, partial(_by_own_rule, by_model))
        shares = [f"{100 * float(kept[rows].mean()):.1f} %" for kept in (task.computably_feasible, task.feasible)]
        lines.append(_row([group.task, group.peer, *shares, _mean_and_error(regret), _optimum_after(group)]))
    return _titled(
        "Limits: shares of the proposals that keep those that can be computed beforehand, and all; regret at the end, "
        'by own recommendation; evaluations until the optimum is among them, median ("-" if more than half of the '
        "runs never have it):",
        lines,
    )


def _optimum_after(group: Group) -> str:
    """Median over the runs."""
    firsts = []
    for result in group.results:
        found = np.flatnonzero(np.array(result.trace.worths) >= result.optimum)
        firsts.append(float(found[0]) + 1 if len(found) else float("inf"))
    median = statistics.median_low(firsts)
    return "-" if median == float("inf") else f"{median:g}"


def _laddered(groups: Sequence[Group], load: Load) -> list[str]:
    """Tasks with shorter trainings."""
    checkpoints = _checkpoints(LADDER_CHECKPOINTS, groups)
    lines = _titled(
        "Tasks with shorter trainings: simple regret, mean ± standard error, at the simulated time of so many full "
        "trainings of mean length, everybody by the best observation of those trained fully:",
        _regrets(groups, checkpoints, observed(load), moment="full trainings"),
    )
    return lines + _titled(
        "Proposals, full trainings and CPU seconds a proposal, mean of whole runs:", _proposals(groups)
    )


def _proposals(groups: Sequence[Group]) -> list[str]:
    lines = _header(["task", "peer", "proposals", "full trainings", "CPU seconds"])
    for group in groups:
        asks = [result.trace.ask_seconds for result in group.results]
        n_full = statistics.fmean(len(result.trace.values) for result in group.results)
        n_asks, seconds = statistics.fmean(map(len, asks)), statistics.fmean(map(sum, asks))
        lines.append(_row([group.task, group.peer, f"{n_asks:.0f}", f"{n_full:.0f}", f"{seconds / n_asks:.3f}"]))
    return lines


def _regrets(groups: Sequence[Group], checkpoints: Sequence[int], cut: Cut, moment: str = "evaluations") -> list[str]:
    peers = list(dict.fromkeys(group.peer for group in groups))
    lines = _header(["task", moment, *peers])
    for task, n in product(dict.fromkeys(group.task for group in groups), checkpoints):
        cells = _cells(peers, {group.peer: cut(group, n) for group in groups if group.task == task})
        lines.append(_row([task, str(n), *cells]))
    after = ", ".join(map(str, checkpoints))
    for peer in (peer for peer in peers if name_of(peer) == OURS):
        ratios = [f"{geometric_mean_ratio(groups, peer, cut, n):.2f}" for n in checkpoints]
        stands = standing(groups, peer, cut, checkpoints)
        lines += ["", f"{peer} over the best other, geometric mean over the tasks, after {after}: {', '.join(ratios)}"]
        lines += [
            "",
            f"{peer}: the lowest mean in {stands.lowest} of {stands.cells} cells, "
            f"within the standard error of the lowest in {stands.close} more",
        ]
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
    error = standard_error(values)
    digits = int(np.clip(1 - np.floor(np.log10(error)), 0, 4)) if error > 0 else 3
    return f"{values.mean():.{digits}f} ± {error:.{digits}f}"


def _ask_seconds(groups: Sequence[Group], checkpoints: Sequence[int]) -> list[str]:
    lines = _header(["peer", *map(str, checkpoints)])
    for peer in dict.fromkeys(group.peer for group in groups):
        asks = [result.trace.ask_seconds for group in groups if group.peer == peer for result in group.results]
        means = [statistics.fmean(second for ask in asks for second in ask[n - 10 : n]) for n in checkpoints]
        lines.append(_row([peer, *(f"{mean:.3f}" for mean in means)]))
    return lines


def _checkpoints(all_of_them: Sequence[int], groups: Sequence[Group]) -> list[int]:
    return [n for n in all_of_them if n <= groups[0].evaluations]


def _n_runs(groups: Sequence[Group]) -> str:
    low, high = min(len(group.results) for group in groups), max(len(group.results) for group in groups)
    return str(low) if low == high else f"{low} to {high}"


def _titled(title: str, table: list[str]) -> list[str]:
    return [title, "", *table, ""]


def _header(cells: Sequence[str]) -> list[str]:
    return [_row(cells), "|" + "---|" * len(cells)]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
