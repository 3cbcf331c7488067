"""Modality relation: how views of a sample lie to each other (Liu 2021, https://arxiv.org/abs/2112.11447)."""

import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor, nn
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, Method, Outputs
from autokd.distillation.checks import non_negative
from autokd.distillation.maps import embeddings, unit

__all__ = ["Modality", "modality_loss", "relations"]

N_MODALITIES = 3

_SHIFT = 8  # the shifted view moves by one part in so many of each axis
_HIDDEN = 4  # a view of a vector lacks one feature in so many


def relations(vectors: Tensor) -> Tensor:
    """`G = F F'`, the cosines between the modalities of each sample, `batch x M x M`.

    Args:
        vectors: `M x batch x width`; the rows of a sample's F, of any length.
    """
    rows = unit(vectors.transpose(0, 1), dim=2)
    return rows @ rows.mT


def modality_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """`||G_T - G_S||_F^2 / M^2`, the mean over the batch, in `[0, 4]`.

    "Multi-Modality Distillation via Learning the teacher's modality-level Gram Matrix", Liu 2021. That the rows of F
    are normalised, and the factor `1 / M^2`, are our reading.

    Args:
        student: `M x batch x width`.
        teacher: The same modalities of the same samples; the width may differ.
    """
    return F.mse_loss(relations(student), relations(teacher.detach()))


class Modality(Method):
    """`CE + weight ||G_T - G_S||_F^2 / M^2` of the embeddings of three views of each sample, one of them itself.

    Where the paper has modalities, such as sound and pictures, our samples have one, so views stand in for them: an
    image or signal mirrored along its last axis, and moved round the edge by an eighth of each axis; a vector without
    every fourth feature, from the first and from the second on. They are mild, since batch normalisation takes its
    statistics from all views together: with groups of channels for modalities, the rest hidden, these would be far
    from those of whole samples. Each step takes three times the samples through both networks.

    Only the student's embedding is projected, by a trained linear map without bias to the teacher's width: with a
    trained projection on either side both could turn all vectors into one, and the loss would be 0.

    Args:
        weight: Not negative; default and range are ours.
    """

    name = "modality"
    needs = frozenset({"embedding"})
    n_views = N_MODALITIES

    def __init__(self, weight: float = 10.0) -> None:
        super().__init__()
        self.weight = non_negative(weight=weight)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Weight."""
        return {"weight": FloatDistribution(1.0, 1000.0, log=True)}

    def views(self, images: Tensor) -> Tensor:
        """The samples, then both further views of them, `3 batch x` their shape."""
        if images.ndim == 2:
            further = _without_features(images, 0), _without_features(images, 1)
        else:
            further = images.flip(-1), _shifted(images)
        return torch.cat([images, *further])

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Make the projection.

        Raises:
            InputError: If a network gives no embedding.
        """
        own, other = embeddings(student, teacher)
        self.projection = nn.Linear(own.shape[1], other.shape[1], bias=False).to(student.logits.device)

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """`weight ||G_T - G_S||_F^2 / M^2`."""
        own, other = embeddings(student, teacher)
        return self.weight * modality_loss(_by_view(self.projection(own)), _by_view(other))


def _by_view(embedding: Tensor) -> Tensor:
    return embedding.reshape(N_MODALITIES, -1, embedding.shape[1])


def _shifted(images: Tensor) -> Tensor:
    axes = tuple(range(2, images.ndim))
    return images.roll([max(1, images.shape[axis] // _SHIFT) for axis in axes], axes)


def _without_features(vectors: Tensor, first: int) -> Tensor:
    """With 0, the mean of normalised features, in place of every fourth from `first` on."""
    places = torch.arange(vectors.shape[1], device=vectors.device)
    return vectors.masked_fill(places % _HIDDEN == first, 0)
