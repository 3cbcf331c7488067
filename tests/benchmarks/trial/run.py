"""What a distillation trial costs, as ratios measured in one run.

    python tests/benchmarks/trial/run.py [--rounds 5] [--steps 215] [--json FILE]

On Fashion-MNIST with the shipped teacher and one student, all in turn, round by round, after a round that warms up:

* in one process of one thread, images a second of training steps: our loop with the teacher's stored outputs, our loop
  without a teacher, and the floor, which is forward and backward of the network on one resident batch and nothing else;
* in worker processes, trials an hour: whole trials (network built, trained for so many steps, validated, recorded) by
  one worker of one thread, by two side by side, and by one process of two threads that runs `plain.py`;
* seconds from the start of a worker process to the end of its first step, and seconds of a warm trial
  beyond its steps: both without the forward pass over the validation split.

The student's width is solved for the recipe's budget. Trials have as many steps as `--steps` says, 215 being half an
epoch, the recipe's first rung; the longer they are, the less their validation counts. Twelve minutes on two cores that
do nothing else.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from plain import plain_trial
from torch import Tensor

from autokd.config.schema import SearchConfig
from autokd.data.stream import Batch
from autokd.distillation import make_method
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.distillation_stream import DistillationStream
from autokd.evaluation.evaluate import evaluate
from autokd.evaluation.precompute import missing_outputs, precompute_outputs
from autokd.evaluation.task import EvaluationTask
from autokd.recipes.catalogue import find_config
from autokd.searches.preflight import find_facts
from autokd.searches.problem import Problem
from autokd.training.loop import TrainingSettings, fresh_state, train
from autokd.training.metrics import predict
from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture
from search_spaces.design.registry import space
from search_spaces.networks.network import Network, build
from workers.base import Limits
from workers.local import LocalExecutor

SEED = 0
FAMILY = {
    "top_nodes": 4,
    "top_neighbours": 2,
    "top_probability": 0.5,
    "middle_nodes": 2,
    "middle_probability": 0.5,
    "bottom_nodes": 4,
    "bottom_neighbours": 2,
    "bottom_probability": 0.5,
}
METHOD = (("temperature", 4.0), ("weight", 0.9))
Measured = dict[str, list[float]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=215)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial.prepared(find_config("fashion-mnist", []), arguments.steps, Path(folder))
        speeds = _in_turn(_loops(trial), arguments.rounds)
        with closing_all(1, 2) as (one, two), closing_all(1, threads=2) as (plain,):
            rates = _in_turn(_workers(trial, one, two, plain), arguments.rounds)
        seconds = _in_turn(_fixed(trial), arguments.rounds)
    _print(trial, speeds, rates, seconds)
    if arguments.json:
        arguments.json.write_text(json.dumps({"images/s": speeds, "trials/h": rates, "seconds": seconds}))


@dataclass(frozen=True)
class Trial:
    """The student and everything that a trial of it needs; the teacher's outputs are stored."""

    config: SearchConfig
    context: TrainingContext
    architecture: Architecture
    steps: int
    folder: Path

    @classmethod
    def prepared(cls, config: SearchConfig, steps: int, folder: Path) -> "Trial":
        """The recipe's, with one view."""
        training = config.training.model_copy(update={"views": 1})
        config = config.model_copy(update={"training": training})
        facts = find_facts(config)
        context = Problem(config, facts, folder).context
        for key in missing_outputs(context):
            precompute_outputs(context, key)
        rng = np.random.default_rng(SEED)
        architecture = space("nago").sample(FAMILY, config.budget, facts.input_shape, facts.classes, rng)
        return cls(config, context, architecture, steps, folder)

    def task(self, seed: int, steps: int | None = None) -> EvaluationTask:
        """An evaluation that nobody has done: each seed has files of its own."""
        dataset = self.context.load_data()
        per_epoch = self.context.stream(dataset).steps_per_epoch
        training = self.context.training.model_copy(update={"rungs": ((steps or self.steps) / per_epoch,)})
        return EvaluationTask(
            context=replace(self.context, training=training),
            architecture=self.json,
            method="kd",
            settings=METHOD,
            rung=0,
            seed=seed,
            folder=self.folder / "evaluations",
        )

    @property
    def json(self) -> str:
        """The architecture as text."""
        return json.dumps(self.architecture.to_dict(), sort_keys=True)

    def network(self) -> Network:
        """The student as a trial builds it."""
        network = build(self.architecture)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


class closing_all:  # noqa: N801 (a context)
    """Executors of these numbers of workers."""

    def __init__(self, *workers: int, threads: int = 1) -> None:
        self._executors = [LocalExecutor(count, Limits(threads=threads)) for count in workers]

    def __enter__(self) -> list[LocalExecutor]:
        return self._executors

    def __exit__(self, *_: object) -> None:
        for executor in self._executors:
            executor.shutdown(cancel=True)


def _in_turn(measures: dict[str, Callable[[], float]], rounds: int) -> Measured:
    """Each measure's values, round by round; a first round warms up."""
    found: Measured = {name: [] for name in measures}
    for number in range(rounds + 1):
        for name, measure in measures.items():
            value = measure()
            if number:
                found[name].append(value)
    return found


def _loops(trial: Trial) -> dict[str, Callable[[], float]]:
    return {
        "distillation": lambda: _speed(trial, distils=True),
        "without a teacher": lambda: _speed(trial, distils=False),
        "floor": lambda: _floor(trial),
    }


