"""A table of students and what distilling them gave: one line of JSON for each training. See README.md.

    OMP_NUM_THREADS=1 python tests/benchmarks/table/make.py ROWS.jsonl [--entries 1200] [--share 0/2] [--scratch FOLDER]

What the file holds already is left out, so a run that was killed goes on. Several processes may fill one file: each is
given its share of the entries, such as 0/2 and 1/2. Then `pack.py` makes the file that is committed.
"""

import argparse
import shutil
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from entries import SPACES, TASKS, Entry, Training, trainings

sys.path.insert(0, str(Path(__file__).parent.parent))
from lines import append_line, read_lines
from machines import commit, processor

from autokd.config.parsing import parse_config
from autokd.config.schema import SearchConfig
from autokd.core.seeds import derive
from autokd.errors import AutoKDError
from autokd.evaluation.evaluate import evaluate
from autokd.evaluation.precompute import missing_outputs, precompute_outputs
from autokd.evaluation.task import EvaluationTask
from autokd.searches.facts import Facts
from autokd.searches.preflight import find_facts
from autokd.searches.problem import Problem
from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture
from search_spaces.errors import SpaceError

RUNGS = (1, 3, 9)  # epochs
FULL = 26
TEMPERATURES, WEIGHTS = (1.0, 10.0), (0.0, 1.0)  # of traditional distillation; the temperature on a logarithmic scale
Row = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """Makes rows.

    Attributes:
        scratch: Folder of the teacher's outputs, and of a training under way.
    """

    scratch: Path

    def row(self, training: Training) -> Row:
        """The row of a training; of one that fails, with the reason."""
        entry = training.entry
        row: Row = {"number": entry.number, "task": entry.task, "space": entry.space}
        row |= {"repeat": training.repeat, "in_full": training.in_full}
        problem = self.problem(entry.task, entry.space)
        settings = _distillation(entry)
        try:
            parameters, student = _student(problem, entry)
        except SpaceError as error:  # no member near fits the limits
            return row | {"failure": str(error)}
        row |= {"parameters": parameters, "distillation": settings}
        if not training.repeat and not training.in_full:
            costs = cost(student)
            names = ("params", "macs", "activation_bytes", "memory_bytes")
            row |= {"cost": {name: getattr(costs, name) for name in names}, "architecture": student.to_dict()}
        try:
            return row | self._trained(problem, training, student, settings)
        except AutoKDError as error:  # a training that diverges
            return row | {"failure": str(error)}

    def _trained(self, problem: Problem, training: Training, student: Architecture, settings: Row) -> Row:
        """Metrics after each rung, or at full length, and the seconds of the training."""
        context = problem.retraining_context if training.in_full else problem.context
        context = replace(context, seed=derive("table", training.repeat, "stream") % 2**31, is_tested=True)
        last = len(context.training.rungs) - 1
        for key in missing_outputs(context):
            precompute_outputs(context, key)
        folder = self.scratch / "-".join(map(str, map(int, training.key)))
        task = EvaluationTask(
            context,
            student.to_json(),
            "kd",
            tuple(sorted(settings.items())),
            0,
            derive("table", training.entry.number, training.repeat, "weights") % 2**31,
            folder,
            keeps_best=training.in_full,
        )
        tasks = [replace(task, rung=rung, context=replace(context, is_tested=rung == last)) for rung in range(last + 1)]
        done = [evaluate(each) for each in tasks]
        shutil.rmtree(folder, ignore_errors=True)
        return {"rungs": [_rounded(each.metrics) for each in done], "seconds": round(sum(e.seconds for e in done), 2)}

    def problem(self, task: str, space: str) -> Problem:
        """What the product makes of a task and a space."""
        return Problem(_config(task, space), self._facts(task), self.scratch)

    @cache  # noqa: B019 - one bench a process
    def _facts(self, task: str) -> Facts:
        return find_facts(_config(task, "nago"))


def _config(task: str, space: str) -> SearchConfig:
    """The Fashion-MNIST recipe's training, on the task's data and within its limits."""
    known = TASKS[task]
    return parse_config(
        {
            "name": "table",
            "data": {"source": "fashion-mnist", "subset": known.samples},
            "teacher": {
                "factory": "autokd.recipes.teachers:fashion_mnist",
                "weights": "autokd.recipes:fashion-mnist.safetensors",
            },
            "budget": {
                "macs": known.macs,
                "of_teacher": {"params": known.params, "activation_bytes": 0.3333333},
            },
            "space": {"name": space, "ranges": dict(SPACES[space][1])},
            "distillation": {"method": "kd"},
            "training": {
                "rungs": list(RUNGS),
                "batch_size": 128,
                "optimizer": "muon",
                "learning_rate": 0.05,
                "weight_decay": 1e-3,
                "views": 4,
                "augmentation": {"shift": 1, "flip": True},
                "precision": "bfloat16",
            },
            "workers": {"engine": "inline", "count": 1, "device": "cpu"},
            "final": {"epochs": FULL, "families": 1},
            "references": {"names": "none"},
        }
    )


def _student(problem: Problem, entry: Entry) -> tuple[Row, Architecture]:
    """Parameters of a random family that fits the limits, and a draw of it."""
    rng = np.random.default_rng(derive("table", entry.number, "student"))
    limits = problem.budget, problem.facts.input_shape, problem.facts.classes
    parameters = problem.space.fit(problem.space.random_parameters(rng), *limits, rng)
    return dict(parameters), problem.space.sample(parameters, *limits, rng)


def _distillation(entry: Entry) -> Row:
    rng = np.random.default_rng(derive("table", entry.number, "distillation"))
    low, high = np.log(TEMPERATURES)
    return {"temperature": float(np.exp(rng.uniform(low, high))), "weight": float(rng.uniform(*WEIGHTS))}


def _rounded(metrics: Any) -> Row:
    return {name: float(f"{value:.6g}") for name, value in metrics.items()}


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--entries", type=int, default=1200)
    parser.add_argument("--share", default="0/1", help="of the entries, such as 1/2: those whose number is 1 modulo 2")
    parser.add_argument("--scratch", type=Path, default=Path("table-scratch"))
    arguments = parser.parse_args()
    part, parts = map(int, arguments.share.split("/"))
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    bench = Bench(arguments.scratch.resolve())
    done = {(row["number"], row["repeat"], row["in_full"]) for row in read_lines(arguments.file)}
    made_by = {"processor": processor(), "commit": commit()}
    wanted = [each for each in trainings(arguments.entries) if each.entry.number % parts == part]
    for number, training in enumerate(wanted, 1):
        if training.key not in done:
            row = bench.row(training) | made_by
            append_line(arguments.file, row)
            outcome = row.get("failure") or f"{100 * row['rungs'][-1]['accuracy']:.2f} %, {row['seconds']:.0f} s"
            print(f"[{number} of {len(wanted)}] {row['space']} {training.key}: {outcome}", flush=True)


if __name__ == "__main__":
    main()
