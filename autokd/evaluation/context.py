"""What all evaluations of a search share: data, teachers, the stream of views, and the stored teacher outputs."""

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
from autokd.teachers.outputs.shapes import OutputKind, OutputShapes
from autokd.teachers.panel import Assistant, Panel, as_assistant
from autokd.teachers.process_cache import cached_teacher
from autokd.teachers.pruned import PrunedTeachers
from autokd.teachers.teacher import Teacher

__all__ = ["TrainingContext"]


@dataclass(frozen=True)
class TrainingContext:
    """What all evaluations of a search share.

    Attributes:
        data: Configuration of the data set.
        data_digest: Digest of the samples.
        teacher: Configuration of the teachers.
        teacher_digest: Digest of the first teacher.
        training: How students are trained, with its precision resolved (never "auto").
        seed: Seed of the training stream.
        cache: Folder of the stored teacher outputs.
        device: Name of the device that trains.
        further_digests: Digests of the second teacher and those after it, in order.
        needs: What the search's methods need from teachers besides logits.
        is_tested: Whether students are also measured on the test split: only retrained winners are.
        pruned: The pruned teachers, if there are any; their numbers follow those of the others.
        panel: The assistants, if the search has methods that learn from them; their numbers come last.
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
    pruned: PrunedTeachers | None = None
    panel: Panel | None = None

    @property
    def augmentation(self) -> Augmentation:
        """The augmentation of training samples."""
        return Augmentation.of(self.training.augmentation)

    @property
    def precision(self) -> str:
        """The precision in which networks compute, "float32" or "bfloat16"."""
        return self.training.precision

    @property
    def whole_epochs(self) -> int:
        """Number of epochs that the whole training touches; the last one may be cut short."""
        return -int(-self.training.rungs[-1] // 1)

    @cached_property
    def teacher_schedules(self) -> tuple[tuple[int, ...], ...]:
        """The teacher schedules: for each, the numbers of its teachers in the order in which they teach."""
        return tuple(self.teacher.teacher_schedules.values())

    def teacher_at(self, teacher_schedule: int, epoch: int) -> int:
        """Number of the teacher that teaches an epoch.

        A schedule of several teachers holds checkpoints of one training. Each epoch is taught by the checkpoint whose
        share of its own training is nearest to the student's.

        Args:
            teacher_schedule: Number of the schedule.
            epoch: Epoch of the student's training, counted from 0.
        """
        teachers = self.teacher_schedules[teacher_schedule]
        done = (epoch + 1) / self.whole_epochs
        gaps = [abs((position + 1) / len(teachers) - done) for position in range(len(teachers))]
        return teachers[gaps.index(min(gaps))]

    def last_teacher(self, teacher_schedule: int) -> int:
        """Number of the schedule's longest trained teacher, with which students are compared."""
        return self.teacher_schedules[teacher_schedule][-1]

    @property
    def outputs_needed(self) -> list[OutputsKey]:
        """Keys of all teacher outputs that training and measuring read."""
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
        assisted = {OutputsKey(number, epoch % views) for number in self.assistants for epoch in epochs}
        return [*sorted(taught | assisted), *sorted(compared)]

    @cached_property
    def n_views(self) -> int:
        """Number of views whose teacher outputs are read, counted for each teacher; those of assistants are not."""
        return sum(key.view is not None and key.teacher not in self.assistants for key in self.outputs_needed)

    def disk_budget(self, shapes: OutputShapes) -> DiskBudget:
        """How much of the teacher outputs is stored; the rest is computed by the teachers during training.

        It is not part of an evaluation's key: results differ only by the rounding to float16.
        """
        n_assistants = 0 if self.panel is None else self.panel.n_stored
        assisted = n_assistants * min(self.whole_epochs, self.training.views)
        return DiskBudget(shapes, self.needs, self.n_views, self.teacher.disk_bytes, assisted)

    def stored_kinds(self, number: int, shapes: OutputShapes) -> frozenset[OutputKind]:
        """Which outputs of the teacher with this number are stored for each view; of assistants at most logits."""
        stored = self.disk_budget(shapes).stored
        return stored & {"logits"} if number in self.assistants else stored

    def load_data(self) -> Dataset:
        """The samples.

        Raises:
            InputError: If they are gone, or changed since the search began.
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
        """The teacher with this number, for these samples.

        Raises:
            InputError: If it is gone, changed since the search began, or was given as an object.
        """
        if self.teacher.source is None and number not in self.assistants:
            raise InputError(
                "the teacher was given as an object, and not all of its outputs are stored whole: go on from Python, "
                "with autokd.find(name, teacher=...).resume()."
            )
        config, expected = self.made_from(number)
        with as_assistant(self.assistant_name(number)):
            teacher = cached_teacher(config, self.device, dataset)
            if teacher.digest != expected:
                raise InputError(
                    f"teacher {config.source} changed since the search began: its digest is {teacher.digest[:12]}, "
                    f"but was {expected[:12]}."
                )
        return teacher

    def stored(self, number: int = 0) -> TeacherCache:
        """The stored outputs of the teacher with this number."""
        digests = self.digest(number), self.data_digest
        layers = None if number in self.assistants else self.teacher.layers
        return TeacherCache.at(self.cache, *digests, self.augmentation, self.seed, self.precision, layers)

    @property
    def n_teachers(self) -> int:
        """Number of teachers, pruned ones and assistants included."""
        return self.assistants.stop

    @property
    def assistants(self) -> range:
        """Numbers of the assistants among the teachers, from the largest to the smallest."""
        first = 1 + len(self.further_digests) + (0 if self.pruned is None else len(self.pruned.wanted))
        return range(first, first + (0 if self.panel is None else len(self.panel.assistants)))

    def digest(self, number: int) -> str:
        """Digest of the teacher with this number."""
        if (assistant := self._assistant(number)) is not None:
            return assistant.digest
        rounds = self._rounds(number)
        if self.pruned is not None and rounds is not None:
            return self.pruned.digest(rounds)
        return (self.teacher_digest, *self.further_digests)[number]

    def made_from(self, number: int) -> tuple[TeacherConfig, str]:
        """What the teacher with this number is made from, and its digest once it is."""
        if (assistant := self._assistant(number)) is not None:
            return assistant.config, assistant.digest
        rounds = self._rounds(number)
        if self.pruned is not None and rounds is not None:
            return self.pruned.config(rounds), str(self.pruned.result(rounds)["digest"])
        return self.teacher.numbered(number), self.digest(number)

    def assistant_name(self, number: int) -> str | None:
        """Name of the assistant with this number; None for the teachers."""
        assistant = self._assistant(number)
        return None if assistant is None else assistant.name

    def _assistant(self, number: int) -> Assistant | None:
        """The assistant with this number; None for the teachers."""
        place = number - self.assistants.start
        return None if self.panel is None or place < 0 else self.panel.assistants[place]

    def _rounds(self, number: int) -> int | None:
        """Rounds of pruning of a pruned teacher; None for the others."""
        place = number - 1 - len(self.further_digests)
        return None if self.pruned is None or place < 0 else self.pruned.wanted[place]
