"""Several networks: small students that learn from assistants or with companions, against KD and plain training.

    OMP_NUM_THREADS=1 python tests/benchmarks/distillation/several.py LINES.jsonl [--seeds 0 1 2 3 4] [--epochs 26]
        [--subset N] [--students 8000 29000] [--rows kd takd ...] [--home FOLDER] [--write]

All of Fashion-MNIST, the shipped teacher, and the recipe's training. Students, and the assistants of 200,000 and 45,000
parameters, are the ResNet 1-1-1-1 at those sizes; further rows have one assistant of another size. Assistants are
trained by the panel stage of a search of one short trial, for each seed anew, from whom they learn best. Methods have
their own defaults. Trainings of one seed share first weights, views and their order. Two rows are trained longer.

One line of JSON a training; what the file holds already is left out, so a run that was killed goes on, and several
processes may fill one file if each has seeds of its own. Lines of other epochs, samples or configurations are others.
Then the tables, printed or written into RESULTS.md, and what was asked of them: whether some method with several
teachers is ahead of KD by two standard errors, how far the students' probabilities can be trusted (the calibration of
companions is not measured), and what the size of an assistant matters. Images a second are those of an epoch, of
trainings that were not resumed late.
"""

import argparse
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where benchmarks keep what they share

from lines import append_line, read_lines
from marked_pages import between_marks

from autokd.config.parsing import parse_config
from autokd.config.schema import SearchConfig
from autokd.core.seeds import derive
from autokd.errors import AutoKDError, InputError
from autokd.evaluation.evaluate import evaluate
from autokd.evaluation.precompute import missing_outputs, precompute_outputs
from autokd.evaluation.task import EvaluationTask
from autokd.recipes.catalogue import find_config
from autokd.searches.api import begin, find
from autokd.searches.problem import Problem
from search_spaces.architecture.format import Architecture
from search_spaces.design.budget import Budget
from search_spaces.design.registry import space
from search_spaces.spaces.blocks import RESNET

