"""What the assistants say of the batches of a training."""

from dataclasses import replace

import torch

from autokd.data.dataset import Dataset
from autokd.data.stream import Batch
from autokd.distillation import Outputs
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.precompute import precompute_outputs
from autokd.teachers.features import TeacherWithFeatures
from autokd.teachers.outputs.key import OutputsKey
from autokd.teachers.outputs.reader import ViewReader
from autokd.teachers.outputs.shapes import OutputShapes

__all__ = ["PanelOutputs"]


class PanelOutputs:
    """Logits of the assistants for training batches: from the store, or of the assistants as they run.

    Args:
        context: What the search's evaluations share.
        dataset: The samples.
        shapes: Shapes of the teachers' outputs; the assistants run if logits of these do not fit on the disk.
    """

    def __init__(self, context: TrainingContext, dataset: Dataset, shapes: OutputShapes) -> None:
        self._context = context
        self._dataset = dataset
        self._shapes = shapes
        self._view = -1
        self._readers: list[ViewReader] = []
        is_live = "logits" not in context.disk_budget(shapes).stored
        self._live = [self._running(number) for number in context.assistants] if is_live else []

    @property
    def n_running(self) -> int:
        """Number of assistants that run for each batch."""
        return len(self._live)

    def of(self, batch: Batch) -> tuple[Outputs, ...]:
        """Outputs of each assistant for the samples of a batch, float32, from the largest to the smallest.

        Args:
            batch: The batch, with the channels that teachers get; the samples are the first of its images.
        """
        if self._live:
            samples = replace(batch, images=batch.images[: len(batch.labels)])
            return tuple(assistant(samples) for assistant in self._live)
        return tuple(reader.of(batch.indices) for reader in self._readers_of(batch.view))

    def close(self) -> None:
        """Close the files that are read, and remove all hooks."""
        for reader in self._readers:
            reader.close()
        for assistant in self._live:
            assistant.close()

    def _readers_of(self, view: int) -> list[ViewReader]:
        if view != self._view:
            self.close()
            self._readers = [self._reader(OutputsKey(number, view)) for number in self._context.assistants]
            self._view = view
        return self._readers

    def _reader(self, key: OutputsKey) -> ViewReader:
        precompute_outputs(self._context, key, dataset=self._dataset)
        stored = self._context.stored(key.teacher).read(key.name, n_chunks=len(self._shapes.chunks))
        return ViewReader(stored, (), torch.device(self._context.device))

    def _running(self, number: int) -> TeacherWithFeatures:
        """The assistant with this number, ready to run."""
        assistant = self._context.load_teacher(number, self._dataset)
        return TeacherWithFeatures(assistant, frozenset(), self._context.precision)
