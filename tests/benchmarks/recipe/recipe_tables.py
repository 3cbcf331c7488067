"""What runs of `make search` came to: tables as Markdown."""

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from recipe_runs import Run

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where benchmarks keep what they share

from intervals import Estimate, estimate

__all__ = ["markdown", "over_seeds"]

PHASES = ("installation", "data", "teacher_outputs", "search", "training")


def markdown(runs: Sequence[Run]) -> str:
    """The report: what each recipe reaches on each processor, and all runs, the newest first.

    Args:
        runs: The oldest first.
    """
    newest = list(reversed(runs))
    groups = dict[tuple[str, str], list[Run]]()
    for run in newest:
        groups.setdefault((run.recipe, run.processor), []).append(run)
    whole = [*_summaries(groups), "", _over_processors(newest), "", *_phases(next(iter(groups.values())))]
    return "\n".join([*whole, "", *_all(newest)])


def over_seeds(runs: Sequence[Run], value: Callable[[Run], float]) -> Estimate:
    """The mean over the seeds of the mean of each seed's runs, so that a seed that ran often counts once."""
    by_seed = [[value(run) for run in runs if run.seed == seed] for seed in sorted({run.seed for run in runs})]
    found = estimate([statistics.fmean(values) for values in by_seed])
    assert found is not None
    return found


def _summaries(groups: Mapping[tuple[str, str], Sequence[Run]]) -> list[str]:
    """A line for each recipe and processor: how far students are below the teacher and above the best reference."""
    lines = [
        "| new in the recipe | processor | epochs | below the teacher | by seed (runs) | over the best reference "
        "| better |",
        "|---|---|---|---|---|---|---|",
    ]
    for (recipe, processor), runs in groups.items():
        below = over_seeds(runs, lambda run: run.below)
        above = over_seeds(runs, lambda run: run.difference)
        epochs = statistics.fmean(run.epochs for run in runs)
        lines.append(
            f"| {recipe} | {processor} | {epochs:.0f} | {below.mean:.2f} | {_by_seed(runs)} | {_interval(above)} "
            f"| {sum(run.difference > run.margin for run in runs)} of {len(runs)} |"
        )
    return lines


def _over_processors(newest: Sequence[Run]) -> str:
    """What the newest recipe reaches over all its seeds, on whatever processor."""
    runs = [run for run in newest if run.recipe == newest[0].recipe]
    below, above = (over_seeds(runs, value) for value in (lambda run: run.below, lambda run: run.difference))
    differences = f"{_interval(below)} points below the teacher, {_interval(above)} over the best reference"
    return f"The newest recipe, over the seeds on all processors, n = {below.n}: {differences}."


def _phases(runs: Sequence[Run]) -> list[str]:
    """Mean seconds of each part of these runs, and how long the whole took."""
    taken = {name: [run.phases[name] for run in runs if name in run.phases] for name in PHASES}
    means = [f"{name.replace('_', ' ')} {statistics.fmean(each):.0f} s" for name, each in taken.items() if each]
    whole = [run.seconds for run in runs if run.with_installation] or [run.seconds for run in runs]
    ends = " to ".join(dict.fromkeys(_clock(end(whole)) for end in (min, max)))
    return [f"Mean time of the parts in the runs of the first line: {', '.join(means)}; the whole took {ends}."]


def _all(runs: Sequence[Run]) -> list[str]:
    """A line for each run."""
    lines = [
        "| date | seed | time | epochs | images/s | student | weight | validation | test | below the teacher "
        "| best reference | its test | over it | remark |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {run.date} | {run.seed} | {_clock(run.seconds)}{'' if run.with_installation else ' *'} | {run.epochs:g} "
        f"| {_or_dash(run.images_per_second, ',.0f')} | {run.student} | {run.weight:g} | {run.validation:.2f} "
        f"| {run.test:.2f} | {run.below:.2f} | {run.reference} | {_or_dash(run.reference_test, '.2f')} "
        f"| {run.difference:+.2f} ± {run.margin:.2f} | {run.remark} |"
        for run in runs
    ]
    return [*lines, "", "An asterisk: installed before."]


def _by_seed(runs: Sequence[Run]) -> str:
    """How far each seed's students are below the teacher on average, and how often it ran."""
    seeds = {seed: [run.below for run in runs if run.seed == seed] for seed in sorted({run.seed for run in runs})}
    return ", ".join(f"{seed}: {statistics.fmean(below):.2f} ({len(below)})" for seed, below in seeds.items())


def _interval(found: Estimate) -> str:
    return f"{found.mean:+.2f}" if found.n < 3 else f"{found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