RECIPE = "fashion-mnist"
PAGE = Path(__file__).with_name("RESULTS.md")
Line = dict[str, Any]
PLAIN, KD = "plain training", "kd"
PANEL = (200_000, 45_000)
SIZES = (400_000, 200_000, 100_000, 50_000, 25_000)
MEASURED = ("accuracy", "test_accuracy", "test_ece", "images", "companion0_accuracy")


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        method: Name of the method.
        settings: Its hyper-parameters other than its own defaults.
        assistants: Most parameters of each assistant; none if it has none.
        times: Length of the training as a multiple of the others'. A panel is trained for as long as many students, so
            a student without one that is trained longer is what it has to be compared with.
    """

    method: str
    settings: Mapping[str, float | str] = field(default_factory=dict)
    assistants: tuple[int, ...] = ()
    times: int = 1


ROWS: Mapping[str, Row] = {
    PLAIN: Row("kd", {"weight": 0.0}),
    KD: Row("kd"),
    "takd": Row("takd+kd", assistants=PANEL),
    "dgkd, drop 0": Row("dgkd+kd", {"dgkd.drop": 0}, PANEL),
    "dgkd, drop 1": Row("dgkd+kd", {"dgkd.drop": 1}, PANEL),
    "ces": Row("ces+kd", assistants=PANEL),
    "ensemble, de": Row("ensemble+kd", {"ensemble.weights": "de"}, PANEL),
    "ensemble, uniform": Row("ensemble+kd", {"ensemble.weights": "uniform"}, PANEL),
    "kd, 4 times as long": Row("kd", times=4),
    "dgkd, drop 0, 4 times as long": Row("dgkd+kd", {"dgkd.drop": 0}, PANEL, times=4),
    "dml": Row("dml"),
    "kd+dml": Row("kd+dml"),
    "sokd": Row("sokd"),
    "bd-kd": Row("bd-kd"),
    "bd-kd-online": Row("bd-kd-online"),
    **{f"takd, {size // 1000} k": Row("takd+kd", assistants=(size,)) for size in SIZES},
}
SEVERAL = tuple(name for name, row in ROWS.items() if row.assistants == PANEL and row.times == 1)
OF_SIZE = tuple(name for name, row in ROWS.items() if len(row.assistants) == 1)


@dataclass(frozen=True)
class Bench:
    """Trains and measures.

    Attributes:
        home: Folder of the searches that make the assistants, of the teacher's outputs and of trainings under way.
        epochs: Length of all trainings.
        subset: Number of training samples; None for all.
    """

    home: Path
    epochs: float
    subset: int | None

    def line(self, student: int, name: str, seed: int) -> Line:
        """A training and what it came to."""
        row = ROWS[name]
        problem = self._problem(seed, row.assistants)
        task = self._task(_lengthened(problem, row.times), row, _student(problem, student), seed)
        for key in missing_outputs(task.context):
            precompute_outputs(task.context, key)
        line = self.identity(student, name, seed)
        try:
            done = evaluate(task)
        except AutoKDError as error:  # a method may diverge at its own settings: that is a result
            return line | {"failure": str(error)}
        panel = problem.facts.panel
        return line | {
            **{key: done.metrics[key] for key in MEASURED if key in done.metrics},
            "seconds": done.seconds,
            "epoch_seconds": done.epoch_seconds,
            "teacher_accuracy": problem.facts.teacher_metrics["accuracy"],
            "panel_seconds": sum(each.seconds for each in panel.assistants) if panel else 0.0,
            "panel_accuracies": [each.accuracy for each in panel.assistants] if panel else [],
        }

    def identity(self, student: int, name: str, seed: int) -> Line:
        """What tells a training from others."""
        config = self._config(seed, ROWS[name].assistants)
        common = {"epochs": self.epochs * ROWS[name].times, "subset": self.subset, "config": config.digest}
        return {"student": student, "row": name, "seed": seed} | common

    def has(self, line: Line) -> bool:
        """Whether a line is of one of its trainings."""
        is_known = line["row"] in ROWS
        return is_known and self.identity(line["student"], line["row"], line["seed"]).items() <= line.items()

    def _problem(self, seed: int, assistants: tuple[int, ...]) -> Problem:
        """The problem of a search of one short trial, by which the assistants are there."""
        config = self._config(seed, assistants)
        try:
            result = find(config.name, self.home)
        except InputError:
            result = begin(config, self.home)
        return (result if result.progress.status == "finished" else result.resume()).problem

    def _config(self, seed: int, assistants: tuple[int, ...]) -> SearchConfig:
        """The search's configuration, whose digest is part of its name."""
        config = parse_config(self._settings(seed, assistants))
        parts = self.subset or "all", f"{self.epochs:g}", seed, *assistants, config.digest
        return config.model_copy(update={"name": "-".join([config.name, *map(str, parts)])})

    def _settings(self, seed: int, assistants: tuple[int, ...]) -> dict[str, Any]:
        recipe = _recipe()
        methods = sorted({row.method for row in ROWS.values() if row.assistants == assistants})
        panel = [{"name": f"of-{size}", "params": size} for size in assistants]
        return {
            "name": "several",
            "seed": seed,
            "trials": 1,
            "data": recipe["data"] | {"subset": self.subset},
            "teacher": recipe["teacher"],
            "budget": {"params": 29_000},
            "space": {"name": "blocks", "ranges": {**RESNET, "head_ratio": 0}},
            "distillation": {"methods": methods} if len(methods) > 1 else {"method": methods[0]},
            **({"panel": {"assistants": panel, "epochs": self.epochs}} if panel else {}),
            "training": recipe["training"] | {"rungs": [min(0.1, self.epochs)], "precision": "bfloat16"},
            "final": {"epochs": self.epochs},
            "references": {"names": []},
            "workers": {"engine": "inline", "count": 1, "device": "cpu"},
        }

    def _task(self, problem: Problem, row: Row, architecture: Architecture, seed: int) -> EvaluationTask:
        return EvaluationTask(
            problem.retraining_context,
            architecture.to_json(),
            row.method,
            tuple(sorted(row.settings.items())),
            rung=0,
            seed=derive(seed, "training"),
            folder=problem.evaluations,
            keeps_best=True,
        )


@cache
def _recipe() -> dict[str, Any]:
    return find_config(RECIPE, []).to_dict()


def _lengthened(problem: Problem, times: int) -> Problem:
    """The same with trainings at full length so many times as long."""
    final = problem.config.final
    longer = final.model_copy(update={"epochs": final.epochs * times})
    return replace(problem, config=problem.config.model_copy(update={"final": longer}))


def _student(problem: Problem, params: int) -> Architecture:
    facts, drawn_from = problem.facts, space("blocks", head_ratio=0)
    return drawn_from.sample(RESNET, Budget(params=params), facts.input_shape, facts.classes, np.random.default_rng(0))


def markdown(lines: Sequence[Line]) -> str:
    """The tables and the answers."""
    return "\n".join(tables(lines)).strip()


def tables(lines: Sequence[Line]) -> Iterator[str]:
    """The tables in Markdown, one for each size of a student, each with the answers to what was asked."""
    for student in sorted({line["student"] for line in lines}):
        of_student = [line for line in lines if line["student"] == student]
        yield f"\n### {student:,} parameters\n"
        yield "| row | n | failed | test, % | over kd, points | ECE, % | images/s | panel, minutes |"
        yield "|---|---|---|---|---|---|---|---|"
        yield from (_row(name, of_student) for name in ROWS if _of(name, of_student, failed=None))
        yield ""
        yield from _answers(of_student)