def _speed(trial: Trial, distils: bool) -> float:
    """Images a second of our loop."""
    network, dataset = trial.network(), trial.context.load_data()
    training = trial.context.training
    settings = TrainingSettings(
        learning_rate=training.learning_rate, weight_decay=training.weight_decay, precision=training.precision
    )
    method = make_method("kd", dict(METHOD))
    with closing(DistillationStream(trial.context, dataset, method, network, 0, SEED)) as stream:
        state = fresh_state(settings, network, method)
        loss = stream.loss(state, trial.steps) if distils else _cross_entropy
        started = time.perf_counter()
        train(state, stream, loss, settings, trial.steps, lambda step: 1.0, SEED)
        return trial.steps * training.batch_size / (time.perf_counter() - started)


def _cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    return F.cross_entropy(logits, batch.labels)


def _floor(trial: Trial) -> float:
    """Images a second of forward and backward alone."""
    network = trial.network().train()
    batch = next(iter(trial.context.stream(trial.context.load_data()).batches(0, 1)))
    started = time.perf_counter()
    for _ in range(trial.steps):
        with torch.autocast("cpu", torch.bfloat16, enabled=trial.context.precision == "bfloat16"):
            logits = network(batch.images)
        logits.float().sum().backward()
        network.zero_grad()
    return trial.steps * len(batch.labels) / (time.perf_counter() - started)


def _workers(
    trial: Trial, one: LocalExecutor, two: LocalExecutor, plain: LocalExecutor
) -> dict[str, Callable[[], float]]:
    seeds = _counted()
    return {
        "one worker": lambda: _rate(trial, one, seeds),
        "two workers": lambda: _rate(trial, two, seeds),
        "plain PyTorch, two threads": lambda: _plain_rate(trial, plain),
    }


def _counted() -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield number


def _rate(trial: Trial, executor: LocalExecutor, seeds: Iterator[int]) -> float:
    """Trials an hour of all workers, busy at once."""
    tasks = [trial.task(next(seeds)) for _ in range(executor.capacity)]
    started = time.perf_counter()
    futures = [executor.submit(evaluate, task) for task in tasks]
    for future in futures:
        future.result()
    return 3600 * len(tasks) / (time.perf_counter() - started)


def _plain_rate(trial: Trial, executor: LocalExecutor) -> float:
    return 3600 / executor.submit(plain_trial, trial.config, trial.json, trial.steps).result()


def _fixed(trial: Trial) -> dict[str, Callable[[], float]]:
    seeds = _counted()
    return {
        "cold start": lambda: _cold_start(trial, next(seeds)),
        "fixed overhead": lambda: _overhead(trial, 10_000 + next(seeds)),
    }


def _cold_start(trial: Trial, seed: int) -> float:
    """Seconds from the start of a worker process to the end of its first trial, of one step, but for the validation."""
    task = trial.task(-seed, steps=1)
    started = time.perf_counter()
    executor = LocalExecutor(1)
    try:
        executor.submit(evaluate, task).result()
        return time.perf_counter() - started - _validation_seconds(trial)
    finally:
        executor.shutdown(cancel=True)


def _overhead(trial: Trial, seed: int) -> float:
    """Seconds of a trial of one step beyond that step and the forward pass over the validation split."""
    task = trial.task(seed, steps=1)
    whole = _seconds(partial(evaluate, task))
    network = trial.network().train()
    batch = next(iter(trial.context.stream(trial.context.load_data()).batches(0, 1)))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=trial.context.precision == "bfloat16"):
            logits = network(batch.images)
        logits.float().sum().backward()

    return whole - _seconds(step) - _validation_seconds(trial)


def _validation_seconds(trial: Trial) -> float:
    network, dataset = trial.network(), trial.context.load_data()
    return _seconds(lambda: predict(network, dataset.validation, dataset.normalisation))


def _seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def _print(trial: Trial, speeds: Measured, rates: Measured, seconds: Measured) -> None:
    costs = cost(trial.architecture)
    print(
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {trial.context.precision}; ", end=""
    )
    print(
        f"student of {costs.params:,} parameters, {costs.macs:,} MACs, {len(trial.architecture.nodes)} nodes; ", end=""
    )
    print(f"trials of {trial.steps} steps; n = {len(next(iter(speeds.values())))}\n")
    print("| measured | unit | median | min | max |\n|---|---|---|---|---|")
    for unit, measured in (("images/s", speeds), ("trials/h", rates), ("s", seconds)):
        for name, values in measured.items():
            print(f"| {name} | {unit} | {_three(values)} |")
    plain = rates["plain PyTorch, two threads"]
    ratios = {
        "distillation / without a teacher": _ratio(speeds["distillation"], speeds["without a teacher"]),
        "distillation / floor": _ratio(speeds["distillation"], speeds["floor"]),
        "two workers / one": _ratio(rates["two workers"], rates["one worker"]),
        "two workers / plain PyTorch": _ratio(rates["two workers"], plain),
    }
    print("\n| ratio | median | min | max |\n|---|---|---|---|")
    for name, values in ratios.items():
        print(f"| {name} | {_three(values)} |")


def _ratio(above: list[float], below: list[float]) -> list[float]:
    return [a / b for a, b in zip(above, below, strict=True)]


def _three(values: list[float]) -> str:
    digits = 0 if min(values) > 20 else 2
    return " | ".join(f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values)))


if __name__ == "__main__":
    main()
