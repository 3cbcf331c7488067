"""A teacher together with the embeddings and feature maps that a distillation method needs."""

from collections.abc import Sequence

import torch
from torch import nn

from autokd.data.stream import Batch
from autokd.distillation import Need, Outputs
from autokd.distillation.feature_extractor import FeatureExtractor
from autokd.errors import InputError
from autokd.teachers.teacher import Teacher

__all__ = ["TeacherWithFeatures"]


class TeacherWithFeatures:
    """Callable that returns a teacher's outputs for training batches, without gradient.

    Args:
        teacher: The teacher; it has hooks until `close` is called.
        needs: Outputs that are needed in addition to logits.
        precision: Type of the computation, "float32" or "bfloat16".
        layers: Names of the modules whose outputs are the features; the last of each resolution by default.

    Raises:
        InputError: If more than logits is needed, but the teacher is not a module.
    """

    def __init__(
        self, teacher: Teacher, needs: frozenset[Need], precision: str, layers: Sequence[str] | None = None
    ) -> None:
        if needs and teacher.network is None:
            raise InputError(
                f"the method needs the teacher's {' and '.join(sorted(needs))}, but the teacher is no torch module: "
                "choose methods that learn from logits."
            )
        self._teacher = teacher
        self._precision = precision
        network = nn.Identity() if teacher.network is None else teacher.network
        self._feature_extractor = FeatureExtractor(network, needs, layers)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Outputs:
        """Outputs for a training batch."""
        casts = self._precision == "bfloat16" and self._teacher.network is not None  # a function computes as it wants
        with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=casts):
            logits = self._teacher.on_batch(batch)
        return self._feature_extractor.outputs(logits)

    def close(self) -> None:
        """Remove the hooks from the teacher."""
        self._feature_extractor.remove()
