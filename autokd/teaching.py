"""The lessons of one training: each batch's loss, from what student and teacher say of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from autokd.data.dataset import Dataset
from autokd.data.stream import Batch
from autokd.distillation import Lesson, Method, Outputs
from autokd.distillation.taps import Taps
from autokd.lessons import Answers, LessonPlan, prepare_answers
from autokd.seeds import derive
from autokd.teachers.cache import StoredOutputs
from autokd.teachers.watched import WatchedTeacher
from autokd.training.loop import TrainingState

__all__ = ["Teaching", "is_live"]

SHAPE_SAMPLES = 2  # enough to see the shapes of both networks' outputs


class Teaching:
    """The batches of a training and their loss.

    Teachers that the method needs features of, or further views, run in training, once for each batch; all other
    outputs are read from where they are stored.

    Args:
        plan: The search's plan.
        dataset: Its samples.
        method: The distillation method; it is prepared here.
        network: The student; it is watched until `close`.
        course: Number of the course that teaches it.
        seed: Seed of the method's own first parameters.
    """

    def __init__(
        self, plan: LessonPlan, dataset: Dataset, method: Method, network: nn.Module, course: int, seed: int
    ) -> None:
        self._plan = plan
        self._dataset = dataset
        self._stream = plan.stream(dataset)
        self._method = method
        self._course = course
        self._is_live = is_live(method)
        self._answers = Answers(-1)
        self._stored = StoredOutputs(torch.empty(0))
        self._watched: WatchedTeacher | None = None
        self._watching = -1
        self._layers = self._choose_layers(network)
        self._taps = Taps(network, method.needs, self._layers[0])
        self._prepare(network, seed)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of an epoch."""
        return self._stream.steps_per_epoch

    def batches(self, first_step: int, last_step: int) -> Iterator[Batch]:
        """The stream's, with the further views that the method looks at."""
        for batch in self._stream.batches(first_step, last_step):
            yield replace(batch, images=self._method.views(batch.images))

    def loss(self, state: TrainingState, total: int) -> Callable[[Tensor, Batch], Tensor]:
        """The loss of a batch in a training of `total` steps, whose progress `state` tells."""

        def of_batch(logits: Tensor, batch: Batch) -> Tensor:
            epoch = state.step / self.steps_per_epoch
            lesson = Lesson(batch.labels, batch.indices, epoch, state.step / total)
            return self._method.loss(self._taps.outputs(logits), self._taught(batch, int(epoch)), lesson)

        return of_batch

    def close(self) -> None:
        """Watch the networks no more."""
        self._taps.remove()
        if self._watched is not None:
            self._watched.close()

    def _prepare(self, network: nn.Module, seed: int) -> None:
        """Make the method's parameters for the shapes of a few samples' outputs."""
        indices = torch.arange(min(SHAPE_SAMPLES, len(self._stream.split)), device=self._stream.split.labels.device)
        batch = self._stream.batch(indices, 0)
        batch = replace(batch, images=self._method.views(batch.images))
        network.eval()
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(derive(seed, "method"))
            student = self._taps.outputs(network(batch.images))
            self._method.prepare(student, self._taught(batch, 0), self._stream.split.labels)
        self._method.to(batch.images.device)

    def _choose_layers(self, network: nn.Module) -> tuple[Sequence[str] | None, Sequence[str] | None]:
        """The layers in student and teacher whose outputs are the features; None means the default ones."""
        if "features" not in self._method.needs:
            return None, None
        teacher = self._plan.load_teacher(self._plan.last_teacher(self._course), self._dataset)
        samples = (batch.images for batch in self._stream.batches(0, self._stream.steps_per_epoch))
        own, theirs = self._method.layers(network, teacher, samples) or (None, None)
        return own, self._plan.teacher.layers if theirs is None else teacher.inner_names(theirs)

    def _live(self, number: int) -> WatchedTeacher:
        """One of the teachers, ready to be run."""
        if self._watched is None or number != self._watching:
            if self._watched is not None:
                self._watched.close()
            teacher = self._plan.load_teacher(number, self._dataset)
            self._watched = WatchedTeacher(teacher, self._method.needs, self._plan.precision, self._layers[1])
            self._watching = number
        return self._watched

    def _taught(self, batch: Batch, epoch: int) -> Outputs:
        number = self._plan.teacher_at(self._course, epoch)
        if self._is_live:
            return self._live(number)(batch)
        answers = Answers(number, batch.view)
        if answers != self._answers:
            prepare_answers(self._plan, answers, dataset=self._dataset)
            self._stored = self._plan.stored(number).read(answers.name, self._method.needs)
            self._answers = answers
        return self._stored.of(batch.indices)


def is_live(method: Method) -> bool:
    """Whether the teacher must run in training: its feature maps and further views are not stored."""
    return "features" in method.needs or method.n_views > 1
