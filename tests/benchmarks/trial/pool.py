"""What a student is worth at cheap rungs and at the last one, for a pool of students: one line of JSON for each.

    OMP_NUM_THREADS=1 python tests/benchmarks/trial/pool.py POOL.jsonl [--students 60] [--first 0]
    python tests/benchmarks/trial/rungs.py POOL.jsonl

Students and distillation settings are drawn at random: small NAGO graphs under less than the recipe's limits.
Each is trained to three rungs, a ninth, a third and the whole of a training, in several ways that share their first
weights and batches; at every rung the validation metrics and the training losses so far are kept:

* cosine: one cosine over the whole training, lower rungs are measured in its middle;
* trunk: a constant learning rate after a warm-up, measured as it is;
* average: an exponential moving average of the trunk's weights;
* branch: the trunk with a cooldown branch for each rung: what the `stable` schedule does;
* scaled: as cosine, with the classifier's learning rate scaled by its width; for a third of the students.
"""

import argparse
import copy
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where benchmarks keep what they share

from lines import append_line, read_lines

from autokd.config.schema import SearchConfig
from autokd.core.device import pick_precision
from autokd.data.augmentation import Augmentation
from autokd.data.dataset import Dataset
from autokd.data.registry import load_data
from autokd.data.stream import TrainingStream
from autokd.distillation import KD, BatchContext, Outputs
from autokd.recipes.catalogue import find_config
from autokd.teachers.registry import load_teacher
from autokd.training.metrics import label_metrics, predict, teacher_metrics
from autokd.training.schedules import Cooldown, Cosine, Schedule, Trunk
from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture
from search_spaces.design.budget import Budget
from search_spaces.design.registry import space
from search_spaces.networks.network import build

CPU = torch.device("cpu")
SEED = 0
RANGES = {"top_nodes": (3, 4), "middle_nodes": 1, "bottom_nodes": (3, 5)}
LIMITS = Budget(params=30_000, macs=1_200_000)
RATE = 0.1
STEPS = 215  # the whole training: half an epoch
RUNGS = (STEPS // 9, STEPS // 3, STEPS)
COOLDOWN = 0.3  # part of a rung
WARMUP = 0.1  # of the training, or of the first rung where it must not depend on the rungs that follow
EMA = 0.98
SCALED_EVERY = 3
REFERENCE_FEATURES = 32  # of the classifier's input, whose learning rate is scaled by this over its own number


def main() -> None:
    """Train the pool, appending to the file; students that are there already are left out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--students", type=int, default=60)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    config = find_config("fashion-mnist", [])
    dataset = load_data(config.data)
    augmentation = Augmentation(**config.training.augmentation.model_dump())
    stream = TrainingStream(dataset, augmentation, config.training.batch_size, 1, SEED, CPU)
    outputs = _outputs(config, dataset, stream, arguments.file.with_suffix(".pt"))
    done = {line["student"] for line in read_lines(arguments.file)}
    for number in range(arguments.first, arguments.first + arguments.students):
        if number not in done:
            row = _row(number, config, dataset, stream, outputs)
            append_line(arguments.file, row)
            best = {way: round(rungs[-1]["accuracy"], 4) for way, rungs in row["ways"].items()}
            print(number, row["params"], best, f"{row['seconds']:.0f} s", flush=True)


def _outputs(config: SearchConfig, dataset: Dataset, stream: TrainingStream, file: Path) -> dict[str, Tensor]:
    """The teacher's logits for the one view and for the validation split, kept in a file."""
    if not file.exists():
        teacher = load_teacher(config.teacher, CPU, dataset)
        with torch.inference_mode():
            pieces = torch.arange(len(dataset.train)).split(500)
            view = torch.cat([teacher(stream.batch(piece, 0).images) for piece in pieces])
        torch.save({"view": view.half(), "validation": teacher.on_split(dataset, "validation", CPU)}, file)
    return dict(torch.load(file))


def _row(
    number: int, config: SearchConfig, dataset: Dataset, stream: TrainingStream, outputs: Mapping[str, Tensor]
) -> dict[str, Any]:
    started = time.monotonic()
    rng = np.random.default_rng([SEED, number])
    students = space("nago", **RANGES)
    parameters = _draw(students.distributions(), number)
    architecture = students.sample(parameters, LIMITS, dataset.input_shape, dataset.classes, rng)
    method = KD(temperature=float(rng.uniform(1, 4)), weight=float(rng.uniform(0.5, 1)))
    trial = _Trial(architecture, method, stream, dataset, outputs, RATE, number)
    trial.weight_decay = config.training.weight_decay
    trial.precision = pick_precision("auto", CPU)
    ways = {"cosine": trial.cosine(), **trial.stable()}
    if number % SCALED_EVERY == 0:
        ways["scaled"] = trial.cosine(scaled=True)
    costs = cost(architecture)
    return {
        "student": number,
        "parameters": parameters,
        "temperature": method.temperature,
        "weight": method.weight,
        "params": costs.params,
        "macs": costs.macs,
        "nodes": len(architecture.nodes),
        "features": _features(build(architecture)),
        "seconds": time.monotonic() - started,
        "ways": ways,
    }


def _draw(dimensions: Mapping[str, Any], number: int) -> dict[str, Any]:
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=number)).ask()
    values: dict[str, Any] = {}
    for name, dimension in dimensions.items():
        if dimension.is_active(values):
            values[name] = trial._suggest(name, dimension.distribution)
    return values


