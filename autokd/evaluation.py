"""`evaluate(task)`: one architecture, distilled up to one rung. Pure and idempotent.

The files of an evaluation lie in a folder named by the digest of everything that decides the training, the
trajectory: its last checkpoint, and weights and a result for each rung. Evaluating twice finds the first one's result;
a lost worker costs at most the epoch that it was in.
"""

import hashlib
import json
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autokd.config import TrainingConfig
from autokd.data.dataset import Dataset
from autokd.distillation import make_method
from autokd.errors import AutoKDError, first_line
from autokd.files import write_json
from autokd.lessons import Answers, LessonPlan, prepare_answers
from autokd.seeds import derive
from autokd.teaching import Teaching
from autokd.training.checkpoint import load_checkpoint, save_checkpoint, save_weights, steps_done
from autokd.training.loop import Batches, TrainingSettings, TrainingState, optimiser, train
from autokd.training.metrics import label_metrics, predict, teacher_metrics, validation_metrics
from search_spaces.architecture import Architecture
from search_spaces.network import build

__all__ = ["EvaluationResult", "EvaluationTask", "OutOfMemoryError", "evaluate", "weights_file"]


class OutOfMemoryError(AutoKDError):
    """The network does not fit into the memory of the device that trains it."""


@dataclass(frozen=True)
class EvaluationTask:
    """One evaluation; everything that decides its result.

    Attributes:
        plan: What the search's evaluations share.
        architecture: The student, as JSON.
        method: Name of the distillation method.
        settings: Its hyper-parameters.
        rung: Index of the rung to train up to.
        seed: Seed of the student's first weights and of dropout.
        folder: Folder of all evaluations' files.
        course: Number of the teachers' course, among those of `plan.teacher`.
    """

    plan: LessonPlan
    architecture: str
    method: str
    settings: tuple[tuple[str, bool | int | float | str], ...]
    rung: int
    seed: int
    folder: Path
    course: int = 0

    @property
    def trajectory(self) -> str:
        """Digest of what decides the training, whatever the rung: evaluations of one trajectory continue each other."""
        plan = self.plan
        parts = {
            "architecture": json.loads(self.architecture),  # not its digest: first weights follow the nodes' order
            "method": self.method,
            "settings": sorted(self.settings),
            "training": plan.training.model_dump(mode="json"),
            "seed": self.seed,
            "stream": plan.seed,
            "data": plan.data_digest,
            "teacher": plan.teacher_digest,
        } | self._further
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]

    @property
    def _further(self) -> dict[str, Any]:
        """Parts that ordinary trainings lack, whose digests are older than these."""
        teachers = self.plan.courses[self.course]
        return {"teachers": [self.plan.digest(number) for number in teachers]} if teachers != (0,) else {}

    @property
    def key(self) -> str:
        """Digest of the evaluation: its trajectory, and how far."""
        return f"{self.trajectory}-{self.rung}{'-test' if self.plan.is_tested else ''}"

    @property
    def epochs(self) -> float:
        """Length of the training, from its start."""
        return self.plan.training.rungs[self.rung]

    @property
    def checkpoint(self) -> Path:
        """File of the trajectory's last checkpoint."""
        return self.folder / self.trajectory / "checkpoint.safetensors"

    @property
    def weights(self) -> Path:
        """File of the student's weights at this rung, which later rungs leave alone."""
        return weights_file(self.folder, self.key)

    @property
    def result(self) -> Path:
        """File of this evaluation's result."""
        return self.folder / self.trajectory / f"result-{self.key.removeprefix(self.trajectory + '-')}.json"


