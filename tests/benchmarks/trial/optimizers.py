"""Which optimiser trains students best: random students of several spaces, each trained by every one of them.

    OMP_NUM_THREADS=1 python tests/benchmarks/trial/optimizers.py RESULTS.jsonl [--recipe digits] [--students 4]
        [--epochs 20] [--set KEY=VALUE ...]

One line of JSON a training; what the file holds already is left out, so a run that was killed goes on. Then a table:
for each space the means over its students, and the mean difference to the first optimiser with its standard error.

Students are a ResNet and random families under a tenth of the teacher's parameters and a third of its activations; all
else is the recipe's, with traditional distillation.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch

from autokd.core.seeds import derive
from autokd.errors import AutoKDError
from autokd.evaluation.evaluate import evaluate
from autokd.evaluation.precompute import missing_outputs, precompute_outputs
from autokd.evaluation.task import EvaluationTask
from autokd.recipes.catalogue import find_config
from autokd.searches.facts import Facts
from autokd.searches.preflight import find_facts
from autokd.searches.problem import Problem
from search_spaces.architecture.format import Architecture
from search_spaces.design.registry import space
from search_spaces.spaces.blocks import RESNET

OPTIMIZERS = {"sgd": 0.1, "sgd-0.2": 0.2, "muon": 0.05, "muon-0.1": 0.1, "adamw": 0.004}
SPACES = ("resnet", "blocks", "nago", "randwire")
LIMITS = ("budget.of_teacher.params=0.1", "budget.of_teacher.activation_bytes=0.3333333")
SETTINGS = (("temperature", 4.0), ("weight", 0.9))
Row = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """The recipe, length of a training, and where files are kept."""

    recipe: str
    overrides: Sequence[str]
    epochs: float
    folder: Path

    @cached_property
    def facts(self) -> Facts:
        """What the product finds out about data and teacher."""
        return find_facts(find_config(self.recipe, [*LIMITS, *self.overrides]))

    def problem(self, optimizer: str) -> Problem:
        """What the product makes of the recipe with an optimiser."""
        training = (
            f"training.optimizer={optimizer.partition('-')[0]}",
            f"training.learning_rate={OPTIMIZERS[optimizer]}",
        )
        length = (f"final.epochs={self.epochs}", "workers.device=cpu")
        config = find_config(self.recipe, [*LIMITS, *training, *length, *self.overrides])
        return Problem(config, self.facts, self.folder)

    def row(self, family: str, number: int, optimizer: str) -> Row:
        """One training, as a line."""
        problem = self.problem(optimizer)
        context = problem.retraining_context
        for key in missing_outputs(context):
            precompute_outputs(context, key)
        student = _student(problem, family, number).to_json()
        task = EvaluationTask(context, student, "kd", SETTINGS, 0, number, self.folder / "evaluations")
        row: Row = {"recipe": self.recipe, "space": family, "student": number, "optimizer": optimizer}
        try:
            done = evaluate(task)
        except AutoKDError as error:  # a training that diverges
            return row | {"failure": str(error)}
        names = ("accuracy", "test_accuracy", "loss")
        return row | {name: done.metrics[name] for name in names} | {"seconds": done.seconds}


def _student(problem: Problem, family: str, number: int) -> Architecture:
    facts, rng = problem.facts, np.random.default_rng(derive("optimizers", family, number))
    limits = problem.budget, facts.input_shape, facts.classes
    students = space("blocks", head_ratio=0) if family == "resnet" else space(family)
    drawn = RESNET if family == "resnet" else students.fit(students.random_parameters(rng), *limits, rng)
    return students.sample(drawn, *limits, rng)


def main() -> None:
    """Train what is missing, then print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--recipe", default="digits")
    parser.add_argument("--students", type=int, default=4)
    parser.add_argument("--epochs", type=float, default=20)
    parser.add_argument("--optimizers", nargs="+", default=list(OPTIMIZERS), choices=list(OPTIMIZERS))
    parser.add_argument("--spaces", nargs="+", default=list(SPACES), choices=list(SPACES))
    parser.add_argument("--set", dest="overrides", nargs="*", default=[])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(arguments.recipe, arguments.overrides, arguments.epochs, arguments.file.with_suffix(""))
    done = {_key(row) for row in _rows(arguments.file)}
    for number in range(arguments.students):
        for family in arguments.spaces:
            for optimizer in arguments.optimizers:
                if (arguments.recipe, family, number, optimizer) not in done:
                    row = bench.row(family, number, optimizer)
                    with arguments.file.open("a") as file:
                        file.write(json.dumps(row) + "\n")
    print("\n".join(_table([row for row in _rows(arguments.file) if row["recipe"] == arguments.recipe])))


def _key(row: Row) -> tuple[Any, ...]:
    return row["recipe"], row["space"], row["student"], row["optimizer"]


def _rows(file: Path) -> list[Row]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _table(rows: Sequence[Row]) -> Iterator[str]:
    """Lines of a table in Markdown."""
    first = rows[0]["optimizer"]
    yield f"| space | optimizer | n | failed | validation | test | loss | loss less that of {first} |"
    yield "|---|---|---|---|---|---|---|---|"
    for family, optimizer in dict.fromkeys((row["space"], row["optimizer"]) for row in rows):
        mine = {row["student"]: row for row in rows if (row["space"], row["optimizer"]) == (family, optimizer)}
        base = {row["student"]: row for row in rows if (row["space"], row["optimizer"]) == (family, first)}
        good = {number: row for number, row in mine.items() if "loss" in row}
        paired = [row["loss"] - base[number]["loss"] for number, row in good.items() if "loss" in base.get(number, {})]
        cells = [f"{100 * fmean(row[name] for row in good.values()):.2f}" for name in ("accuracy", "test_accuracy")]
        loss = f"{fmean(row['loss'] for row in good.values()):.4f}"
        difference = f"{fmean(paired):+.4f}" + (
            f" ± {stdev(paired) / len(paired) ** 0.5:.4f}" if len(paired) > 1 else ""
        )
        failed = len(mine) - len(good)
        yield f"| {family} | {optimizer} | {len(good)} | {failed} | {' | '.join(cells)} | {loss} | {difference} |"


if __name__ == "__main__":
    main()
