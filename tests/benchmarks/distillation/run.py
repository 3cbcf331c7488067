"""Every distillation method against training without a teacher: one student, one teacher, the same samples.

    python tests/benchmarks/distillation/run.py [--methods ...] [--seeds 5] [--subset 4000] [--epochs 8]
        [--results FILE] [--teacher-folder FOLDER] [--vary METHOD:NAME=VALUE,... ...]

The student is drawn from NAGO for a thirtieth of the shipped Fashion-MNIST teacher's parameters. Methods have their own
default settings, those of their papers where these give some. Runs of one seed share first weights, views and their
order. What the results file lacks is run, then all of it is reported: test accuracy and calibration error, mean and
standard deviation over the seeds, and the difference to training without a teacher, seed by seed, with its standard
error. Trainings of another length or subset are others: the file may hold several, of which one is reported.

With `--teacher-folder`, in which `python -m autokd.recipes.train_teacher fashion-mnist FOLDER --epochs 4 --checkpoints`
has written, KD is also tried with that compressed teacher and with its checkpoints, and `pruned.safetensors` where
`prune_teacher.py` has put it.

`--vary` adds rows of methods with other settings, and `--methods` without names leaves all others away.

Speed is measured apart, all methods in turn: images a second of a training step over that of plain training.
"""

import argparse
import math
import platform
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where benchmarks keep what they share

from lines import append_line, read_lines

from autokd.config.schema import AugmentationConfig as Augmentation
from autokd.config.schema import DataConfig, TeacherConfig, TrainingConfig
from autokd.core.device import pick_precision
from autokd.core.seeds import derive
from autokd.data.registry import load_data
from autokd.distillation import METHODS, make_method
from autokd.errors import AutoKDError, InputError
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.distillation_stream import DistillationStream
from autokd.evaluation.evaluate import evaluate
from autokd.evaluation.networks import built_student, recruit
from autokd.evaluation.precompute import missing_outputs, precompute_outputs
from autokd.evaluation.task import EvaluationTask
from autokd.teachers.registry import load_teacher
from autokd.training.loop import TrainingSettings, TrainingState, optimiser, train
from autokd.training.schedules import Cosine
from search_spaces.architecture.format import Architecture
from search_spaces.design.budget import Budget
from search_spaces.design.registry import space

PLAIN = "plain training"
SHIPPED = "shipped"
CPU = torch.device("cpu")
BUDGET = Budget(params=29_000, macs=3_500_000)
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
TEACHER = TeacherConfig(
    factory="autokd.recipes.teachers:fashion_mnist", weights="autokd.recipes:fashion-mnist.safetensors"
)
COMPOSED = ("standardise+kd", "ctkd+kd", "continuation+kd", "early-stopping+kd", "kd+crd")
WITHOUT_TEACHER = (("weight", 0.0),)
STEPS, REPEATS = 12, 5  # of the measurement of speed


@dataclass(frozen=True)
class Row:
    """A line of the table: a method and its teachers.

    Attributes:
        method: Name of the method, or `PLAIN`.
        teacher: `SHIPPED`, or the name of a course in the further teachers' folder.
        settings: Hyper-parameters other than the method's own defaults.
    """

    method: str
    teacher: str = SHIPPED
    settings: tuple[tuple[str, float], ...] = ()

    @property
    def label(self) -> str:
        """What the table calls it."""
        settings = "".join(f", {name} {value:g}" for name, value in self.settings)
        return f"{self.method}{settings}" if self.teacher == SHIPPED else f"{self.method}, {self.teacher} teacher"

    @property
    def name(self) -> str:
        """The method's own name."""
        return "kd" if self.method == PLAIN else self.method

    @classmethod
    def varied(cls, text: str) -> "Row":
        """Of `METHOD:NAME=VALUE,NAME=VALUE`."""
        method, _, settings = text.partition(":")
        pairs = (setting.partition("=") for setting in settings.split(","))
        return cls(method, settings=tuple((name, float(value)) for name, _, value in pairs))


