"""Tasks from our own table of students under distillation, see tests/benchmarks/table/README.md.

A point is a family of one space with a temperature and a weight of traditional distillation. Its value is the
validation accuracy of a student of it after the last rung, in percent. The space is a continuum of which the table
holds some points, see `NearestTask`.
"""

import sys
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from ladder import Rungs
from nearest import NearestTask
from optuna.distributions import BaseDistribution, FloatDistribution
from tasks import Array, Params

sys.path.append(str(Path(__file__).resolve().parents[1] / "table"))

from entries import SPACES as RANGES
from entries import TASKS
from pack import FILE, load

from search_spaces.design.registry import space as search_space
from search_spaces.design.space import Space

__all__ = ["MAIN", "RUNGS", "SPACES", "VARIATIONS", "students"]

SPACES = tuple(RANGES)
VARIATIONS = tuple(TASKS)
MAIN = "main"
RUNGS = "-rungs"
_EPOCHS = (1, 3, 9)
_DISTILLATION: dict[str, BaseDistribution] = {
    "temperature": FloatDistribution(1.0, 10.0, log=True),
    "weight": FloatDistribution(0.0, 1.0),
}
_MACS_PER_SECOND = 1e10
"""The table's times are of several machines and busy ones. A training's time is taken as proportional to its
multiply-accumulates; the regret at equal time does not depend on the rate."""

Row = dict[str, Any]


def students(folder: Path, space: str, variation: str, has_rungs: bool) -> NearestTask:
    """The students of one space in one task of the table.

    Args:
        folder: Where the table is looked for; otherwise it is the one of this repository.
        space: One of `SPACES`.
        variation: One of `VARIATIONS`.
        has_rungs: Whether trainings may end at the lower rungs.

    Raises:
        FileNotFoundError: If there is no table, or it has no such student.
    """
    file = folder / FILE.name if (folder / FILE.name).exists() else FILE
    firsts, repeats = _rows(file, space, variation)
    if not firsts:
        raise FileNotFoundError(2, "No students", f"{file} with students of {space!r} in {variation!r}")
    family = search_space(space, **RANGES[space][1])
    values = [[_accuracy(row, -1) for row in (first, *repeats.get(first["number"], ()))] for first in firsts]
    seconds = np.array([[_EPOCHS[-1] * TASKS[variation].samples * row["cost"]["macs"]] for row in firsts])
    lower = np.array([[_accuracy(row, rung) for rung in range(len(_EPOCHS) - 1)] for row in firsts])
    return NearestTask(
        name=f"students-{space}-{variation}",
        space={name: each.distribution for name, each in family.distributions().items()} | _DISTILLATION,
        values=(padded := _padded(values)),
        seconds=seconds / _MACS_PER_SECOND * np.ones(padded.shape),
        ladder=Rungs(_EPOCHS, lower, continues=True) if has_rungs else Rungs(),
        features=partial(_features, family) if family.features(family.completed({})) else None,
        described=family.described(),
        settings=[_setting(family, row["parameters"] | row["distillation"]) for row in firsts],
        active=partial(_setting, family),
    )


def _rows(file: Path, space: str, variation: str) -> tuple[list[Row], dict[int, list[Row]]]:
    """The first training of each student, and the others by its number; none at full length, and none that failed."""
    own = [
        row
        for row in _loaded(file)
        if (row["space"], row["task"]) == (space, variation) and not row["in_full"] and "failure" not in row
    ]
    repeats: dict[int, list[Row]] = {}
    for row in own:
        if row["repeat"]:
            repeats.setdefault(row["number"], []).append(row)
    return [row for row in own if not row["repeat"]], repeats


_loaded = cache(load)


def _accuracy(row: Row, rung: int) -> float:
    return 100.0 * float(row["rungs"][rung]["accuracy"])


def _padded(values: Sequence[Sequence[float]]) -> Array:
    longest = max(map(len, values))
    return np.array([[*each, *[np.nan] * (longest - len(each))] for each in values])


def _setting(family: Space, values: Params) -> dict[str, Any]:
    """What there is of a family, and the distillation."""
    chosen = {name: value for name, value in family.completed(values).items() if name in family.distributions()}
    return chosen | {name: values[name] for name in _DISTILLATION}


def _features(family: Space, values: Params) -> Sequence[float]:
    return family.features(family.completed(values))
