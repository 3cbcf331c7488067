"""What the assistants say of the batches of a training."""

from collections.abc import Collection
from dataclasses import replace

import torch

from autokd.data.dataset import Dataset
from autokd.data.stream import Batch
from autokd.distillation import Outputs
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.precompute import output_shapes, precompute_outputs
from autokd.teachers.features import TeacherWithFeatures
from autokd.teachers.outputs.key import OutputsKey
from autokd.teachers.outputs.reader import ViewReader
from autokd.teachers.outputs.shapes import OutputKind

__all__ = ["PanelOutputs"]


class PanelOutputs:
    """Logits of the assistants for training batches: from the store, or of the assistants as they run.

    Args:
        context: What the search's evaluations share.
        dataset: The samples.
        stored: Which of the teachers' outputs are stored; without logits, the assistants run.
    """

    def __init__(self, context: TrainingContext, dataset: Dataset, stored: Collection[OutputKind]) -> None:
        self._context = context
        self._dataset = dataset
        self._is_live = "logits" not in stored
        self._view = -1
        self._readers: list[ViewReader] = []
        self._live: list[TeacherWithFeatures] = []

    @property
    def n_running(self) -> int:
        """Number of assistants that run for each batch."""
        return len(self._context.assistants) if self._is_live else 0

    def of(self, batch: Batch) -> tuple[Outputs, ...]:
        """Outputs of each assistant for the samples of a batch, float32, from the largest to the smallest.

        Args:
            batch: The batch, with the channels that teachers get; the samples are the first of its images.
        """
        if self._is_live:
            samples = replace(batch, images=batch.images[: len(batch.labels)])
            return tuple(live(samples) for live in self._running())
        return tuple(reader.of(batch.indices) for reader in self._readers_of(batch.view))

    def close(self) -> None:
        """Close the files that are read, and remove all hooks."""
        for open_ones in (self._readers, self._live):
            for each in open_ones:
                each.close()

    def _readers_of(self, view: int) -> list[ViewReader]:
        if view != self._view:
            self.close()
            self._readers = [self._reader(OutputsKey(number, view)) for number in self._context.assistants]
            self._view = view
        return self._readers

    def _reader(self, key: OutputsKey) -> ViewReader:
        precompute_outputs(self._context, key, dataset=self._dataset)
        n_chunks = len(output_shapes(self._context, dataset=self._dataset).chunks)
        stored = self._context.stored(key.teacher).read(key.name, n_chunks=n_chunks)
        return ViewReader(stored, (), torch.device(self._context.device))

    def _running(self) -> list[TeacherWithFeatures]:
        """The assistants, ready to run."""
        if not self._live:
            teachers = (self._context.load_teacher(number, self._dataset) for number in self._context.assistants)
            self._live = [TeacherWithFeatures(each, frozenset(), self._context.precision) for each in teachers]
        return self._live
