"""`evaluate(task)`: one architecture, distilled up to one rung. Pure and idempotent.

The files of an evaluation lie in a folder named by the digest of everything that decides the training, the
trajectory: its last checkpoint, and weights and a result for each rung. Evaluating twice finds the first one's result;
a lost worker costs at most the epoch that it was in.
"""

import hashlib
import json
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from autokd.config import DataConfig, TeacherConfig, TrainingConfig
from autokd.data.augmentation import Augmentation
from autokd.data.dataset import Dataset
from autokd.data.sources import load_data
from autokd.data.stream import Batch, TrainingStream
from autokd.distillation import Lesson, Method, Outputs, make_method
from autokd.errors import AutoKDError, InputError, first_line
from autokd.files import write_json
from autokd.seeds import derive
from autokd.teachers.cache import TeacherCache
from autokd.teachers.teacher import Teacher, load_teacher
from autokd.training.checkpoint import load_checkpoint, save_checkpoint, save_weights
from autokd.training.loop import TrainingSettings, TrainingState, optimiser, train
from autokd.training.metrics import label_metrics, predict
from search_spaces.architecture import Architecture
from search_spaces.network import build

__all__ = [
    "EvaluationResult",
    "EvaluationTask",
    "LessonPlan",
    "OutOfMemoryError",
    "evaluate",
    "missing_views",
    "prepare_view",
    "weights_file",
]


class OutOfMemoryError(AutoKDError):
    """The network does not fit into the memory of the device that trains it."""