def main() -> None:
    """Run what is missing, then report."""
    arguments = _arguments()
    torch.set_num_threads(1)
    rows = list(_rows(arguments))
    context = _context(arguments)
    student = _student(context)
    for key in missing_outputs(context):
        precompute_outputs(context, key)
    done = _read(arguments)
    missing = [(row, seed) for seed in range(arguments.seeds) for row in rows if (row.label, seed) not in done]
    for row, seed in missing:
        _record(row, seed, _task(row, seed, context, student, arguments), arguments)
    done = _read(arguments)
    _print(rows, done, _speeds(rows, context, student), context, student)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="*", help="instead of all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--subset", type=int, default=4000, help="training samples")
    parser.add_argument("--epochs", type=float, default=8)
    parser.add_argument("--results", type=Path, default=Path("distillation-results.jsonl"))
    parser.add_argument("--folder", type=Path, default=Path("distillation-runs"), help="of teachers' outputs and runs")
    parser.add_argument("--teacher-folder", type=Path)
    parser.add_argument("--vary", nargs="+", default=[], metavar="METHOD:NAME=VALUE,...", help="further rows")
    return parser.parse_args()


def _rows(arguments: argparse.Namespace) -> Iterator[Row]:
    yield Row(PLAIN)
    yield from map(Row.varied, arguments.vary)
    yield from map(Row, (*_alone(), *COMPOSED) if arguments.methods is None else arguments.methods)
    if arguments.teacher_folder:
        yield from (Row("kd", teacher_schedule) for teacher_schedule in list(_teacher(arguments).teacher_schedules)[1:])


def _alone() -> Iterator[str]:
    """The methods that are no mere wrappers."""
    for name in METHODS:
        with suppress(InputError):
            make_method(name, {})
            yield name


def _teacher(arguments: argparse.Namespace) -> TeacherConfig:
    folder: Path | None = arguments.teacher_folder
    if folder is None:
        return TEACHER
    single = [file for file in ("fashion-mnist.safetensors", "pruned.safetensors") if (folder / file).exists()]
    copies = [_renamed(folder / file) for file in single]
    checkpoints = sorted(map(str, folder.glob("epoch-*.safetensors")))
    return TEACHER.model_copy(update={"alternatives": tuple(copies), "checkpoints": tuple(checkpoints)})


def _renamed(file: Path) -> str:
    """The compressed teacher under a name that tells it from the shipped one."""
    if file.name != "fashion-mnist.safetensors":
        return str(file)
    link = file.with_name("compressed.safetensors")
    link.unlink(missing_ok=True)
    link.symlink_to(file.name)
    return str(link)


def _context(arguments: argparse.Namespace) -> TrainingContext:
    data = DataConfig(source="fashion-mnist", subset=arguments.subset)
    dataset = load_data(data)
    teacher = _teacher(arguments)
    digests = [load_teacher(teacher.numbered(number), CPU, dataset).digest for number in range(len(teacher.files))]
    training = TrainingConfig(
        rungs=(arguments.epochs,),
        batch_size=64,
        learning_rate=0.05,
        precision=pick_precision("auto", CPU),
        augmentation=Augmentation(shift=2, flip=True),
    )
    cache = arguments.folder.resolve() / "teachers"
    return TrainingContext(
        data,
        dataset.digest,
        teacher,
        digests[0],
        training,
        0,
        cache,
        "cpu",
        tuple(digests[1:]),
        frozenset({"embedding"}),
        is_tested=True,
    )


def _student(context: TrainingContext) -> Architecture:
    dataset = context.load_data()
    rng = np.random.default_rng(0)
    return space("nago").sample(FAMILY, BUDGET, dataset.input_shape, dataset.classes, rng)


def _task(
    row: Row, seed: int, context: TrainingContext, student: Architecture, arguments: argparse.Namespace
) -> EvaluationTask:
    settings = WITHOUT_TEACHER if row.method == PLAIN else row.settings
    teacher_schedule = 0 if row.teacher == SHIPPED else list(context.teacher.teacher_schedules).index(row.teacher)
    folder = arguments.folder.resolve() / "evaluations"
    return EvaluationTask(context, student.to_json(), row.name, settings, 0, seed, folder, teacher_schedule)


def _record(row: Row, seed: int, task: EvaluationTask, arguments: argparse.Namespace) -> None:
    metrics: dict[str, float | str] = {}
    try:
        metrics |= evaluate(task).metrics
    except AutoKDError as error:  # a method may diverge at its own settings: that is a result
        metrics["failure"] = str(error)
    append_line(arguments.results, {"row": row.label, "seed": seed, **_common(arguments), "metrics": metrics})
    print(f"{row.label}, seed {seed}: {metrics.get('test_accuracy', metrics)}", flush=True)


