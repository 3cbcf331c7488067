"""Mixup and CutMix as functions of (seed, view, sample): a sample's image and label are mixed with another sample's.

| symbol | shape | meaning |
|---|---|---|
| `weight` | `batch` | weight of the sample's own image and label, in `[1/2, 1]`; `lambda` in the papers |
| `share` | `batch x height x (width * channels)` | weight of the sample's own values: `weight`, or 0 or 1 |

Sources: "mixup: Beyond Empirical Risk Minimization" (Zhang et al. 2018, https://arxiv.org/abs/1710.09412, equation 1)
and "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features" (Yun et al. 2019,
https://arxiv.org/abs/1905.04899, equations 1 and 2).

[ours] In both papers, the partner comes from the batch. Here partner and weight are functions of the sample's counters,
so a mixed view is the same in every batch and for every student, and the teacher's outputs for it can be stored.

[ours] A sample's own weight is at least half: if the drawn weight is less, the two samples change roles. For mixup the
distribution of mixed pairs remains the same; for CutMix the pasted box covers at most half of the image.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from autokd.data.augmentation import Augmentation, inside_box, outside_box, uniform_integers

__all__ = ["Mixture", "mix", "partners_of"]

_LEVELS = 2**16  # of the quantised distribution of weights
_PARTNER, _WEIGHT, _ROW, _COLUMN, _IS_CUT = range(5, 10)  # purposes of draws, after those of `augment`


@dataclass(frozen=True)
class Mixture:
    """Labels and weights of a batch of mixed samples.

    Attributes:
        labels: Labels of the other samples, int64, `batch`.
        weight: Weight of the samples' own images and labels, float32, `batch`, in `[1/2, 1]`; that of the others is
            `1 - weight`.
    """

    labels: Tensor
    weight: Tensor


def partners_of(indices: Tensor, n: int, seed: int, view: int) -> Tensor:
    """Indices of the samples that are mixed in, int64, `batch`, uniform in `[0, n)`; possibly the sample itself.

    Args:
        indices: Indices of the samples, int64, `batch`.
        n: Number of samples in the split.
        seed: Seed of the stream.
        view: Number of the view.
    """
    return uniform_integers(indices, seed, view, _PARTNER, n)


def mix(
    own: Tensor, other: Tensor, indices: Tensor, augmentation: Augmentation, seed: int, view: int
) -> tuple[Tensor, Tensor]:
    """Mixed images, and the weight of the samples' own images and labels.

    Args:
        own: Views of the samples, float32, `batch x channels x height x width`.
        other: Views of their partners, of the same shape.
        indices: Indices of the samples in their split, int64, `batch`.
        augmentation: Augmentation with positive `mixup` or `cutmix`, or both.
        seed: Seed of the stream.
        view: Number of the view.

    Returns:
        Images like `own`, and weights, float32, `batch`, in `[1/2, 1]`.
    """
    if not augmentation.cutmix:
        weight = _weights(indices, augmentation.mixup, seed, view)
        return torch.lerp(other, own, weight.view(-1, 1, 1, 1)), weight
    batch, channels, height, width = own.shape
    share = _share_outside_a_box(indices, augmentation.cutmix, (height, width, channels), seed, view)
    weight = share.mean((1, 2))
    if augmentation.mixup:
        is_cut = uniform_integers(indices, seed, view, _IS_CUT, 2).bool()
        weight = torch.where(is_cut, weight, _weights(indices, augmentation.mixup, seed, view))
        share = torch.where(is_cut[:, None, None], share, weight[:, None, None])
    other_rows, own_rows = (images.movedim(1, -1).flatten(-2) for images in (other, own))
    rows = torch.lerp(other_rows, own_rows, share)
    return rows.view(batch, height, width, channels).movedim(-1, 1), weight


def _weights(indices: Tensor, alpha: float, seed: int, view: int) -> Tensor:
    """Weights `max(w, 1 - w)` of random `w` from `Beta(alpha, alpha)`."""
    return _upper_quantiles(alpha, indices.device)[uniform_integers(indices, seed, view, _WEIGHT, _LEVELS)]


def _share_outside_a_box(indices: Tensor, alpha: float, shape: tuple[int, int, int], seed: int, view: int) -> Tensor:
    """Mask that is 1 outside and 0 inside a random box, `batch x height x (width * channels)`.

    The box has the aspect ratio of the image and `1 - weight` of its area. Its centre is uniform over the image, so it
    may extend beyond the border.
    """
    height, width, channels = shape
    side = (1 - _weights(indices, alpha, seed, view)).sqrt()
    sizes = [(side * length).long() for length in (height, width)]
    centres = [
        uniform_integers(indices, seed, view, purpose, length) for purpose, length in ((_ROW, height), (_COLUMN, width))
    ]
    rows, columns = (
        inside_box(centre - size // 2, size, length)
        for centre, size, length in zip(centres, sizes, (height, width), strict=True)
    )
    return outside_box(rows, columns.repeat_interleave(channels, 1)).float()


@lru_cache(maxsize=4)
@torch.inference_mode(False)  # the cached tensors may be created in inference mode and used outside of it
def _upper_quantiles(alpha: float, device: torch.device) -> Tensor:
    """Equally probable quantiles of `Beta(alpha, alpha)` above its median 1/2, increasing, float32, `_LEVELS`.

    This is a table because the inverse distribution function is slow and not available on a GPU. By symmetry each
    quantile is 1 minus one below the median, which is computed without loss of precision.
    """
    from scipy.special import betaincinv

    probabilities = (torch.arange(_LEVELS, dtype=torch.float64) + 0.5) / (2 * _LEVELS)
    lower = torch.from_numpy(betaincinv(alpha, alpha, probabilities.numpy()))
    return (1 - lower).float().flip(0).to(device)