def weights_file(folder: Path, key: str) -> Path:
    """File of the weights that the evaluation of that key left."""
    trajectory, rung = key.split("-")[:2]
    return folder / trajectory / f"weights-{rung}.safetensors"


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found.

    Attributes:
        key: The task's.
        metrics: On the validation split `accuracy`, `loss`, `ece`, `ece_scaled` and `scaling_temperature`, and with
            the teacher `agreement` and `teacher_kl`; the same with `test_` before them, at the same temperature, if
            asked for; and `training_loss` of the last epoch.
        seconds: Time that the training and measuring took, without what was found done.
    """

    key: str
    metrics: dict[str, float]
    seconds: float


def evaluate(task: EvaluationTask) -> EvaluationResult:
    """Distil the task's architecture up to its rung, or find that it was done.

    Raises:
        DivergedError: If the loss is not finite any more.
        OutOfMemoryError: If the device's memory does not suffice.
        InputError: If the data or the teacher are not there or not those the task means.
    """
    if task.result.exists():
        return EvaluationResult(**json.loads(task.result.read_text()))
    started = time.monotonic()
    try:
        metrics = _distil(task)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if _is_out_of_memory(error):
            raise OutOfMemoryError(f"out of memory on {task.plan.device}: {first_line(error)}") from None
        raise
    result = EvaluationResult(task.key, metrics, round(time.monotonic() - started, 3))
    write_json(task.result, vars(result))
    return result


def _distil(task: EvaluationTask) -> dict[str, float]:
    plan = task.plan
    dataset = plan.load_data()
    method = make_method(task.method, dict(task.settings))
    network = build(Architecture.from_json(task.architecture), seed=derive(task.seed, "weights"))
    network.to(torch.device(plan.device), memory_format=torch.channels_last)  # type: ignore[call-overload]
    with closing(Teaching(plan, dataset, method, network, task.course, task.seed)) as teaching:
        ends = tuple(_step_at(rung, teaching) for rung in plan.training.rungs)
        until, total = ends[task.rung], ends[-1]
        settings = _training_settings(plan.training)
        state = TrainingState(network, optimiser(settings, network, method), method)
        _resume(state, task.checkpoint, until)
        train(
            state,
            teaching,
            teaching.loss(state, total),
            settings,
            until=until,
            total=total,
            seed=task.seed,
            on_segment=lambda state: save_checkpoint(state, task.checkpoint),
            boundaries=ends,
        )
    save_weights(network, task.weights)
    return _measure(task, network, dataset) | {"training_loss": state.losses[-1]}


def _resume(state: TrainingState, checkpoint: Path, until: int) -> None:
    """Put a fresh state where the last checkpoint on the way to step `until` was, if there is one."""
    if checkpoint.exists() and steps_done(checkpoint) <= until:
        load_checkpoint(state, checkpoint)


def _measure(task: EvaluationTask, network: nn.Module, dataset: Dataset) -> dict[str, float]:
    logits, labels = _answers(task, network, dataset, "validation")
    metrics = validation_metrics(logits, labels) | _fidelity(task, logits, dataset, "validation")
    if task.plan.is_tested:
        logits, labels = _answers(task, network, dataset, "test")
        test = label_metrics(logits, labels, metrics["scaling_temperature"]) | _fidelity(task, logits, dataset, "test")
        metrics |= {f"test_{name}": value for name, value in test.items()}
    return metrics


def _answers(task: EvaluationTask, network: nn.Module, dataset: Dataset, part: str) -> tuple[Tensor, Tensor]:
    """The student's logits for a split, and its labels."""
    split = dataset.splits[part].to(torch.device(task.plan.device))
    return predict(network, split, dataset.normalisation), split.labels


def _fidelity(task: EvaluationTask, logits: Tensor, dataset: Dataset, part: str) -> dict[str, float]:
    """How near the student is to its teacher, unless that knows nothing of the split."""
    answers = Answers(task.plan.last_teacher(task.course), part=part)
    prepare_answers(task.plan, answers, dataset=dataset)
    stored = task.plan.stored(answers.teacher)
    if not stored.holds(answers.name):
        return {}
    return teacher_metrics(logits, stored.read(answers.name).logits.to(logits.device))


def _training_settings(training: TrainingConfig) -> TrainingSettings:
    return TrainingSettings(
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        warmup=training.warmup,
        precision=training.precision,
    )


def _step_at(epochs: float, batches: Batches) -> int:
    return max(1, round(epochs * batches.steps_per_epoch))


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
