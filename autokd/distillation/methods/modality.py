"""Modality relations: similarities between views of a sample (Liu 2021, https://arxiv.org/abs/2112.11447)."""

import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor, nn
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, Method, Outputs
from autokd.distillation.checks import non_negative
from autokd.distillation.maps import embeddings, unit

__all__ = ["Modality", "modality_loss", "relations"]

N_MODALITIES = 3

_SHIFT = 8  # the shifted view moves by an eighth of each axis
_HIDDEN = 4  # a view of a vector lacks every fourth feature


def relations(vectors: Tensor) -> Tensor:
    """Cosines between the modalities of each sample, `G = F F'`, `batch x M x M`.

    Args:
        vectors: Embeddings of each modality, `M x batch x width`: the rows of F before normalisation.
    """
    rows = unit(vectors.transpose(0, 1), dim=2)
    return rows @ rows.mT


def modality_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """`||G_T - G_S||_F^2 / M^2`, averaged over the batch, in `[0, 4]`.

    "Multi-Modality Distillation via Learning the teacher's modality-level Gram Matrix", Liu 2021. The normalisation of
    the rows of F and the factor `1 / M^2` are our interpretation.

    Args:
        student: Embeddings of each modality, `M x batch x width`.
        teacher: Embeddings of the same modalities and samples; the width may differ.
    """
    return F.mse_loss(relations(student), relations(teacher.detach()))


class Modality(Method):
    """`CE + weight ||G_T - G_S||_F^2 / M^2` of the embeddings of three views of each sample, including itself.

    The paper's samples have several modalities, such as audio and video. Ours have one, so views replace them [ours]:
    an image or signal flipped along its last axis, and rolled by an eighth of each axis; a vector without every fourth
    feature, starting at the first and at the second. The views are close to the samples because batch normalisation
    computes its statistics over all views together. If groups of channels were the modalities, with the others hidden,
    the statistics would be far from those of whole samples. Both networks process three times as many samples per step.

    Only the student's embedding is projected, by a trained linear map without bias to the teacher's width. With trained
    projections on both sides, both could map all vectors to the same one, and the loss would be 0.

    Args:
        weight: At least 0; default and range are ours.
    """

    name = "modality"
    needs = frozenset({"embedding"})
    n_views = N_MODALITIES

    def __init__(self, weight: float = 10.0) -> None:
        super().__init__()
        self.weight = non_negative(weight=weight)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distribution of the weight."""
        return {"weight": FloatDistribution(1.0, 1000.0, log=True)}

    def views(self, images: Tensor) -> Tensor:
        """The samples and two further views of them, concatenated, `3 batch x` their shape."""
        if images.ndim == 2:
            further = _without_features(images, 0), _without_features(images, 1)
        else:
            further = images.flip(-1), _shifted(images)
        return torch.cat([images, *further])

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Create the projection.

        Raises:
            InputError: If a network has no embedding.
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
    """The vectors with every fourth feature from `first` on set to 0, the mean of normalised features."""
    places = torch.arange(vectors.shape[1], device=vectors.device)
    return vectors.masked_fill(places % _HIDDEN == first, 0)