def _row(name: str, lines: Collection[Line]) -> str:
    good = list(_of(name, lines).values())
    cells = [name, str(len(good)), str(len(_of(name, lines, failed=True)))]
    if good:
        accuracy = [100 * line["test_accuracy"] for line in good]
        speeds = [line["images"] / (line["epochs"] * line["epoch_seconds"]) for line in good if line["epoch_seconds"]]
        panel = fmean(line["panel_seconds"] for line in good) / 60
        cells += [_mean(accuracy), _difference(name, lines), f"{100 * fmean(line['test_ece'] for line in good):.2f}"]
        cells += [f"{fmean(speeds):,.0f}" if speeds else "", f"{panel:.0f}" if panel else ""]
    return f"| {' | '.join(cells)} |"


def _answers(lines: Collection[Line]) -> Iterator[str]:
    """What was asked of a student's trainings, as far as they are there."""
    compared = {name: differences(name, lines) for name in SEVERAL}
    if any(len(each) > 1 for each in compared.values()):
        ahead = [name for name, each in compared.items() if len(each) > 1 and fmean(each) > 2 * _error(each)]
        yield f"* With several teachers ahead of KD by more than two standard errors: {', '.join(ahead) or 'none'}."
    eces = {name: _of(name, lines).values() for name in (PLAIN, KD, "bd-kd", "bd-kd-online")}
    if eces["bd-kd-online"]:
        told = (f"{name} {100 * fmean(line['test_ece'] for line in own):.2f} %" for name, own in eces.items() if own)
        yield f"* Calibration error: {', '.join(told)}."
    if own := list(_of("sokd", lines).values()):
        gains = [100 * (line["companion0_accuracy"] - line["teacher_accuracy"]) for line in own]
        yield f"* The companion of `sokd` over the teacher on validation, points: {_mean(gains, signed=True)}."
    if sizes := {name: _of(name, lines).values() for name in OF_SIZE if _of(name, lines)}:
        told = (
            f"{name.split(', ')[1]} {fmean(100 * line['test_accuracy'] for line in own):.2f} % (assistant "
            f"{fmean(100 * line['panel_accuracies'][0] for line in own):.2f} % on validation)"
            for name, own in sizes.items()
        )
        yield f"* One assistant of: {', '.join(told)}."


def differences(name: str, lines: Collection[Line]) -> list[float]:
    """Test accuracy over KD's in points, seed by seed."""
    own, kd = _of(name, lines), _of(KD, lines)
    return [100 * (line["test_accuracy"] - kd[seed]["test_accuracy"]) for seed, line in own.items() if seed in kd]


def _of(name: str, lines: Collection[Line], failed: bool | None = False) -> dict[int, Line]:
    """Lines of a row by seed: those that came to their end, those that failed, or all if `failed` is None."""
    return {
        line["seed"]: line
        for line in lines
        if line["row"] == name and (failed is None or ("failure" in line) == failed)
    }


def _difference(name: str, lines: Collection[Line]) -> str:
    found = [] if name == KD else differences(name, lines)
    if not found:
        return ""
    return f"{fmean(found):+.2f}" + (f" ± {_error(found):.2f}" if len(found) > 1 else "")


def _error(values: Sequence[float]) -> float:
    """Standard error of their mean."""
    return stdev(values) / len(values) ** 0.5


def _mean(values: Sequence[float], signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{fmean(values):{sign}.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def main(words: Sequence[str] | None = None) -> None:
    """Train what is missing, then print the tables.

    Args:
        words: The command line's words.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", nargs="*", type=int, default=list(range(5)), help="none only reports")
    parser.add_argument("--epochs", type=float, default=26)
    parser.add_argument("--subset", type=int, help="training samples; all by default")
    parser.add_argument("--students", nargs="+", type=int, default=[8_000, 29_000], help="their parameters")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS, metavar="ROW")
    parser.add_argument("--home", type=Path, help="folder of what trainings need; beside the file by default")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {PAGE.name}")
    arguments = parser.parse_args(words)
    torch.set_num_threads(1)
    home = arguments.home or arguments.file.with_suffix("").resolve()
    bench = Bench(home, arguments.epochs, arguments.subset)
    for seed, name, student in product(arguments.seeds, arguments.rows, arguments.students):
        identity = bench.identity(student, name, seed)
        if not any(identity.items() <= line.items() for line in read_lines(arguments.file)):
            append_line(arguments.file, line := bench.line(student, name, seed))
            print(f"{student} {name}, seed {seed}: {line.get('test_accuracy', line.get('failure'))}", flush=True)
    found = markdown([line for line in read_lines(arguments.file) if bench.has(line)])
    if arguments.write:
        PAGE.write_text(between_marks(PAGE.read_text(), found))
    else:
        print(found)


if __name__ == "__main__":
    main()