def _read(arguments: argparse.Namespace) -> dict[tuple[str, int], dict[str, float]]:
    """Metrics of the trainings of this length and subset, by row and seed."""
    common = _common(arguments).items()
    lines = (line for line in read_lines(arguments.results) if common <= line.items())
    return {(line["row"], line["seed"]): line["metrics"] for line in lines}


def _common(arguments: argparse.Namespace) -> dict[str, float]:
    """What all trainings of a table have in common."""
    return {"epochs": arguments.epochs, "subset": arguments.subset}


def _speeds(rows: list[Row], context: TrainingContext, student: Architecture) -> dict[str, list[float]]:
    """Images a second of some training steps, of each method in turn."""
    speeds: dict[str, list[float]] = defaultdict(list)
    for repeat in range(REPEATS + 1):
        for row in rows:
            if row.teacher == SHIPPED:
                speed = _speed(row, context, student)
                if repeat:  # the first round warms up
                    speeds[row.label].append(speed)
    return speeds


def _speed(row: Row, context: TrainingContext, student: Architecture) -> float:
    method = make_method(row.name, dict(WITHOUT_TEACHER if row.method == PLAIN else row.settings))
    task = EvaluationTask(context, student.to_json(), row.name, (), 0, 0, Path())
    network, dataset = built_student(task, "weights"), context.load_data()
    recruit(task, method, dataset)
    settings = TrainingSettings(precision=context.precision, learning_rate=1e-3)
    with closing(DistillationStream(context, dataset, method, network, 0, 0)) as stream:
        state = TrainingState(network, optimiser(settings, network, method, companions=method.companion_rates), method)
        loss = stream.loss(state, STEPS)
        started = time.perf_counter()
        train(state, stream, loss, settings, STEPS, Cosine(STEPS), derive(0, "speed"))
        return STEPS * context.training.batch_size / (time.perf_counter() - started)


def _print(
    rows: list[Row],
    done: Mapping[tuple[str, int], Mapping[str, float]],
    speeds: Mapping[str, list[float]],
    context: TrainingContext,
    student: Architecture,
) -> None:
    samples, epochs = len(context.load_data().train), context.training.rungs[-1]
    print(
        f"\n{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread, {context.precision}; "
    )
    print(f"{samples:,} samples, {epochs:g} epochs; student {student.digest[:12]}\n")
    print("| method | n | test accuracy, % | over plain, points | ECE, % | agreement, % | images/s over plain |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(_line(row, done, speeds))


def _line(row: Row, done: Mapping[tuple[str, int], Mapping[str, float]], speeds: Mapping[str, list[float]]) -> str:
    runs = {seed: metrics for (label, seed), metrics in done.items() if label == row.label}
    good = {seed: metrics for seed, metrics in runs.items() if "test_accuracy" in metrics}
    if len(good) < 2:
        return f"| {row.label} | {len(good)} of {len(runs)} | failed | | | | |"
    accuracy = [100 * metrics["test_accuracy"] for metrics in good.values()]
    gains = [
        100 * (metrics["test_accuracy"] - done[PLAIN, seed]["test_accuracy"])
        for seed, metrics in good.items()
        if (PLAIN, seed) in done
    ]
    error = statistics.stdev(gains) / math.sqrt(len(gains))
    ece, agreement = (
        100 * statistics.mean(metrics[name] for metrics in good.values()) for name in ("test_ece", "test_agreement")
    )
    gain = "" if row.label == PLAIN else f"{statistics.mean(gains):+.2f} ± {error:.2f}"
    ratios = [own / plain for own, plain in zip(speeds.get(row.label, []), speeds[PLAIN], strict=False)]
    speed = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})" if ratios else ""
    number = len(good) if len(good) == len(runs) else f"{len(good)} of {len(runs)}"
    return (
        f"| {row.label} | {number} | {statistics.mean(accuracy):.2f} ± {statistics.stdev(accuracy):.2f} | {gain} "
        f"| {ece:.2f} | {agreement:.2f} | {speed} |"
    )


if __name__ == "__main__":
    main()
