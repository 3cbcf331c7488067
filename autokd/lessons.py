"""What all evaluations of a search share: data, teachers, the stream of views, and the teachers' stored outputs."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch

from autokd.config import DataConfig, TeacherConfig, TrainingConfig
from autokd.data.augmentation import Augmentation
from autokd.data.dataset import Dataset
from autokd.data.sources import load_data
from autokd.data.stream import TrainingStream
from autokd.distillation import Need, Outputs
from autokd.errors import InputError
from autokd.teachers.cache import TeacherCache
from autokd.teachers.teacher import Teacher, load_teacher
from autokd.teachers.watched import WatchedTeacher

__all__ = ["Answers", "LessonPlan", "missing_answers", "prepare_answers"]


class Answers(NamedTuple):
    """Which of the teachers' outputs: of one teacher, for one view of the training samples or a whole other split.

    Attributes:
        teacher: Number of the teacher among the plan's.
        view: Number of the augmented view; None for a split.
        part: Name of the split.
    """

    teacher: int
    view: int | None = None
    part: str = "train"

    @property
    def name(self) -> str:
        """Of their file."""
        return self.part if self.view is None else f"view-{self.view:04d}"


@dataclass(frozen=True)
class LessonPlan:
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
    def cached_needs(self) -> frozenset[Need]:
        """What is stored beside logits: not features, which are too large, so that their teachers run in training."""
        return self.needs & {"embedding"}

    @property
    def whole_epochs(self) -> int:
        """Epochs of the whole training, the last one possibly begun only."""
        return -int(-self.training.rungs[-1] // 1)

    @cached_property
    def courses(self) -> tuple[tuple[int, ...], ...]:
        """The numbers of the teachers of each course, one after another."""
        return tuple(self.teacher.courses.values())

    def teacher_at(self, course: int, epoch: int) -> int:
        """Number of the teacher that teaches epoch `epoch`, from 0, of a course.

        Of a course of several teachers, its own checkpoints, it is the one whose training was as far, relatively.
        """
        teachers = self.courses[course]
        done = (epoch + 1) / self.whole_epochs
        gaps = [abs((position + 1) / len(teachers) - done) for position in range(len(teachers))]
        return teachers[gaps.index(min(gaps))]

    def last_teacher(self, course: int) -> int:
        """Number of the course's teacher with the longest training: the one that students are compared with."""
        return self.courses[course][-1]

    @property
    def answers_needed(self) -> list[Answers]:
        """What trainings and their measurement ask of the teachers."""
        epochs, views = range(self.whole_epochs), self.training.views
        courses = range(len(self.courses))
        taught = {Answers(self.teacher_at(course, epoch), epoch % views) for course in courses for epoch in epochs}
        splits = ("validation", "test") if self.is_tested else ("validation",)
        compared = {Answers(self.last_teacher(course), part=part) for course in courses for part in splits}
        return [*sorted(taught), *sorted(compared)]

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
            InputError: If it is gone, or another one than when the search began.
        """
        teacher = _cached_teacher(self.teacher.numbered(number), self.device, dataset)
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
        return TeacherCache.at(self.cache, *digests, self.augmentation, self.seed, self.precision)

    def digest(self, number: int) -> str:
        """Digest of one of the teachers."""
        return (self.teacher_digest, *self.further_digests)[number]


def prepare_answers(
    plan: LessonPlan, answers: Answers, teacher: Teacher | None = None, dataset: Dataset | None = None
) -> None:
    """Compute one teacher's outputs for one view or split, unless they are there or it cannot know them.

    Two processes doing it at once is wasteful, but harmless.

    Args:
        plan: The search's plan.
        answers: Which outputs.
        teacher: The teacher where the plan does not say how to make it.
        dataset: The plan's samples, where they are loaded.
    """
    if not _is_stored(plan, answers):
        dataset = dataset or plan.load_data()
        teacher = teacher or plan.load_teacher(answers.teacher, dataset)
        given = _of_view if answers.view is not None else _of_split
        if teacher.knows(answers.part):
            plan.stored(answers.teacher).write(answers.name, given(plan, answers, dataset, teacher))


def missing_answers(plan: LessonPlan) -> list[Answers]:
    """What trainings and their measurement will ask of the teachers and is not stored yet."""
    return [answers for answers in plan.answers_needed if not _is_stored(plan, answers)]


def _is_stored(plan: LessonPlan, answers: Answers) -> bool:
    needs = plan.cached_needs if answers.view is not None else frozenset[Need]()
    return plan.stored(answers.teacher).holds(answers.name, needs)


def _of_view(plan: LessonPlan, answers: Answers, dataset: Dataset, teacher: Teacher) -> Iterator[Outputs]:
    view, size = answers.view or 0, teacher.largest_batch(dataset.input_shape)
    with closing(WatchedTeacher(teacher, plan.cached_needs, plan.precision)) as watched:
        yield from map(watched, plan.stream(dataset).whole_view(view, size))


def _of_split(plan: LessonPlan, answers: Answers, dataset: Dataset, teacher: Teacher) -> Iterator[Outputs]:
    yield Outputs(teacher.on_split(dataset, answers.part, torch.device(plan.device)))


_loaded: dict[tuple[TeacherConfig, str, str], Teacher] = {}
"""The last teacher: a worker asks for it again and again."""


def _cached_teacher(config: TeacherConfig, device: str, dataset: Dataset) -> Teacher:
    key = config, device, dataset.digest
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = load_teacher(config, torch.device(device), dataset)
    return _loaded[key]
