"""What all evaluations of a search share: data, teachers, the stream of views, and the teachers' stored outputs."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from autokd.config.schema import DataConfig, TeacherConfig, TrainingConfig
from autokd.data.augmentation import Augmentation
from autokd.data.dataset import Dataset
from autokd.data.registry import load_data
from autokd.data.stream import TrainingStream
from autokd.distillation import Need
from autokd.errors import InputError
from autokd.teachers.outputs.cache import TeacherCache
from autokd.teachers.outputs.disk_budget import DiskBudget
from autokd.teachers.outputs.key import OutputsKey
from autokd.teachers.outputs.shapes import OutputShapes
from autokd.teachers.process_cache import cached_teacher
from autokd.teachers.teacher import Teacher

__all__ = ["TrainingContext"]


@dataclass(frozen=True)
class TrainingContext:
    """What all evaluations of a search share.

    Attributes:
        data: Where the samples are.
        data_digest: Digest of the samples.
        teacher: What the teachers are made from.
        teacher_digest: Digest of the first teacher.
        training: How students are trained; its precision is not "auto" here.
        seed: Seed of the stream.
        cache: Folder of teachers' outputs.
        device: Name of the device.
        further_digests: Digests of the teachers after the first, by their number.
        needs: What the search's methods need of teachers beside logits.
        is_tested: Whether students are measured on the test split, too: trained winners only.
    """

    data: DataConfig
    data_digest: str
    teacher: TeacherConfig
    teacher_digest: str
    training: TrainingConfig
    seed: int
    cache: Path
    device: str
    further_digests: tuple[str, ...] = ()
    needs: frozenset[Need] = frozenset()
    is_tested: bool = False

    @property
    def augmentation(self) -> Augmentation:
        """What is done to training samples."""
        return Augmentation(**self.training.augmentation.model_dump())

    @property
    def precision(self) -> str:
        """In which networks compute, "float32" or "bfloat16"."""
        return self.training.precision

    @property
    def whole_epochs(self) -> int:
        """Epochs of the whole training, the last one possibly begun only."""
        return -int(-self.training.rungs[-1] // 1)

    @cached_property
    def teacher_schedules(self) -> tuple[tuple[int, ...], ...]:
        """The numbers of the teachers of each course, one after another."""
        return tuple(self.teacher.teacher_schedules.values())

    def teacher_at(self, teacher_schedule: int, epoch: int) -> int:
        """Number of the teacher that teaches epoch `epoch`, from 0, of a course.

        Of a course of several teachers, its own checkpoints, it is the one whose training was as far, relatively.
        """
        teachers = self.teacher_schedules[teacher_schedule]
        done = (epoch + 1) / self.whole_epochs
        gaps = [abs((position + 1) / len(teachers) - done) for position in range(len(teachers))]
        return teachers[gaps.index(min(gaps))]

    def last_teacher(self, teacher_schedule: int) -> int:
        """Number of the course's teacher with the longest training: the one that students are compared with."""
        return self.teacher_schedules[teacher_schedule][-1]

    @property
    def outputs_needed(self) -> list[OutputsKey]:
        """What trainings and their measurement ask of the teachers."""
        epochs, views = range(self.whole_epochs), self.training.views
        teacher_schedules = range(len(self.teacher_schedules))
        taught = {
            OutputsKey(self.teacher_at(teacher_schedule, epoch), epoch % views)
            for teacher_schedule in teacher_schedules
            for epoch in epochs
        }
        splits = ("validation", "test") if self.is_tested else ("validation",)
        compared = {
            OutputsKey(self.last_teacher(teacher_schedule), part=part)
            for teacher_schedule in teacher_schedules
            for part in splits
        }
        return [*sorted(taught), *sorted(compared)]

    @property
    def n_views(self) -> int:
        """Number of views that teachers answer for, those of each teacher counted."""
        return sum(key.view is not None for key in self.outputs_needed)

    def disk_budget(self, shapes: OutputShapes) -> DiskBudget:
        """How much of the teachers' outputs is stored; the rest comes from teachers that run in training.

        It does not belong to an evaluation's key: results differ by the rounding to float16 only.
        """
        return DiskBudget(shapes, self.needs, self.n_views, self.teacher.disk_bytes)

    def load_data(self) -> Dataset:
        """The samples.

        Raises:
            InputError: If they are gone, or others than when the search began.
        """
        dataset = load_data(self.data)
        if dataset.digest != self.data_digest:
            raise InputError(
                f"data {dataset.name} changed since the search began: its digest is {dataset.digest[:12]}, "
                f"but was {self.data_digest[:12]}."
            )
        return dataset

    def stream(self, dataset: Dataset) -> TrainingStream:
        """The stream of training batches."""
        training = self.training
        return TrainingStream(
            dataset, self.augmentation, training.batch_size, training.views, self.seed, torch.device(self.device)
        )

    def load_teacher(self, number: int, dataset: Dataset) -> Teacher:
        """One of the teachers, for these samples.

        Raises:
            InputError: If it is gone, another one than when the search began, or cannot be made by name.
        """
        if self.teacher.source is None:
            raise InputError(
                "the teacher was given as an object, and not all of its outputs are stored whole: go on from Python, "
                "with autokd.find(name, teacher=...).resume()."
            )
        teacher = cached_teacher(self.teacher.numbered(number), self.device, dataset)
        expected = self.digest(number)
        if teacher.digest != expected:
            raise InputError(
                f"teacher {self.teacher.source} changed since the search began: its digest is {teacher.digest[:12]}, "
                f"but was {expected[:12]}."
            )
        return teacher

    def stored(self, number: int = 0) -> TeacherCache:
        """The stored outputs of one of the teachers."""
        digests = self.digest(number), self.data_digest
        return TeacherCache.at(self.cache, *digests, self.augmentation, self.seed, self.precision, self.teacher.layers)

    def digest(self, number: int) -> str:
        """Digest of one of the teachers."""
        return (self.teacher_digest, *self.further_digests)[number]
