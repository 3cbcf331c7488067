"""Prune, then distil (Park and No 2022): does a pruned teacher teach its own student better than the dense one does?

    python tests/benchmarks/distillation/prune_then_distil.py [--shares 0.36 0.59 0.79] [--seeds 5] [--epochs 24]
        [--pruning-epochs 8] [--subset N] [--results FILE] [--folder FOLDER]

The teacher is the shipped one of Fashion-MNIST, pruned to each share as `[teacher.pruning]` does it. Each pruned
teacher has two students: its own, the teacher's graph with widths that follow from the remaining weights, and one that
is drawn from NAGO with at most as many parameters. Each student learns from the dense teacher and from the pruned one,
by KD with the paper's temperature 10 and weight 0.95. Runs of one student and seed share first weights, views and their
order, so that the difference of the two teachers is taken seed by seed.

Each run is one line of JSON in the results file; what it lacks is run, then all runs of these epochs, pruning epochs
and subset are reported: test accuracy, and pruned minus dense in points with the 95 % interval of the t distribution.
The paper's claim is that it is above 0 for the pruned teacher's own student.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))
from lines import append_line, read_lines

from autokd.config.schema import AugmentationConfig, DataConfig, TeacherConfig, TrainingConfig
from autokd.config.teacher import PruningConfig
from autokd.core.device import pick_precision
from autokd.core.seeds import derive
from autokd.data.registry import load_data
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.evaluate import evaluate
from autokd.evaluation.precompute import missing_outputs, precompute_outputs
from autokd.evaluation.prune import prune_round
from autokd.evaluation.task import EvaluationTask
from autokd.teachers.graph import traced_teacher
from autokd.teachers.pruned import PrunedTeachers
from autokd.teachers.registry import load_teacher
from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture
from search_spaces.design.budget import Budget
from search_spaces.design.registry import space
from search_spaces.spaces.like_teacher import LikeTeacher

CPU = torch.device("cpu")
DENSE, OWN, NAGO = "dense", "own", "nago"
KD = (("temperature", 10.0), ("weight", 0.95))  # of the paper
FAMILY = {
    "top_nodes": 3,
    "top_neighbours": 2,
    "top_probability": 0.5,
    "middle_nodes": 1,
    "middle_probability": 0.5,
    "bottom_nodes": 3,
    "bottom_neighbours": 2,
    "bottom_probability": 0.5,
}


@dataclass(frozen=True)
class Run:
    """A training: which pruned teacher's student of which kind learns from which teacher."""

    pruned: str
    student: str
    teacher: str
    seed: int


def main() -> None:
    """Run what is missing, then report."""
    arguments = _arguments()
    torch.set_num_threads(1)
    context = _context(arguments)
    assert context.pruned is not None
    for rounds in context.pruned.missing:
        prune_round(context, rounds)
        print(f"round {rounds}: {context.pruned.result(rounds)['accuracy']:.2%} validation accuracy", flush=True)
    for key in missing_outputs(context):
        precompute_outputs(context, key)
    done = _read(arguments)
    for run in _runs(context, arguments.seeds):
        if run not in done:
            _record(run, context, arguments)
    _print(_read(arguments), list(context.teacher.pruned))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.36, 0.59, 0.79])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=float, default=24)
    parser.add_argument("--pruning-epochs", type=int, default=8)
    parser.add_argument("--subset", type=int, help="training samples; all by default")
    parser.add_argument("--results", type=Path, default=Path("prune-then-distil.jsonl"))
    parser.add_argument("--folder", type=Path, default=Path("prune-then-distil-runs"), help="of teachers and runs")
    return parser.parse_args()


def _context(arguments: argparse.Namespace) -> TrainingContext:
    data = DataConfig(source="fashion-mnist", subset=arguments.subset)
    pruning = PruningConfig(shares=tuple(arguments.shares), epochs=arguments.pruning_epochs)
    teacher = TeacherConfig(
        factory="autokd.recipes.teachers:fashion_mnist",
        weights="autokd.recipes:fashion-mnist.safetensors",
        pruning=pruning,
    )
    training = TrainingConfig(
        rungs=(arguments.epochs,),
        schedule="cosine",
        batch_size=64,
        learning_rate=0.05,
        precision=pick_precision("auto", CPU),
        augmentation=AugmentationConfig(shift=2, flip=True),
    )
    dataset, dense, root = load_data(data), teacher.numbered(0), arguments.folder.resolve() / "teachers"
    digest = load_teacher(dense, CPU, dataset).digest
    wanted = tuple(pruning.rounds.values())
    pruned = PrunedTeachers(dense, digest, dataset.digest, training, pruning.epochs, 0, root, wanted)
    return TrainingContext(
        data, dataset.digest, teacher, digest, training, 0, root, "cpu", is_tested=True, pruned=pruned
    )


