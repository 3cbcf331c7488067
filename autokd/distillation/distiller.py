"""Distillation in a custom training loop."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from autokd.distillation.base import BatchContext, Method, Mixture, Outputs
from autokd.distillation.feature_extractor import FeatureExtractor
from autokd.distillation.recruits import Recruits
from autokd.errors import InputError

__all__ = ["Distiller"]


class Distiller(nn.Module):
    """Loss module that runs student and teacher and applies any distillation method.

    Its parameters and state are those of the method; train and save them with the student's. The teacher runs in
    evaluation mode, once for each batch.

    Args:
        method: The method. It is prepared here, with random draws from torch's global generator.
        student: The student. It has hooks until `close` is called, and keeps its mode.
        teacher: A module, or any callable that returns logits; only a module provides embeddings and features.
        example: At least two samples, as inputs of both networks, for the shapes of the outputs.
        labels: Labels of all training samples, int64, `n`, for methods that remember samples (CRD); empty by default.
        student_layers: Names of the student's modules whose outputs are the features; by default the last one of each
            resolution.
        teacher_layers: Names of the teacher's modules likewise.
        fresh: Makes a network like the student with initial weights that follow from a number, for methods with
            companions of that kind (DML).
        panel: The teacher's assistants, from the largest to the smallest, for methods that learn from them (TAKD);
            modules or callables, which are not trained.

    Raises:
        InputError: If the method needs outputs that the teacher does not provide, does not support their shapes,
            remembers samples and `labels` are omitted, has companions like the student and `fresh` is omitted or like
            the teacher and it is no module, or learns from assistants and there are none.
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
        fresh: Callable[[int], nn.Module] | None = None,
        panel: Sequence[Callable[[Tensor], Tensor]] = (),
    ) -> None:
        super().__init__()
        self.method = method
        if isinstance(teacher, nn.Module):
            teacher.eval()
        elif method.needs:
            raise InputError(
                f"the method needs the teacher's {' and '.join(sorted(method.needs))}, so the teacher must be a module."
            )
        if method.remembers_samples and labels is None:
            raise InputError(
                "the method remembers all training samples: pass their labels, Distiller(..., labels=...)."
            )
        method.recruit(Recruits(fresh or _no_companion, partial(_copied, teacher), example, teacher_layers))
        for assistant in panel:
            if isinstance(assistant, nn.Module):
                assistant.eval()
        chosen = None
        if method.chooses_layers and isinstance(teacher, nn.Module):
            chosen = method.layers(student, teacher, iter([example]))
        student_layers, teacher_layers = chosen or (student_layers, teacher_layers)
        live_teacher = teacher if isinstance(teacher, nn.Module) else nn.Identity()
        self._networks = student, teacher  # in a tuple, so that they do not become submodules
        self._panel = tuple(panel) if method.learns_from_panel else ()
        self._extractors = (
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
        """Loss to minimise, a scalar.

        Args:
            images: Samples, as inputs of both networks.
            labels: int64, `batch`.
            indices: Indices of the samples in the training set, int64, `batch`; needed by methods that remember
                samples.
            epoch: Epochs trained so far, a real number, for methods with a schedule.
            progress: Share of the whole training done so far, in `[0, 1)`, for methods with a schedule.
            mixture: Labels and weight of the other samples with mixup.

        Raises:
            InputError: If the method remembers samples and `indices` are omitted.
        """
        if self.method.remembers_samples and indices is None:
            raise InputError("the method remembers all training samples: pass the indices of those in the batch.")
        student, student_extractor = self._networks[0], self._extractors[0]
        views = self.method.views(images)
        teacher_outputs = self._teacher_outputs(views, len(images))
        student_outputs = student_extractor.outputs(student(views))
        samples = torch.arange(len(labels), device=labels.device) if indices is None else indices
        companions = self.method.companion_outputs(images)
        context = BatchContext(labels, samples, epoch, progress, mixture, companions)
        return self.method.loss(student_outputs, teacher_outputs, context)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """What an optimiser trains beside the student: the method's parameters, and companions at their own rates.

        Args:
            learning_rate: That of the student.
        """
        rates = self.method.companion_rates
        of_companions = {parameter for companion in rates for parameter in companion.parameters()}
        own = [parameter for parameter in self.parameters() if parameter not in of_companions]
        groups = [{"params": own, "lr": learning_rate}]
        groups += [{"params": list(each.parameters()), "lr": rate * learning_rate} for each, rate in rates.items()]
        return [group for group in groups if group["params"]]

    def close(self) -> None:
        """Remove the hooks from both networks."""
        for extractor in self._extractors:
            extractor.remove()

    @torch.no_grad()
    def _teacher_outputs(self, views: Tensor, n: int) -> Outputs:
        """Outputs of the teacher for all views, with those of the assistants for the first `n`, the samples."""
        found = self._extractors[1].outputs(self._networks[1](views))
        return replace(found, others=tuple(Outputs(assistant(views[:n]).float()) for assistant in self._panel))

    @torch.no_grad()
    def _prepare(self, example: Tensor, labels: Tensor | None) -> None:
        student, student_extractor = self._networks[0], self._extractors[0]
        modes = {module: module.training for module in student.modules()}
        student.eval()  # so that the example does not change the statistics of batch normalisation
        views = self.method.views(example)
        outputs = student_extractor.outputs(student(views)), self._teacher_outputs(views, len(example))
        for module, mode in modes.items():
            module.training = mode
        none = torch.zeros(0, dtype=torch.int64, device=example.device)
        self.method.prepare(*outputs, none if labels is None else labels.to(example.device))
        self.method.to(example.device)


def _no_companion(number: int) -> nn.Module:
    raise InputError("the method trains companions: pass what makes one, Distiller(..., fresh=...).")


def _copied(teacher: Callable[[Tensor], Tensor]) -> nn.Module:
    if not isinstance(teacher, nn.Module):
        raise InputError("the method trains a copy of the teacher, so the teacher must be a module.")
    return deepcopy(teacher).requires_grad_()
