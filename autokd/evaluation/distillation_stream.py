"""Batches of one training with the teacher's outputs, and their distillation loss."""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from autokd.core.rng import forked_rng
from autokd.core.seeds import derive
from autokd.data.channels import SomeChannels, of_samples
from autokd.data.dataset import Dataset
from autokd.data.stream import Batch
from autokd.distillation import BatchContext, Method, Outputs
from autokd.distillation.feature_extractor import FeatureExtractor
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.panel_outputs import PanelOutputs
from autokd.evaluation.precompute import output_shapes, precompute_outputs
from autokd.teachers.features import TeacherWithFeatures
from autokd.teachers.outputs.key import OutputsKey
from autokd.teachers.outputs.reader import ViewReader
from autokd.teachers.outputs.shapes import OutputKind
from autokd.training.loop import TrainingState

__all__ = ["DistillationStream", "is_live"]

SHAPE_SAMPLES = 2  # enough to see the shapes of both networks' outputs
N_PREFETCHED = 2  # batches for which the teacher's stored outputs are read while one is trained on


class DistillationStream:
    """Batches of a training with the teacher's outputs, and their loss.

    The teacher's outputs are read from the store. If the method needs outputs that are not stored, further views, or
    the features of layers that it chooses itself, the teacher runs once for each batch instead.

    Args:
        context: What the search's evaluations share.
        dataset: The samples.
        method: The distillation method, with its companions; it is prepared here.
        network: The student; hooks read its features until `close`.
        teacher_schedule: Number of the teacher schedule.
        seed: Seed of the method's own initial parameters.
    """

    def __init__(
        self,
        context: TrainingContext,
        dataset: Dataset,
        method: Method,
        network: nn.Module,
        teacher_schedule: int,
        seed: int,
    ) -> None:
        self._context = context
        self._dataset = dataset
        self._stream = context.stream(dataset)
        self._channels = context.data.student_channels
        self._method = method
        self._teacher_schedule = teacher_schedule
        self._shapes = output_shapes(context, dataset=dataset)
        self._key = OutputsKey(-1)
        self._reader: ViewReader | None = None
        self._live_teacher: TeacherWithFeatures | None = None
        self._live_number = -1
        chosen = self._chosen_layers(network)
        self._is_live = is_live(method, context.disk_budget(self._shapes).stored)
        self._panel = PanelOutputs(context, dataset, self._shapes) if method.learns_from_panel else None
        own, theirs = chosen or (None, context.teacher.layers)
        self._layers = theirs
        self._feature_extractor = FeatureExtractor(network, method.needs, own)
        self._prepare(network, seed)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of an epoch."""
        return self._stream.steps_per_epoch

    def images_of(self, steps: int) -> dict[str, float]:
        """Number of images in that many batches, and of those that teacher and assistants get while they run live."""
        images = steps * self._stream.batch_size
        asked = (self._method.n_views if self._is_live else 0) + (self._panel.n_running if self._panel else 0)
        return {"images": images, "live_teacher_images": images * asked}

    def batches(self, first_step: int, last_step: int) -> Iterator[Batch]:
        """Batches of the stream, with the further views that the method asks for."""
        batches = self._stream.batches(first_step, last_step)
        if not self._is_live:
            batches = self._read_ahead(batches, first_step // self.steps_per_epoch)
        yield from map(self._with_views, batches)

    def loss(self, state: TrainingState, total: int) -> Callable[[Tensor, Batch], Tensor]:
        """The loss as a function of logits and batch.

        Args:
            state: State of the training, which tells the progress.
            total: Steps of the whole training.
        """

        def batch_loss(logits: Tensor, batch: Batch) -> Tensor:
            epoch = state.step / self.steps_per_epoch
            companions = self._companions_outputs(batch)
            context = BatchContext(batch.labels, batch.indices, epoch, state.step / total, batch.mixture, companions)
            return self._method.loss(
                self._feature_extractor.outputs(logits), self._teacher_outputs(batch, int(epoch)), context
            )

        return batch_loss

    def close(self) -> None:
        """Remove all hooks and close the files that are read."""
        self._feature_extractor.remove()
        if self._live_teacher is not None:
            self._live_teacher.close()
        if self._reader is not None:
            self._reader.close()
        if self._panel is not None:
            self._panel.close()

    def _prepare(self, network: nn.Module, seed: int) -> None:
        """Create the method's parameters for the shapes of both networks' outputs, found with a few samples."""
        indices = torch.arange(min(SHAPE_SAMPLES, len(self._stream.split)), device=self._stream.split.labels.device)
        batch = self._with_views(self._stream.batch(indices, 0))
        network.eval()
        with torch.no_grad(), forked_rng(batch.images.device):
            torch.manual_seed(derive(seed, "method"))
            student = self._feature_extractor.outputs(network(batch.images))
            self._method.prepare(student, self._teacher_outputs(batch, 0), self._stream.split.labels)
        self._method.to(batch.images.device)

    def _chosen_layers(self, network: nn.Module) -> tuple[Sequence[str], Sequence[str]] | None:
        """The layers of student and teacher that the method chooses for its features; None if it chooses none."""
        if not self._method.chooses_layers:
            return None
        teacher = self._context.load_teacher(self._context.last_teacher(self._teacher_schedule), self._dataset)
        samples = (batch.images for batch in self._stream.batches(0, self._stream.steps_per_epoch))
        student = SomeChannels(network, self._channels)
        chosen = self._method.layers(student, teacher, samples)
        return None if chosen is None else (student.inner_names(chosen[0]), teacher.inner_names(chosen[1]))

    def _with_views(self, batch: Batch) -> Batch:
        """The batch with all views that the method asks for, of the channels that the student gets."""
        images = self._method.views(batch.images)
        if self._channels is None:
            return replace(batch, images=images)
        return replace(batch, images=of_samples(images, self._channels), all_channels=images)

    def _live(self, number: int) -> TeacherWithFeatures:
        """The teacher with this number, ready to run."""
        if self._live_teacher is None or number != self._live_number:
            if self._live_teacher is not None:
                self._live_teacher.close()
            teacher = self._context.load_teacher(number, self._dataset)
            self._live_teacher = TeacherWithFeatures(teacher, self._method.needs, self._context.precision, self._layers)
            self._live_number = number
        return self._live_teacher

    def _read_ahead(self, batches: Iterator[Batch], epoch: int) -> Iterator[Batch]:
        """Batches of an epoch, delayed by a few so that the teacher's outputs are read ahead."""
        waiting = deque[Batch]()
        for batch in batches:
            self._reader_of(batch.view, epoch).expect(batch.indices)
            waiting.append(batch)
            if len(waiting) > N_PREFETCHED:
                yield waiting.popleft()
        yield from waiting

    def _reader_of(self, view: int, epoch: int) -> ViewReader:
        """Reader of the stored outputs of the epoch's teacher for a view."""
        key = OutputsKey(self._context.teacher_at(self._teacher_schedule, epoch), view)
        if self._reader is None or key != self._key:
            if self._reader is not None:
                self._reader.close()
            precompute_outputs(self._context, key, dataset=self._dataset)
            parts = frozenset[OutputKind]({"logits", *self._method.needs})
            stored = self._context.stored(key.teacher).read(key.name, parts, len(self._shapes.chunks))
            self._reader = ViewReader(stored, self._shapes.features, torch.device(self._context.device))
            self._key = key
        return self._reader

    def _companions_outputs(self, batch: Batch) -> tuple[Outputs, ...]:
        """What the method's companions say of the samples, which are the first of the views, with all channels."""
        images = batch.images if batch.all_channels is None else batch.all_channels
        images = images[: len(batch.labels)]
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._context.precision == "bfloat16"):
            return self._method.companion_outputs(images)

    def _teacher_outputs(self, batch: Batch, epoch: int) -> Outputs:
        """What the teacher says of the batch, and the assistants if the method learns from them."""
        if batch.all_channels is not None:
            batch = replace(batch, images=batch.all_channels)
        if self._is_live:
            outputs = self._live(self._context.teacher_at(self._teacher_schedule, epoch))(batch)
        else:
            outputs = self._reader_of(batch.view, epoch).of(batch.indices)
        return outputs if self._panel is None else replace(outputs, others=self._panel.of(batch))


def is_live(method: Method, stored: Collection[OutputKind]) -> bool:
    """Whether the teacher must run during training.

    Outputs for further views and for layers that a method chooses itself are never stored; other outputs that the
    method needs may not fit on the disk.

    Args:
        method: The method.
        stored: Which of the teacher's outputs are stored.
    """
    return method.n_views > 1 or method.chooses_layers or not {"logits", *method.needs} <= set(stored)