def _features(network: nn.Module) -> int:
    """Width of the classifier's input."""
    return [part for part in network.modules() if isinstance(part, nn.Linear)][-1].in_features


class _Trial:
    """One student with one distillation setting."""

    weight_decay: float
    precision: str

    def __init__(
        self,
        architecture: Architecture,
        method: KD,
        stream: TrainingStream,
        dataset: Dataset,
        outputs: Mapping[str, Tensor],
        peak: float,
        seed: int,
    ) -> None:
        self.architecture, self.method, self.stream, self.dataset = architecture, method, stream, dataset
        self.outputs, self.peak, self.seed = outputs, peak, seed

    def cosine(self, scaled: bool = False) -> list[dict[str, float]]:
        """Measured at each rung of one cosine."""
        run = _Run(self, scaled)
        found = []
        for rung in RUNGS:
            run.train(rung, Cosine(STEPS, WARMUP))
            found.append(run.measure())
        return found

    def stable(self) -> dict[str, list[dict[str, float]]]:
        """The trunk measured as it is, by its average, and at the ends of its branches."""
        run = _Run(self)
        trunk = Trunk(round(WARMUP * RUNGS[0]))
        found: dict[str, list[dict[str, float]]] = {"trunk": [], "average": [], "branch": []}
        for rung in RUNGS:
            leaves = rung - round(COOLDOWN * rung)
            run.train(leaves, trunk)
            branch = copy.deepcopy(run)
            branch.train(rung, Cooldown(trunk, leaves, rung))
            found["branch"].append(branch.measure())
            run.train(rung, trunk)
            found["trunk"].append(run.measure())
            found["average"].append(run.measure(run.average))
        return found


class _Run:
    """A training under way."""

    def __init__(self, trial: _Trial, scaled: bool = False) -> None:
        self.trial = trial
        self.network = build(trial.architecture, seed=trial.seed).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network)
        self.sgd = torch.optim.SGD(self._groups(scaled), lr=trial.peak, momentum=0.9, nesterov=True, foreach=True)
        self.step = 0
        self.losses: list[float] = []
        self.entropies: list[float] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Run":
        twin = object.__new__(type(self))
        twin.trial, twin.step = self.trial, self.step
        twin.losses, twin.entropies = [*self.losses], [*self.entropies]
        twin.network, twin.average, twin.sgd = copy.deepcopy((self.network, self.average, self.sgd), memo)
        return twin

    def train(self, until: int, factor: Schedule) -> None:
        """Go on to a step; `factor(step)` is that of the learning rate, steps counted from 1."""
        if self.step >= until:
            return
        self.network.train()
        view, trial = self.trial.outputs["view"], self.trial
        with torch.random.fork_rng():
            torch.manual_seed(trial.seed * 1_000_003 + self.step)
            for batch in trial.stream.batches(self.step, until):
                self.step += 1
                for group in self.sgd.param_groups:
                    group["lr"] = trial.peak * factor(self.step) * group["scale"]
                with torch.autocast("cpu", torch.bfloat16, enabled=trial.precision == "bfloat16"):
                    logits = self.network(batch.images).float()
                context = BatchContext(batch.labels, batch.indices)
                loss = trial.method.loss(Outputs(logits), Outputs(view[batch.indices].float()), context)
                self.sgd.zero_grad()
                loss.backward()
                self.sgd.step()
                self.losses.append(float(loss.detach()))
                self.entropies.append(float(F.cross_entropy(logits.detach(), batch.labels)))
                self._follow()

    def measure(self, network: nn.Module | None = None) -> dict[str, float]:
        """Validation metrics, and sums of the training losses so far and of the last tenth of the steps."""
        validation = self.trial.dataset.validation
        logits = predict(network or copy.deepcopy(self.network), validation, self.trial.dataset.normalisation)
        last = max(1, self.step // 10)
        return {
            "step": self.step,
            **label_metrics(logits, validation.labels),
            **teacher_metrics(logits, self.trial.outputs["validation"]),
            "loss_sum": sum(self.losses),
            "loss_last": sum(self.losses[-last:]) / last,
            "entropy_sum": sum(self.entropies),
            "entropy_last": sum(self.entropies[-last:]) / last,
        }

    def _follow(self) -> None:
        """The average goes towards the network, faster at first."""
        share = 1 - min(EMA, (1 + self.step) / (10 + self.step))
        theirs, ours = self.network.state_dict(), self.average.state_dict()
        names = [name for name, tensor in ours.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([ours[name] for name in names], [theirs[name] for name in names], share)

    def _groups(self, scaled: bool) -> list[dict[str, Any]]:
        classifier = [part for part in self.network.modules() if isinstance(part, nn.Linear)][-1].weight
        scale = REFERENCE_FEATURES / classifier.shape[1] if scaled else 1.0
        decay = self.trial.weight_decay
        parameters = [parameter for parameter in self.network.parameters() if parameter is not classifier]
        return [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay, "scale": 1.0},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0, "scale": 1.0},
            {"params": [classifier], "weight_decay": decay / scale, "scale": scale},
        ]


if __name__ == "__main__":
    main()
