"""Architectures per second of every search space, and the memory that the execution order saves.

    python tests/benchmarks/spaces.py [--draws 1000] [--space NAME ...] [-o json]

Each draw is an architecture of its own random family, made as wide as a limit on parameters allows, which takes its
exact cost at many widths; the time is CPU time of this process, on one thread. The memory is `activation_bytes` in our
order against the order in which the space adds its nodes, of the very same architectures: a limit on parameters gives
both the same widths.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from unittest.mock import patch

import numpy as np

from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture
from search_spaces.design.budget import Budget
from search_spaces.design.registry import known_spaces, space
from search_spaces.design.space import Space
from search_spaces.errors import BudgetError

BLOCKS = 10
"""Into which the draws are split, for the spread of the speed."""

WARM_UP = 20


@dataclass(frozen=True)
class Setting:
    """What a space is drawn for."""

    input_shape: tuple[int, int, int]
    classes: int
    budget: Budget


SMALL = Setting((1, 28, 28), 10, Budget(params=150_000))
MEDIUM = Setting((3, 32, 32), 10, Budget(params=1_000_000))
LARGE = Setting((3, 224, 224), 1000, Budget(params=4_000_000))
SETTINGS = {"nago": SMALL, "randwire": SMALL, "blocks": LARGE, "sequential": SMALL}
"""Spaces that are not here get `MEDIUM`."""


@dataclass(frozen=True)
class Figures:
    """What was measured of one space; savings are shares of the memory in the nodes' own order."""

    draws: int
    too_large: int
    nodes: float
    per_second: list[float]
    savings: list[float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--space", nargs="+", metavar="NAME", default=list(known_spaces()))
    parser.add_argument("-o", choices=["text", "json"], default="text", dest="output")
    arguments = parser.parse_args()
    figures = {name: _measure(name, arguments.draws) for name in arguments.space}
    if arguments.output == "json":
        print(json.dumps({name: asdict(each) for name, each in figures.items()}))
    else:
        _print(figures)


def _measure(name: str, draws: int) -> Figures:
    made, setting = space(name), SETTINGS.get(name, MEDIUM)
    list(_draws(made, setting, range(draws, draws + WARM_UP)))
    ordered: list[Architecture | None] = []
    per_second: list[float] = []
    for block in np.array_split(np.arange(draws), min(BLOCKS, draws)):
        started = time.process_time()
        drawn = list(_draws(made, setting, block.tolist()))
        per_second.append(len(drawn) / (time.process_time() - started))
        ordered += drawn
    with patch("search_spaces.design.blueprint.best_schedule", lambda inputs, demands: list(range(len(inputs)))):
        own = list(_draws(made, setting, range(draws)))
    pairs = [(ours, theirs) for ours, theirs in zip(ordered, own, strict=True) if ours and theirs]
    return Figures(
        draws=draws,
        too_large=draws - len(pairs),
        nodes=statistics.mean(len(ours.nodes) for ours, _ in pairs),
        per_second=per_second,
        savings=[1 - cost(ours).activation_bytes / cost(theirs).activation_bytes for ours, theirs in pairs],
    )


def _draws(made: Space, setting: Setting, seeds: range | list[int]) -> Iterator[Architecture | None]:
    """One architecture for each seed, None where the family is too large for the budget."""
    for seed in seeds:
        rng = np.random.default_rng(seed)
        parameters = made.random_parameters(rng)
        try:
            drawn = made.sample(parameters, setting.budget, setting.input_shape, setting.classes, rng)
        except BudgetError:
            yield None
        else:
            yield drawn


def _print(figures: dict[str, Figures]) -> None:
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}")
    print("\n| space | input | parameters | draws (too large) | nodes, mean | per second, median | min | max |")
    print("|---|---|---|---|---|---|---|---|")
    for name, each in figures.items():
        setting = SETTINGS.get(name, MEDIUM)
        size = " x ".join(map(str, setting.input_shape))
        speeds = [statistics.median(each.per_second), min(each.per_second), max(each.per_second)]
        print(f"| {name} | {size} | {setting.budget.params:,} | {each.draws:,} ({each.too_large:,}) ", end="")
        print(f"| {each.nodes:.0f} | {' | '.join(f'{speed:.0f}' for speed in speeds)} |")
    print("\n| space | memory saved by the order, median | mean | max | not worse |\n|---|---|---|---|---|")
    for name, each in figures.items():
        saved = [statistics.median(each.savings), statistics.mean(each.savings), max(each.savings)]
        not_worse = statistics.mean(saving >= 0 for saving in each.savings)
        print(f"| {name} | {' | '.join(f'{share:.1%}' for share in saved)} | {not_worse:.1%} |")


if __name__ == "__main__":
    main()
