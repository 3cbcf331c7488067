"""Searches over the recorded tables, trial by trial, as a search of AutoKD runs them: halving where there are rungs.

Half of the tables may be used to choose and to fit what a search says of itself, and the other half only to check it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from catalogue import load_task
from ladder_samplers import halving
from optuna.trial import TrialState, create_trial
from peers import Peer
from samplers import SamplerPeer
from tasks import Params, Task

from autokd.core.seeds import derive
from autokd.optimizers.registry import sampler

__all__ = ["CHECKED", "FITTED", "SEEDS", "Replay", "load", "replay", "seeds_of"]

FITTED = (
    "nb201-cifar100",
    "nb201-cifar100-early",
    "hpolib-slice",
    "taskset-patch128-lstm128-avg",
    "taskset-patch128-lstm128-embed128",
    "taskset-patch32-gru64-avg",
    "taskset-patch32-irnn64-relu-last",
    "taskset-patch32-lstm128",
    "taskset-patch32-vrnn64-relu-avg",
)
"""Tables on which constants are fitted."""

CHECKED = (
    "nb201-cifar10",
    "macro",
    "hpolib-protein",
    "taskset-patch128-lstm128",
    "taskset-patch32-gru128",
    "taskset-patch32-irnn64-relu-avg",
    "taskset-patch32-lstm128-e128",
    "taskset-patch32-vrnn128-tanh",
    "taskset-patch32-vrnn64-tanh-avg",
)
"""The others. None of them is a part of a table above, or the same networks trained for another number of epochs."""

SEEDS, CURVE_SEEDS = 30, 10  # searches of a table; of one of the curves, of which there are twelve
LENGTHS, USUAL_LENGTH = (120, 60, 60, 60, 120), 40  # trials of the first searches of a table, and of the others


load = cache(load_task)
"""A task by name and folder of tables, read once."""


@dataclass(frozen=True)
class Replay:
    """A search, as it went.

    Attributes:
        task: The table.
        seed: Seed of the search. Odd ones know the features of points, where the task has some.
        params: What each trial proposed.
        rows: The point of the table that each trial was.
        values: What each trial was told, at each rung that it reached.
    """

    task: Task
    seed: int
    params: Sequence[Params]
    rows: Sequence[int]
    values: Sequence[Sequence[float]]

    @property
    def features(self) -> Any:
        """What the search is told of points beside their parameters."""
        return self.task.features if self.seed % 2 else None

    def study(self, n: int) -> optuna.Study:
        """The study after n trials."""
        steps, distributions = self.task.ladder.steps, dict(self.task.space)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize")
        for params, values in zip(self.params[:n], self.values[:n], strict=True):
            complete = len(values) == len(steps)
            trial = create_trial(
                state=TrialState.COMPLETE if complete else TrialState.PRUNED,
                value=values[-1] if complete else None,
                params=dict(params),
                distributions=distributions,
                intermediate_values=dict(zip(steps, values, strict=False)) if len(steps) > 1 else {},
            )
            study.add_trial(trial)
        return study


def seeds_of(task_name: str) -> int:
    """How many searches of a table there are."""
    return CURVE_SEEDS if task_name.startswith("taskset") else SEEDS


def replay(task_name: str, seed: int, tables: Path) -> dict[str, Any]:
    """One search with one worker, as a line."""
    task = load(task_name, tables)
    features = task.features if seed % 2 else None
    own = sampler("trust-region", derive(seed, task_name, "stopping") % 2**32, task.space, features=features)
    peer = halving(task, own) if task.ladder.top else SamplerPeer(task, own)
    noise = np.random.default_rng(derive(seed, task_name, "training seeds"))
    line: dict[str, Any] = {"key": [task_name, seed], "params": [], "rows": [], "values": []}
    for _ in range(LENGTHS[seed] if seed < len(LENGTHS) else USUAL_LENGTH):
        proposal = peer.ask()
        row = task.row(proposal.params, set(line["rows"]))
        line["values"].append(_climb(task, peer, proposal.number, row, noise))
        line["params"].append(proposal.params)
        line["rows"].append(row)
    return line


def _climb(task: Task, peer: Peer, number: int, row: int, noise: np.random.Generator) -> list[float]:
    """What a trial gives at each rung, up to the one where it is pruned."""
    values: list[float] = []
    for rung in range(task.ladder.top + 1):
        measured = task.train(row, rung, rung - 1 if rung else None, noise)
        values.append(measured.value)
        if rung == task.ladder.top:
            peer.tell(number, measured)
        elif not peer.keeps(number, rung, measured.value):
            break
    return values
