"""What all evaluations of a search share: data, teachers, the stream of views, and the teachers' stored outputs."""

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
from autokd.teachers.shapes import OutputShapes, Part, fitting_parts
from autokd.teachers.teacher import Teacher, load_teacher
from autokd.teachers.watched import WatchedTeacher

__all__ = ["Answers", "LessonPlan", "missing_answers", "output_shapes", "prepare_answers"]

PROBED = 2  # samples: enough to see the shapes of a teacher's outputs


class Answers(NamedTuple):
    """Which of the teachers' outputs: of one teacher, for one view of the training samples or a whole other split.

    Attributes:
        teacher: Number of the teacher among the plan's.
        view: Number of the augmented view; None for a split.
        part: Name of the split.
        chunk: Number of a chunk of the view's samples; None for all.
    """

    teacher: int
    view: int | None = None
    part: str = "train"
    chunk: int | None = None

    @property
    def name(self) -> str:
        """Of their files."""
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

    @property
    def n_views(self) -> int:
        """Number of views that teachers answer for, those of each teacher counted."""
        return sum(answers.view is not None for answers in self.answers_needed)

    def stored_parts(self, shapes: OutputShapes) -> frozenset[Part]:
        """What is stored of the teachers' outputs for views; what is not comes from teachers that run in training.

        That follows from the plan and the shapes alone, so all workers and a resumed search decide alike. It does not
        belong to an evaluation's key: results differ by the rounding to float16 only.
        """
        return fitting_parts(shapes, self.needs, self.n_views, self.teacher.disk_bytes)

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
        return TeacherCache.at(self.cache, *digests, self.augmentation, self.seed, self.precision, self.teacher.layers)

    def digest(self, number: int) -> str:
        """Digest of one of the teachers."""
        return (self.teacher_digest, *self.further_digests)[number]


def output_shapes(plan: LessonPlan, teacher: Teacher | None = None, dataset: Dataset | None = None) -> OutputShapes:
    """Shapes of the teachers' outputs, as the store tells them; else the teacher is asked about two samples.

    All teachers of a plan are one module with other weights, so that the shapes of one are those of all.

    Args:
        plan: The search's plan.
        teacher: The teacher where the plan does not say how to make it.
        dataset: The plan's samples, where they are loaded.

    Raises:
        InputError: If the teacher cannot be loaded, or does not give what the plan needs.
    """
    path = _shapes_file(plan)
    if not path.exists():
        dataset = dataset or plan.load_data()
        teacher = teacher or plan.load_teacher(0, dataset)
        samples = plan.stream(dataset).batch(_indices(plan, range(min(PROBED, len(dataset.train)))), 0)
        with closing(WatchedTeacher(teacher, plan.needs, plan.precision, plan.teacher.layers)) as watched:
            OutputShapes.of(watched(samples), len(dataset.train)).save(path)
    return OutputShapes.load(path)


def prepare_answers(
    plan: LessonPlan, answers: Answers, teacher: Teacher | None = None, dataset: Dataset | None = None
) -> None:
    """Compute one teacher's outputs for one view, a chunk of it or a split, as far as they are not there whole.

    Two processes doing it at once is wasteful, but harmless. Nothing is computed of what the teacher does not know, or
    of views that are not stored.

    Args:
        plan: The search's plan.
        answers: Which outputs.
        teacher: The teacher where the plan does not say how to make it.
        dataset: The plan's samples, where they are loaded.
    """
    if answers.view is None:
        _prepare_split(plan, answers, teacher, dataset)
    else:
        shapes = output_shapes(plan, teacher, dataset)
        for piece in _chunks(answers, shapes):
            _prepare_chunk(plan, piece, shapes, teacher, dataset)


def missing_answers(plan: LessonPlan) -> list[Answers]:
    """What trainings and their measurement will ask of the teachers and is not stored whole yet; of views chunks.

    Views come whole where only the teacher, given as an object, can tell of how many chunks they are.
    """
    if plan.teacher.source is None and not _shapes_file(plan).exists():
        return plan.answers_needed
    shapes = output_shapes(plan)
    return [
        piece
        for answers in plan.answers_needed
        for piece in _chunks(answers, shapes)
        if not _is_stored(plan, piece, shapes)
    ]


def _prepare_split(plan: LessonPlan, answers: Answers, teacher: Teacher | None, dataset: Dataset | None) -> None:
    store = plan.stored(answers.teacher)
    if not store.holds(answers.name):
        dataset = dataset or plan.load_data()
        teacher = teacher or plan.load_teacher(answers.teacher, dataset)
        if teacher.knows(answers.part):
            outputs = Outputs(teacher.on_split(dataset, answers.part, torch.device(plan.device)))
            store.write(answers.name, [outputs], len(outputs.logits))


def _prepare_chunk(
    plan: LessonPlan, answers: Answers, shapes: OutputShapes, teacher: Teacher | None, dataset: Dataset | None
) -> None:
    if _is_stored(plan, answers, shapes) or answers.chunk is None:
        return
    dataset = dataset or plan.load_data()
    teacher = teacher or plan.load_teacher(answers.teacher, dataset)
    parts = plan.stored_parts(shapes)
    samples = shapes.chunks[answers.chunk]
    needs = frozenset(need for need in plan.needs if need in parts)
    with closing(WatchedTeacher(teacher, needs, plan.precision, plan.teacher.layers)) as watched:
        stream, size = plan.stream(dataset), teacher.largest_batch(dataset.input_shape)
        batches = torch.split(_indices(plan, samples), size)
        outputs = (watched(stream.batch(indices, answers.view or 0)) for indices in batches)
        plan.stored(answers.teacher).write(answers.name, outputs, len(samples), parts, answers.chunk)


def _is_stored(plan: LessonPlan, answers: Answers, shapes: OutputShapes) -> bool:
    store = plan.stored(answers.teacher)
    if answers.chunk is None:
        return store.holds(answers.name)
    return store.holds(answers.name, plan.stored_parts(shapes), answers.chunk)


def _chunks(answers: Answers, shapes: OutputShapes) -> list[Answers]:
    """The chunks of a view; a chunk itself, and a split, which is one whatever its size."""
    if answers.view is None or answers.chunk is not None:
        return [answers]
    return [answers._replace(chunk=chunk) for chunk in range(len(shapes.chunks))]


def _indices(plan: LessonPlan, samples: range) -> torch.Tensor:
    return torch.arange(samples.start, samples.stop, device=torch.device(plan.device))


def _shapes_file(plan: LessonPlan) -> Path:
    return plan.stored().folder / f"{'-'.join(['shapes', *sorted(plan.needs)])}.json"


_loaded: dict[tuple[TeacherConfig, str, str], Teacher] = {}
"""The last teacher: a worker asks for it again and again."""


def _cached_teacher(config: TeacherConfig, device: str, dataset: Dataset) -> Teacher:
    key = config, device, dataset.digest
    if key not in _loaded:
        _loaded.clear()
        with torch.random.fork_rng():  # building a network draws weights, and a training may be going on
            _loaded[key] = load_teacher(config, torch.device(device), dataset)
    return _loaded[key]
