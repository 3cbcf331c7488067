"""Consistency-regularised logit distillation (CRLD): the teacher on one view of a sample teaches about another.

Zhang et al. 2024, "Cross-View Consistency Regularisation for Knowledge Distillation",
https://arxiv.org/abs/2412.16493; public code: mdistiller/distillers/CRLD.py, as in
https://github.com/scx-822/CRLD-main.
"""

import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor

from autokd.data.augmentation import inside_box
from autokd.distillation.base import BatchContext, Method, Outputs
from autokd.distillation.checks import non_negative, positive, share
from autokd.distillation.methods.kd import kd_terms

__all__ = ["CRLD", "crld_loss", "strong_view"]

_CONTRAST = 0.5  # the strong view's contrast differs by up to a half
_HIDDEN_FEATURES = 0.25


def crld_loss(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    temperature: float = 4.0,
    within: float = 2.0,
    cross: float = 0.5,
    weak_confidence: float = 0.9,
    strong_confidence: float = 0.2,
) -> Tensor:
    """`within m_w (KD(w, w) + KD(s, s)) + cross m_s (KD(s, w) + KD(w, s))`, averaged over the batch.

    `KD(a, b)` is the KD loss of the student on view `a` from the teacher on view `b`, one of the weak view `w` and the
    strong view `s`. The teacher's soft labels are used only where it is confident: `m_w` is 1 for the samples in whose
    weak view its largest probability, without a temperature, is at least `weak_confidence`, else 0, and `m_s` likewise
    for the strong view and `strong_confidence`. As in the public code, `m_w` applies to both terms within a view, and
    `m_s` to both across views; the samples left out count in the mean.

    Args:
        student: Logits for the weak and the strong view, `batch x classes` each.
        teacher: Logits likewise; no gradient flows into them.
        temperature: `t > 0` of KD.
        within: Weight of the terms within a view.
        cross: Weight of the terms across views.
        weak_confidence: Smallest confidence in the weak view, in `[0, 1]`.
        strong_confidence: Smallest confidence in the strong view, in `[0, 1]`.
    """
    (weak, strong), (weak_teacher, strong_teacher) = student, teacher
    within_view = kd_terms(weak, weak_teacher, temperature) + kd_terms(strong, strong_teacher, temperature)
    cross_view = kd_terms(strong, weak_teacher, temperature) + kd_terms(weak, strong_teacher, temperature)
    is_sure_of_weak = _confidence(weak_teacher) >= weak_confidence
    is_sure_of_strong = _confidence(strong_teacher) >= strong_confidence
    return (within * is_sure_of_weak * within_view + cross * is_sure_of_strong * cross_view).mean()


def strong_view(samples: Tensor) -> Tensor:
    """Random view of each sample: its contrast scaled by 0.5 to 1.5, and a part of it set to 0, the mean.

    The part is a box of half of each axis at a random position in an image or signal, and of a vector each feature with
    a probability of a quarter. All draws come from torch's global generator.

    Args:
        samples: Normalised samples, `batch x features` or `batch x channels x` resolution.
    """
    contrast = 1 + _CONTRAST * (2 * torch.rand(len(samples), *[1] * (samples.ndim - 1)) - 1)
    return samples * (contrast * ~_hidden(samples.shape)).to(samples.device)


class CRLD(Method):
    """`CE + CE(s) + within m_w (KD(w, w) + KD(s, s)) + cross m_s (KD(s, w) + KD(w, s))`, see `crld_loss`.

    The weak view `w` is the sample as training augments it. The paper's strong view `s` is one of RandAugment; ours is
    `strong_view`, which signals and vectors have, too [ours]. The cross-entropy of the strong view belongs to the
    teacher's term, so wrappers treat it like the rest of that term. Both networks process both views of a batch at
    once, so batch normalisation computes its statistics over both; the public code runs the views in turn.

    The defaults are the public code's for CIFAR-100. The ranges are ours: temperature 1 to 10, within 0.1 to 10, cross
    0.05 to 5 (all log), both confidences 0 to 1.

    Args:
        temperature: `t` of KD, positive and finite.
        within: Weight of the terms within a view, at least 0.
        cross: Weight of the terms across views, at least 0.
        weak_confidence: Teacher's smallest confidence in the weak view for the terms within a view, in `[0, 1]`.
        strong_confidence: Teacher's smallest confidence in the strong view for the terms across views, in `[0, 1]`.
    """

    name = "crld"
    n_views = 2

    def __init__(
        self,
        temperature: float = 4.0,
        within: float = 2.0,
        cross: float = 0.5,
        weak_confidence: float = 0.9,
        strong_confidence: float = 0.2,
    ) -> None:
        super().__init__()
        self.temperature = positive(temperature=temperature)
        self.within = non_negative(within=within)
        self.cross = non_negative(cross=cross)
        self.weak_confidence = share(weak_confidence=weak_confidence)
        self.strong_confidence = share(strong_confidence=strong_confidence)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of temperature, both weights and both confidences."""
        return {
            "temperature": FloatDistribution(1.0, 10.0, log=True),
            "within": FloatDistribution(0.1, 10.0, log=True),
            "cross": FloatDistribution(0.05, 5.0, log=True),
            "weak_confidence": FloatDistribution(0.0, 1.0),
            "strong_confidence": FloatDistribution(0.0, 1.0),
        }

    def views(self, images: Tensor) -> Tensor:
        """The samples and their strong views, concatenated, `2 batch x` their shape."""
        return torch.cat([images, strong_view(images)])

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """`CE(s)` and the weighted terms of KD."""
        weak, strong = student.logits.chunk(2)
        weak_teacher, strong_teacher = teacher.logits.chunk(2)
        loss = crld_loss(
            (weak, strong),
            (weak_teacher, strong_teacher),
            self.temperature,
            self.within,
            self.cross,
            self.weak_confidence,
            self.strong_confidence,
        )
        return context.cross_entropy(strong) + loss


def _confidence(logits: Tensor) -> Tensor:
    """Largest probability of each sample, `batch`."""
    return logits.detach().softmax(1).amax(1)


def _hidden(shape: torch.Size) -> Tensor:
    """Mask of what a strong view hides, bool, of the samples' shape or one that broadcasts to it."""
    if len(shape) == 2:
        return torch.rand(shape) < _HIDDEN_FEATURES
    hidden = torch.ones((), dtype=torch.bool)
    for axis, length in enumerate(shape[2:], start=2):
        starts = torch.randint(length - length // 2 + 1, shape[:1])
        box = inside_box(starts, length // 2, length)
        hidden = hidden & box.view(shape[0], *(length if other == axis else 1 for other in range(1, len(shape))))
    return hidden
