"""Distillation in a training loop of your own."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from autokd.distillation.base import BatchContext, Method, Mixture
from autokd.distillation.feature_extractor import FeatureExtractor
from autokd.errors import InputError

__all__ = ["Distiller"]


class Distiller(nn.Module):
    """The loss of a batch by any method, whatever that needs of both networks.

    Its parameters and its state are the method's own, to be trained and saved beside the student's. The teacher runs
    in evaluation mode, once for each batch.

    Args:
        method: The method; it is prepared here, with random draws from torch's global generator.
        student: What learns; it is watched until `close`, and keeps its mode.
        teacher: A module or any callable that gives logits; only a module gives embeddings and features.
        example: A few samples as both take them, at least two, to see shapes.
        labels: int64, `n`: of all training samples, for methods that remember samples (CRD); those of no sample when
            left away.
        student_layers: Names of the modules whose outputs are the features; the last of each resolution when left away.
        teacher_layers: The same of the teacher.

    Raises:
        InputError: If the method needs more than the teacher gives, or cannot work with such shapes.
    """

    def __init__(
        self,
        method: Method,
        student: nn.Module,
        teacher: Callable[[Tensor], Tensor],
        example: Tensor,
        labels: Tensor | None = None,
        student_layers: Sequence[str] | None = None,
        teacher_layers: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.method = method
        if isinstance(teacher, nn.Module):
            teacher.eval()
        elif method.needs:
            raise InputError(
                f"the method needs the teacher's {' and '.join(sorted(method.needs))}: it must be a module."
            )
        chosen = None
        if method.chooses_layers and isinstance(teacher, nn.Module):
            chosen = method.layers(student, teacher, iter([example]))
        student_layers, teacher_layers = chosen or (student_layers, teacher_layers)
        live_teacher = teacher if isinstance(teacher, nn.Module) else nn.Identity()
        self._networks = student, teacher  # in a tuple, for they are no submodules
        self._feature_extractor = (
            FeatureExtractor(student, method.needs, student_layers),
            FeatureExtractor(live_teacher, method.needs, teacher_layers),
        )
        self._prepare(example, labels)

    def forward(
        self,
        images: Tensor,
        labels: Tensor,
        indices: Tensor | None = None,
        epoch: float = 0.0,
        progress: float = 0.0,
        mixture: Mixture | None = None,
    ) -> Tensor:
        """What training minimises, a scalar.

        Args:
            images: Samples, as both networks take them.
            labels: int64, `batch`.
            indices: int64, `batch`: which training samples these are; needed by methods that remember samples.
            epoch: Epochs of training done, for methods with a schedule.
            progress: Part of the whole training that is done, in `[0, 1)`, likewise.
            mixture: What the samples are mixed with, where they are.
        """
        (student, teacher), (student_taps, teacher_taps) = self._networks, self._feature_extractor
        seen = self.method.views(images)
        with torch.no_grad():
            taught = teacher_taps.outputs(teacher(seen))
        learnt = student_taps.outputs(student(seen))
        places = torch.arange(len(labels), device=labels.device) if indices is None else indices
        return self.method.loss(learnt, taught, BatchContext(labels, places, epoch, progress, mixture))

    def close(self) -> None:
        """Watch the networks no more."""
        for extractor in self._feature_extractor:
            extractor.remove()

    @torch.no_grad()
    def _prepare(self, example: Tensor, labels: Tensor | None) -> None:
        (student, teacher), (student_taps, teacher_taps) = self._networks, self._feature_extractor
        modes = {module: module.training for module in student.modules()}
        student.eval()  # so that batch norm learns nothing from the example
        seen = self.method.views(example)
        outputs = student_taps.outputs(student(seen)), teacher_taps.outputs(teacher(seen))
        for module, mode in modes.items():
            module.training = mode
        none = torch.zeros(0, dtype=torch.int64, device=example.device)
        self.method.prepare(*outputs, none if labels is None else labels.to(example.device))
        self.method.to(example.device)
