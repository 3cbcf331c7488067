"""What settings of a training are worth: students trained with each of them, measured on samples that none has seen.

    OMP_NUM_THREADS=1 python tests/benchmarks/trial/settings.py RESULTS.jsonl [--recipe fashion-mnist]
        [--students resnet deep-early nago ...] [--seeds 0 1] [--epochs 26] [--set data.subset=20000 ...]
        [--settings "" training.optimizer=sgd,training.learning_rate=0.1 distillation.method=dist ...] [--shorter 1.5]

One line of JSON a training; what the file holds already is left out, so a run that was killed goes on, and several
processes may fill one file. Then a table: the mean of each setting over students and seeds, and the mean difference to
the recipe as it is, or as `--set` makes it, which is the setting "", paired by student and seed, with its standard
error.

Students are trained at full length on a part of the recipe's training samples, within its limits, with the recipe's
method or that of the setting, whose hyper-parameters have their own defaults unless the setting fixes them, as
`distillation.ranges.temperature=8` does. The other training samples, 35,000 by default, are what they are measured on:
several times as many as the validation split has, and neither that nor the test split has to choose anything. Students
are well-known networks, the slim copy of the teacher in its proportions, `like-teacher` (whose weights have seen all
samples), or the name of a space, of which each seed draws another one. `--shorter` also prints whether
trainings of another length, of which the file has some, rank the settings alike.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where benchmarks keep what they share

from lines import append_line, read_lines

from autokd.core.seeds import derive
from autokd.data.dataset import Split, hold_out
from autokd.data.registry import load_data
from autokd.errors import AutoKDError
from autokd.evaluation.evaluate import evaluate
from autokd.evaluation.networks import built_student
from autokd.evaluation.precompute import missing_outputs, precompute_outputs
from autokd.evaluation.task import EvaluationTask
from autokd.recipes.catalogue import find_config
from autokd.searches.facts import Facts
from autokd.searches.preflight import find_facts
from autokd.searches.problem import Problem
from autokd.training.checkpoint import load_weights
from autokd.training.metrics import label_metrics, predict
from search_spaces.architecture.format import Architecture
from search_spaces.design.registry import space
from search_spaces.spaces.blocks import DEEP_EARLY, RESNET, RESNET_20

KNOWN: Mapping[str, Mapping[str, Any]] = {"resnet": RESNET, "resnet-20": RESNET_20, "deep-early": DEEP_EARLY}
COPY = "like-teacher"
OVERRIDES = ("data.subset=20000", "budget.macs=20000000")
AS_IT_IS = ""
SETTINGS = (
    AS_IT_IS,
    "training.learning_rate=0.025",
    "training.learning_rate=0.1",
    "training.batch_size=64",
    "training.batch_size=64,training.learning_rate=0.025",
    "training.weight_decay=0",
    "training.weight_decay=0.01",
    "training.augmentation.shift=0",
    "training.augmentation.shift=1",
    "training.augmentation.cutout=8",
)
MEASURED = ("accuracy", "test_accuracy", "training_cross_entropy")
COMMON = ("recipe", "epochs", "overrides")
OWN_DEFAULTS = "distillation.ranges={}"
Row = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """Trains and measures.

    Attributes:
        recipe: Name of the recipe.
        epochs: Length of a training.
        overrides: In what all trainings depart from the recipe, as on the command line.
        folder: Folder of the teacher's outputs, and of trainings under way.
    """

    recipe: str
    epochs: float
    overrides: tuple[str, ...]
    folder: Path

    def identity(self, student: str, seed: int, setting: str) -> Row:
        """What tells a training from others."""
        common = {"recipe": self.recipe, "epochs": self.epochs, "overrides": list(self.overrides)}
        return {"student": student, "seed": seed, "setting": setting} | common

    def row(self, student: str, seed: int, setting: str) -> Row:
        """One training, as a line."""
        problem = self.problem(seed, setting)
        context, distillation = problem.retraining_context, problem.config.distillation
        for key in missing_outputs(context):
            precompute_outputs(context, key)
        task = EvaluationTask(
            context,
            _architecture(problem, student, seed).to_json(),
            distillation.method,
            tuple(sorted(distillation.ranges.items())),
            rung=0,
            seed=derive(seed, "training"),
            folder=problem.evaluations,
            keeps_best=True,
            from_teacher=student == COPY and problem.config.training.from_teacher,
        )
        row = self.identity(student, seed, setting)
        try:
            done = evaluate(task)
        except AutoKDError as error:  # a training that diverges
            return row | {"failure": str(error)}
        measured = {name: done.metrics[name] for name in MEASURED}
        return row | {"unseen": self._accuracy_on_unseen(task)} | measured | {"seconds": done.seconds}

    def problem(self, seed: int, setting: str) -> Problem:
        """What the product makes of the recipe with other settings of its training."""
        settings = [f"seed={seed}", *filter(None, setting.split(","))]
        return Problem(find_config(self.recipe, [*self._given, *settings]), self.facts, self.folder)

    @cached_property
    def facts(self) -> Facts:
        """What the product finds out about data and teacher."""
        return find_facts(find_config(self.recipe, self._given))

    @property
    def _given(self) -> list[str]:
        return [
            OWN_DEFAULTS,
            *self.overrides,
            f"final.epochs={self.epochs}",
            "workers.device=cpu",
            "training.precision=bfloat16",
        ]

    @cached_property
    def _unseen(self) -> Split:
        """The training samples that are not in the subset, which is drawn as `Dataset.subset` draws it."""
        data = find_config(self.recipe, self._given).data
        full = load_data(data.model_copy(update={"subset": None})).train
        return hold_out(full, len(full) - (data.subset or 0))[1]

    def _accuracy_on_unseen(self, task: EvaluationTask) -> float:
        network = built_student(task, "weights")
        network.load_state_dict(load_weights(task.weights))
        logits = predict(network, self._unseen, task.context.load_data().normalisation)
        return label_metrics(logits, self._unseen.labels)["accuracy"]


def _architecture(problem: Problem, student: str, seed: int) -> Architecture:
    facts, rng = problem.facts, np.random.default_rng(derive("settings", student, seed))
    limits, tilt = (problem.budget, facts.input_shape, facts.classes), problem.config.space.tilt
    if student in KNOWN:
        return space("blocks", head_ratio=0).tilted(tilt).sample(KNOWN[student], *limits, rng)
    if student == COPY:
        assert problem.teacher_graph is not None
        copies = space(COPY).with_teacher(problem.teacher_graph).tilted(tilt)
        return copies.sample(copies.complete(copies.start_points()[0]), *limits, rng)
    drawn_from = space(student).tilted(tilt)
    return drawn_from.sample(drawn_from.fit(drawn_from.random_parameters(rng), *limits, rng), *limits, rng)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Lines of a table in Markdown, from the setting that is best on unseen samples to the worst."""
    yield "| setting | n | failed | unseen, % | difference, points | validation, % | test, % | training cross-entropy |"
    yield "|---|---|---|---|---|---|---|---|"
    trained = {(row["setting"], row["student"], row["seed"]): row for row in rows if "unseen" in row}
    differences = {row["setting"]: list[float]() for row in rows}
    for setting, student, seed in trained:
        if base := trained.get((AS_IT_IS, student, seed)):
            difference = trained[setting, student, seed]["unseen"] - base["unseen"]
            differences[setting].append(100 * difference)
    for setting in sorted(differences, key=lambda each: -fmean(differences[each] or [-1.0])):
        mine = [row for row in rows if row["setting"] == setting]
        good = [row for row in mine if "unseen" in row]
        shown = [len(good), len(mine) - len(good), *_means(good, differences[setting])]
        yield f"| {setting or 'the recipe as it is'} | {' | '.join(map(str, shown))} |"