@dataclass(frozen=True)
class LessonPlan:
    """What all evaluations of a search share: data, teacher and the stream of augmented views.

    Attributes:
        data: Where the samples are.
        data_digest: Digest of the samples.
        teacher: What the teacher is made from.
        teacher_digest: Digest of the teacher.
        training: How students are trained; its precision is not "auto" here.
        seed: Seed of the stream.
        cache: Folder of teachers' outputs.
        device: Name of the device.
    """

    data: DataConfig
    data_digest: str
    teacher: TeacherConfig
    teacher_digest: str
    training: TrainingConfig
    seed: int
    cache: Path
    device: str

    @property
    def augmentation(self) -> Augmentation:
        """What is done to training samples."""
        return Augmentation(**self.training.augmentation.model_dump())

    @property
    def views_needed(self) -> int:
        """Number of views that the whole training shows."""
        whole_epochs = -int(-self.training.rungs[-1] // 1)
        return min(self.training.views, whole_epochs)


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
        test: Whether the test split is measured too: for trained winners only.
    """

    plan: LessonPlan
    architecture: str
    method: str
    settings: tuple[tuple[str, bool | int | float | str], ...]
    rung: int
    seed: int
    folder: Path
    test: bool = False

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
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]

    @property
    def key(self) -> str:
        """Digest of the evaluation: its trajectory, and how far."""
        return f"{self.trajectory}-{self.rung}{'-test' if self.test else ''}"

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
        metrics: `accuracy`, `loss` and `ece` on the validation split, `training_loss` of the last epoch, and the same
            with `test_` before it if asked for.
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


def prepare_view(plan: LessonPlan, view: int, teacher: Teacher | None = None) -> None:
    """Compute the teacher's outputs for one augmented view, unless they are there.

    Args:
        plan: The search's plan.
        view: Number of the view.
        teacher: The teacher where the plan does not say how to make it.
    """
    stream = _stream(plan, _checked_data(plan))
    _cache(plan).ensure(view, stream, lambda: teacher or _teacher(plan))


def missing_views(plan: LessonPlan) -> list[int]:
    """The views of the whole training for which the teacher's outputs are not there yet."""
    cache = _cache(plan)
    return [view for view in range(plan.views_needed) if not cache.path(view).exists()]


def _distil(task: EvaluationTask) -> dict[str, float]:
    plan = task.plan
    dataset = _checked_data(plan)
    stream = _stream(plan, dataset)
    settings = _training_settings(plan.training)
    total = _step_at(plan.training.rungs[-1], stream)
    until = _step_at(task.epochs, stream)
    method = make_method(task.method, dict(task.settings))
    state = _resume(task, until, settings, torch.device(plan.device))
    train(
        state,
        stream,
        _Lesson(method, plan, stream),
        settings,
        until=until,
        total=total,
        seed=task.seed,
        on_segment=lambda state: save_checkpoint(state, task.checkpoint),
        boundaries=tuple(_step_at(rung, stream) for rung in plan.training.rungs),
    )
    save_weights(state.network, task.weights)
    metrics = _measure(state.network, dataset, "validation", plan.device) | {"training_loss": state.losses[-1]}
    if task.test:
        test = _measure(state.network, dataset, "test", plan.device)
        metrics |= {f"test_{name}": value for name, value in test.items()}
    return metrics


def _resume(task: EvaluationTask, until: int, settings: TrainingSettings, device: torch.device) -> TrainingState:
    """The training state of the last checkpoint on the way to step `until`, or the very first one."""
    state = _fresh_state(task, settings, device)
    if task.checkpoint.exists():
        load_checkpoint(state, task.checkpoint)
        if state.step > until:
            state = _fresh_state(task, settings, device)
    return state


def _fresh_state(task: EvaluationTask, settings: TrainingSettings, device: torch.device) -> TrainingState:
    network = build(Architecture.from_json(task.architecture), seed=derive(task.seed, "weights"))
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainingState(network, optimiser(network, settings))


class _Lesson:
    """The loss of a batch: the method's, fed from the cache of the teacher's outputs."""

    def __init__(self, method: Method, plan: LessonPlan, stream: TrainingStream) -> None:
        self._method = method
        self._plan = plan
        self._stream = stream
        self._cache = _cache(plan)
        self._view = -1
        self._outputs = torch.empty(0)

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        if batch.view != self._view:
            self._outputs = self._of_view(batch.view)
            self._view = batch.view
        outputs = self._outputs[batch.indices.cpu()].to(logits.device).float()
        return self._method.loss(Outputs(logits), Outputs(outputs), Lesson(batch.labels, batch.indices))

    def _of_view(self, view: int) -> Tensor:
        self._cache.ensure(view, self._stream, lambda: _teacher(self._plan))
        return self._cache.read(view)


def _measure(network: nn.Module, dataset: Dataset, part: str, device: str) -> dict[str, float]:
    split = dataset.splits[part].to(torch.device(device))
    return label_metrics(predict(network, split, dataset.normalisation), split.labels)


def _checked_data(plan: LessonPlan) -> Dataset:
    dataset = load_data(plan.data)
    if dataset.digest != plan.data_digest:
        raise InputError(
            f"data {dataset.name} changed since the search began: its digest is {dataset.digest[:12]}, "
            f"but was {plan.data_digest[:12]}."
        )
    return dataset


def _stream(plan: LessonPlan, dataset: Dataset) -> TrainingStream:
    training = plan.training
    return TrainingStream(
        dataset, plan.augmentation, training.batch_size, training.views, plan.seed, torch.device(plan.device)
    )


def _cache(plan: LessonPlan) -> TeacherCache:
    digests = plan.teacher_digest, plan.data_digest
    return TeacherCache.at(plan.cache, *digests, plan.augmentation, plan.seed, plan.training.precision)


def _teacher(plan: LessonPlan) -> Teacher:
    teacher = _cached_teacher(plan.teacher, plan.device)
    if teacher.digest != plan.teacher_digest:
        raise InputError(
            f"teacher {plan.teacher.factory} changed since the search began: its digest is {teacher.digest[:12]}, "
            f"but was {plan.teacher_digest[:12]}."
        )
    return teacher


@lru_cache(maxsize=1)  # a worker prepares several views
def _cached_teacher(config: TeacherConfig, device: str) -> Teacher:
    return load_teacher(config, torch.device(device))


def _training_settings(training: TrainingConfig) -> TrainingSettings:
    return TrainingSettings(
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        warmup=training.warmup,
        precision=training.precision,
    )


def _step_at(epochs: float, stream: TrainingStream) -> int:
    return max(1, round(epochs * stream.steps_per_epoch))


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