def _runs(context: TrainingContext, n_seeds: int) -> Iterator[Run]:
    for seed in range(n_seeds):
        for pruned in context.teacher.pruned:
            for student in (OWN, NAGO):
                yield from (Run(pruned, student, teacher, seed) for teacher in (DENSE, pruned))


def _record(run: Run, context: TrainingContext, arguments: argparse.Namespace) -> None:
    student = _student(run, context)
    schedules = list(context.teacher.teacher_schedules)
    number = 0 if run.teacher == DENSE else schedules.index(run.teacher)
    seed, folder = derive(run.seed, run.pruned, run.student), arguments.folder.resolve() / "evaluations"
    metrics = evaluate(EvaluationTask(context, student.to_json(), "kd", KD, 0, seed, folder, number)).metrics
    line: dict[str, Any] = {"params": cost(student).params, "metrics": metrics}
    append_line(arguments.results, vars(run) | _common(arguments) | line)
    print(f"{run}: {metrics['test_accuracy']:.2%} test accuracy", flush=True)


def _student(run: Run, context: TrainingContext) -> Architecture:
    """The student of exactly the widths that follow from the pruned teacher, or one of NAGO of its size."""
    assert context.pruned is not None
    dataset = context.load_data()
    graph = traced_teacher(context.load_teacher(0, dataset), dataset.input_shape, CPU).architecture
    widths = context.pruned.result(context.teacher.pruned[run.pruned])["widths"]
    copies = LikeTeacher(widths="pruned").with_teacher(graph, widths)
    exact = LikeTeacher(widths="pruned", width=copies.pruned_width).with_teacher(graph, widths)
    family = dict.fromkeys(copies.distributions(), 1.0)
    given = dataset.input_shape, dataset.classes, np.random.default_rng(0)
    own = exact.sample(family, Budget(), *given)
    return own if run.student == OWN else space(NAGO).sample(FAMILY, Budget(params=cost(own).params), *given)


def _read(arguments: argparse.Namespace) -> dict[Run, dict[str, Any]]:
    """The lines of trainings of these lengths and this subset."""
    common = _common(arguments).items()
    lines = (line for line in read_lines(arguments.results) if common <= line.items())
    return {Run(**{name: line[name] for name in Run.__annotations__}): line for line in lines}


def _common(arguments: argparse.Namespace) -> dict[str, Any]:
    """What all trainings of a table have in common."""
    return {name: getattr(arguments, name) for name in ("epochs", "pruning_epochs", "subset")}


def _print(done: Mapping[Run, Mapping[str, Any]], names: list[str]) -> None:
    print("\n| student | parameters | dense teacher, % | pruned teacher, % | pruned - dense, points | n |")
    print("|---|---|---|---|---|---|")
    for pruned in names:
        for student in (OWN, NAGO):
            print(_line(done, pruned, student))


def _line(done: Mapping[Run, Mapping[str, Any]], pruned: str, student: str) -> str:
    runs = {run: line for run, line in done.items() if (run.pruned, run.student) == (pruned, student)}
    accuracy = {(run.teacher, run.seed): 100 * line["metrics"]["test_accuracy"] for run, line in runs.items()}
    seeds = sorted({seed for _, seed in accuracy if {(DENSE, seed), (pruned, seed)} <= accuracy.keys()})
    dense, sparse = ([accuracy[teacher, seed] for seed in seeds] for teacher in (DENSE, pruned))
    params = next(iter(runs.values()))["params"] if runs else 0
    gains = [one - other for one, other in zip(sparse, dense, strict=True)]
    means = [f"{statistics.mean(values):.2f}" if values else "" for values in (dense, sparse)]
    return f"| {pruned}, {student} | {params:,} | {means[0]} | {means[1]} | {_interval(gains)} | {len(seeds)} |"


def _interval(values: list[float]) -> str:
    """Mean and half the width of its 95 % interval."""
    if len(values) < 2:
        return f"{values[0]:+.2f}" if values else ""
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{statistics.mean(values):+.2f} ± {half:.2f}"


if __name__ == "__main__":
    main()