def rank_correlation(rows: Sequence[Row], shorter: Sequence[Row]) -> tuple[float, int]:
    """Spearman's correlation of settings between two lengths, by accuracy on unseen samples, and of how many they are.

    Args:
        rows: Trainings of one length.
        shorter: Trainings of another one; of both, what has the same setting, student and seed in the other counts.
    """
    by_key = [
        {(row["setting"], row["student"], row["seed"]): row["unseen"] for row in each if "unseen" in row}
        for each in (rows, shorter)
    ]
    common = sorted(by_key[0].keys() & by_key[1].keys())
    settings = sorted({setting for setting, _, _ in common})
    means = [[fmean(each[key] for key in common if key[0] == setting) for setting in settings] for each in by_key]
    return float(spearmanr(*means).statistic), len(settings)


def _means(rows: Sequence[Row], differences: Sequence[float]) -> Sequence[str]:
    """What a line says of trainings that came to their end."""
    if not rows:
        return [""] * 5
    unseen, validation, test = (f"{100 * fmean(row[name] for row in rows):.2f}" for name in ("unseen", *MEASURED[:2]))
    return unseen, _shown(differences), validation, test, f"{fmean(row[MEASURED[2]] for row in rows):.3f}"


def _shown(differences: Sequence[float]) -> str:
    if not differences:
        return ""
    error = f" ± {stdev(differences) / len(differences) ** 0.5:.2f}" if len(differences) > 1 else ""
    return f"{fmean(differences):+.2f}{error}"


def main() -> None:
    """Train what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--recipe", default="fashion-mnist")
    parser.add_argument(
        "--students", nargs="+", default=["resnet"], choices=[*KNOWN, COPY, "blocks", "nago", "randwire"]
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS))
    parser.add_argument("--epochs", type=float, default=26)
    parser.add_argument("--set", dest="overrides", nargs="+", default=list(OVERRIDES))
    parser.add_argument("--shorter", type=float, help="epochs of other trainings in the file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    file = arguments.file
    bench = Bench(arguments.recipe, arguments.epochs, tuple(arguments.overrides), file.with_suffix("").resolve())
    for seed, student, setting in product(arguments.seeds, arguments.students, arguments.settings):
        if not _found(file, bench.identity(student, seed, setting)):
            append_line(file, bench.row(student, seed, setting))
    rows = _found(file, bench.identity("", 0, ""), *COMMON)
    print("\n".join(table(rows)))
    if arguments.shorter is not None:
        shorter = _found(file, replace(bench, epochs=arguments.shorter).identity("", 0, ""), *COMMON)
        found, n = rank_correlation(rows, shorter)
        print(f"\nrank correlation with trainings of {arguments.shorter:g} epochs: {found:.2f}, {n} settings")


def _found(file: Path, identity: Row, *names: str) -> list[Row]:
    """Rows that agree in these parts of their identity, by default in all."""
    return [row for row in read_lines(file) if all(row[name] == identity[name] for name in names or identity)]


if __name__ == "__main__":
    main()
