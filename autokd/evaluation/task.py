"""One evaluation: everything that decides its result, its key, and the files that are named by it."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from autokd.core.seeds import derive
from autokd.distillation.registry import learns_from_panel
from autokd.evaluation.context import TrainingContext

__all__ = [
    "Checkpoints",
    "EvaluationResult",
    "EvaluationTask",
    "checkpoints",
    "correct_file",
    "log_file",
    "weights_file",
]


@dataclass(frozen=True)
class EvaluationTask:
    """One evaluation; everything that decides its result.

    Attributes:
        context: What the search's evaluations share.
        architecture: The student, as JSON.
        method: Name of the distillation method.
        settings: Its hyper-parameters.
        rung: Index of the rung to train up to.
        seed: Seed of the student's first weights and of dropout.
        folder: Folder of the files of all evaluations.
        teacher_schedule: Number of the teacher schedule, among those of `context.teacher`.
        keeps_best: Whether the weights of the best epoch in the second half are kept, by validation accuracy, instead
            of the last ones; only for contexts of one rung.
        warm_from: Key of the evaluation in `folder` whose weights are inherited; None starts from fresh weights.
        from_teacher: Whether the student is a slim copy of the teacher that begins with what fits of its weights.
        replicate: Number of the student within its trial. All but the first of copies that begin with the teacher are
            fitted on samples of their own: nothing else would tell them from each other.
    """

    context: TrainingContext
    architecture: str
    method: str
    settings: tuple[tuple[str, bool | int | float | str], ...]
    rung: int
    seed: int
    folder: Path
    teacher_schedule: int = 0
    keeps_best: bool = False
    warm_from: str | None = None
    from_teacher: bool = False
    replicate: int = 0

    @cached_property
    def trajectory(self) -> str:
        """Digest of all that decides the training but the rung: evaluations of one trajectory continue each other."""
        context = self.context
        parts = {
            "architecture": json.loads(self.architecture),  # not its digest: first weights follow the nodes' order
            "method": self.method,
            "settings": sorted(self.settings),
            "training": context.training.decisive,
            "seed": self.seed,
            "stream": context.seed,
            "data": context.data_digest,
            "teacher": context.teacher_digest,
        } | self._further
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]

    @property
    def _further(self) -> dict[str, Any]:
        """Parts that only some trainings have: the digests of the others stay as they were."""
        teachers = self.context.teacher_schedules[self.teacher_schedule]
        further: dict[str, Any] = {}
        if teachers != (0,):
            further["teachers"] = [self.context.digest(number) for number in teachers]
        if self.warm_from:
            further["inherited"] = [self.warm_from, self.context.training.warm_start]
        if self.from_teacher:
            further["from_teacher"] = True
            if self.replicate:
                further["replicate"] = self.replicate
        if self.keeps_best:
            further["keep"] = "best"
        if self.context.panel is not None and learns_from_panel(self.method):
            further["panel"] = self.context.panel.digests
        if self.context.data.student_channels is not None:
            further["channels"] = list(self.context.data.student_channels)
        return further

    @property
    def key(self) -> str:
        """Digest of the evaluation: its trajectory and its rung."""
        return f"{self.trajectory}-{self.rung}{'-test' if self.context.is_tested else ''}"

    def seed_of(self, *role: int | str) -> int:
        """Seed of a network's first weights: "weights" are those of the student, "companion" and a number others."""
        return derive(self.seed, *role)

    @property
    def epochs(self) -> float:
        """Length of the training from its start."""
        return self.context.training.rungs[self.rung]

    @property
    def checkpoint(self) -> Path:
        """File of the trajectory's last checkpoint, from which later rungs continue."""
        return checkpoints(self.folder, self.key).trunk

    @property
    def branch_checkpoint(self) -> Path:
        """File of the last checkpoint of this rung's cooldown; it exists only during the cooldown."""
        return checkpoints(self.folder, self.key).branch

    @property
    def best(self) -> Path:
        """File of the best weights so far of a training that an earlier version began."""
        return checkpoints(self.folder, self.key).best

    @property
    def weights(self) -> Path:
        """File of the student's weights at this rung; later rungs do not change it."""
        return weights_file(self.folder, self.key)

    @property
    def correct(self) -> Path:
        """File that says which samples of the measured splits the student got right."""
        return correct_file(self.folder, self.key)

    @property
    def log(self) -> Path:
        """File of what the evaluation prints, if it does."""
        return log_file(self.folder, self.key)

    @property
    def result(self) -> Path:
        """File of this evaluation's result."""
        return self.folder / self.trajectory / f"result-{self.key.removeprefix(self.trajectory + '-')}.json"


class Checkpoints(NamedTuple):
    """Files with which a training goes on: nobody needs them once its last evaluation has ended.

    Attributes:
        trunk: Last checkpoint of the trajectory.
        branch: Last checkpoint of the cooldown to the evaluation's rung.
        best: Best weights so far, in trainings that an earlier version began.
    """

    trunk: Path
    branch: Path
    best: Path


def checkpoints(folder: Path, key: str) -> Checkpoints:
    """Files with which the training of the evaluation with this key goes on, those that are not there among them."""
    trajectory, rung = key.split("-")[:2]
    names = "checkpoint.safetensors", f"checkpoint-{rung}.safetensors", "best.safetensors"
    return Checkpoints(*(folder / trajectory / name for name in names))


def weights_file(folder: Path, key: str) -> Path:
    """File of the weights that the evaluation with this key saved."""
    trajectory, rung = key.split("-")[:2]
    return folder / trajectory / f"weights-{rung}.safetensors"


def log_file(folder: Path, key: str) -> Path:
    """File of what the evaluation with this key printed; there is none if it printed nothing."""
    trajectory, _, rung = key.partition("-")
    return folder / trajectory / f"log-{rung}.txt"


def correct_file(folder: Path, key: str) -> Path:
    """File that says which samples the evaluation with this key got right: a bool for each sample of a split.

    Evaluations of earlier versions have none.
    """
    trajectory, rung = key.split("-")[:2]
    return folder / trajectory / f"correct-{rung}.safetensors"


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found.

    Attributes:
        key: The task's.
        metrics: Those of `label_metrics` on the validation split, `ece_scaled` and `scaling_temperature`, `agreement`
            and `teacher_kl` with the teacher; if the test split is measured, the same with the prefix `test_`, at the
            same temperature; `training_loss` and `training_cross_entropy` (with the labels), means over at least the
            last half of the last epoch, or of the cooldown if that is shorter; `best_epoch` if the best weights are
            kept; `images`, the number of training images since the rung before, and `live_teacher_images`, how many the
            teacher got while it ran during the training; `nonzero_params`, the number of parameters that are not 0.
        seconds: Time of training and measuring, without what was already done.
        worker: Host and process that did it; None in results of version 0.1.
        epoch_seconds: Time of an epoch while it was trained, without what comes before and after; None if less
            than half was left to train, and in results of earlier versions.
    """

    key: str
    metrics: dict[str, float]
    seconds: float
    worker: str | None = None
    epoch_seconds: float | None = None
