"""Mixup and CutMix as functions of (seed, view, sample): another sample's image and label, mixed in.

Sources: "mixup: Beyond Empirical Risk Minimization" (Zhang et al. 2018, https://arxiv.org/abs/1710.09412, equation 1)
and "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features" (Yun et al. 2019,
https://arxiv.org/abs/1905.04899, equations 1 and 2). Unlike both, the partner and the weight do not come from the batch
but from the sample's counters [ours]: a mixed view is the same in every batch and for every student, and a teacher's
outputs for it are stored like those of any other. The sample keeps at least half of the weight: where the draw gives it
less, the two change roles [ours], which for Mixup leaves the distribution of the mixed pairs as it is; of CutMix it
means that the pasted box covers at most half of the image.

| symbol | shape | meaning |
|---|---|---|
| `weight` | `batch` | weight of the sample's own image and label, in `[1/2, 1]`; `lambda` in the papers |
| `share` | `batch x height x (width * channels)` | part of each value that is the sample's own: `weight`, or 0 or 1 |
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from autokd.data.augmentation import Augmentation, inside_box, outside_box, uniform_integers

__all__ = ["Mixture", "mix", "partners_of"]

_LEVELS = 2**16  # of the weights' distribution
_PARTNER, _WEIGHT, _ROW, _COLUMN, _IS_CUT = range(5, 10)  # purposes of draws, after those of `augment`


@dataclass(frozen=True)
class Mixture:
    """What the samples of a batch are mixed with.

    Attributes:
        labels: int64, `batch`: of the other samples.
        weight: float32, `batch`, in `[1/2, 1]`: of the samples themselves and their labels; the rest is the others'.
    """

    labels: Tensor
    weight: Tensor


def partners_of(indices: Tensor, n: int, seed: int, view: int) -> Tensor:
    """With which of the `n` samples each is mixed: int64, `batch`, uniform and possibly the sample itself."""
    return uniform_integers(indices, seed, view, _PARTNER, n)


def mix(
    own: Tensor, other: Tensor, indices: Tensor, augmentation: Augmentation, seed: int, view: int
) -> tuple[Tensor, Tensor]:
    """The mixed images, and the weight of the own ones, which is also that of their labels.

    Args:
        own: The samples' views, float32, `batch x channels x height x width`.
        other: Those of the partners.
        indices: int64, `batch`: positions of the samples in their split.
        augmentation: `mixup` or `cutmix` is positive, or both.
        seed: Seed of the stream.
        view: Number of the view.

    Returns:
        float32, as the images; and float32, `batch`, in `[1/2, 1]`.
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
    """`max(w, 1 - w)` of draws `w` from `Beta(alpha, alpha)`."""
    return _upper_quantiles(alpha, indices.device)[uniform_integers(indices, seed, view, _WEIGHT, _LEVELS)]


def _share_outside_a_box(indices: Tensor, alpha: float, shape: tuple[int, int, int], seed: int, view: int) -> Tensor:
    """1 outside and 0 inside a box of the image's proportions, `batch x height x (width * channels)`.

    Its area is `1 - weight` of the image's, its centre uniform over the image, so it may stick out.
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
@torch.inference_mode(False)  # they outlive the mode in which they happen to be asked for
def _upper_quantiles(alpha: float, device: torch.device) -> Tensor:
    """Quantiles of `Beta(alpha, alpha)` above its median 1/2, equally probable, increasing: float32, `_LEVELS`.

    A table, because the inverse distribution function is slow and not there on a GPU. By symmetry each is 1 less a
    quantile below the median, which keeps its digits.
    """
    from scipy.special import betaincinv

    probabilities = (torch.arange(_LEVELS, dtype=torch.float64) + 0.5) / (2 * _LEVELS)
    lower = torch.from_numpy(betaincinv(alpha, alpha, probabilities.numpy()))
    return (1 - lower).float().flip(0).to(device)
