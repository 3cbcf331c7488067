"""Similarity of the layers of a network, from their outputs for the same samples.

x, y  outputs of two layers, `n x C_x` and `n x C_y`, one row for each sample

A metric takes chunks of samples, each with the outputs of the L layers, `chunk x` their width. It returns the
similarities of all pairs of layers, float64, `L x L`, at most 1, with 1 on the diagonal. A layer with the same output
for all samples has a similarity of 0 to all others.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

import torch
from torch import Tensor

from autokd.errors import InputError

__all__ = ["METRICS", "Chunks", "linear_cka", "mean_squared_cca", "rbf_cka"]

Chunks = Iterable[Sequence[Tensor]]

RBF_SAMPLES = 1000  # of `rbf_cka`, which compares each sample with each
MOST_CHANNELS = 8192  # of all layers together in `mean_squared_cca`: half a gigabyte of covariances

_LEAST = 4  # samples for which the unbiased estimate is defined
_NEGLIGIBLE = 1e-10  # variance along a principal axis, relative to the largest, that is rounding


def linear_cka(chunks: Chunks) -> Tensor:
    """Linear CKA: invariant to shifts, rotations and scale, but not to other linear maps.

    Linear centred kernel alignment (Kornblith et al. 2019, https://arxiv.org/abs/1905.00414), estimated from chunks of
    samples without a bias towards wide layers (Nguyen, Raghu and Kornblith 2021, https://arxiv.org/abs/2010.15327). The
    estimate may be negative; it is about 0 for unrelated layers.

    Args:
        chunks: Chunks of samples. Chunks of less than four samples are ignored.

    Raises:
        InputError: If no chunk has four samples.
    """
    of_chunks = [_products(layers) for layers in chunks if len(layers[0]) >= _LEAST]
    if not of_chunks:
        raise InputError(f"similarities of layers need batches of at least {_LEAST} samples, but all are smaller.")
    return _normalised(torch.stack(of_chunks).sum(0))


def mean_squared_cca(chunks: Chunks) -> Tensor:
    """Mean squared canonical correlation, `||Q_y' Q_x||_F^2 / min(C_x, C_y)`: invariant to any invertible linear map.

    Q is an orthonormal basis of the centred outputs (Kornblith et al. 2019, section 3.2). It is computed from the
    covariances of the outputs, which are summed over the chunks, so that nothing grows with the number of samples. Axes
    along which a layer does not vary are left out, and C is the number of the others [ours]. With fewer samples than
    channels all layers look alike.

    Args:
        chunks: Chunks of samples, in total more than any layer has channels.

    Raises:
        InputError: If the layers have more than 8192 channels in total.
    """
    covariance, widths = _covariance(chunks)
    bounds = [0, *torch.tensor(widths).cumsum(0).tolist()]
    parts = [slice(*bound) for bound in pairwise(bounds)]
    bases = [_whitening(covariance[part, part]) for part in parts]
    similarities = torch.eye(len(parts), dtype=torch.float64, device=covariance.device)
    for i, j in torch.combinations(torch.arange(len(parts)), 2).tolist():
        rank = min(bases[i].shape[1], bases[j].shape[1])
        total = (bases[i].T @ covariance[parts[i], parts[j]] @ bases[j]).square().sum()
        similarities[i, j] = similarities[j, i] = total / max(1, rank)
    return similarities


def rbf_cka(chunks: Chunks) -> Tensor:
    """CKA with a Gaussian kernel whose width is the median distance of two samples, on the first 1,000 samples.

    Kornblith et al. 2019, section 4; the estimate is that of `linear_cka`.

    Args:
        chunks: Chunks of samples; those after the first 1,000 samples are ignored.

    Raises:
        InputError: If there are less than four samples.
    """
    first: list[Sequence[Tensor]] = []
    for chunk in chunks:
        first.append(chunk)
        if sum(len(layers[0]) for layers in first) >= RBF_SAMPLES:
            break
    layers = [torch.cat(outputs)[:RBF_SAMPLES].double() for outputs in zip(*first, strict=True)]
    if len(layers[0]) < _LEAST:
        raise InputError(f"similarities of layers need at least {_LEAST} samples, but got {len(layers[0])}.")
    grams = torch.stack([_centred(_gaussian_gram(outputs)).float().flatten() for outputs in layers])
    return _normalised((grams @ grams.T).double())


METRICS: Mapping[str, Callable[[Chunks], Tensor]] = MappingProxyType(
    {"cka": linear_cka, "cca": mean_squared_cca, "rbf": rbf_cka}
)
"""Metrics by their names in a configuration."""


def _normalised(products: Tensor) -> Tensor:
    """Cosines of all pairs, from their inner products."""
    lengths = products.diagonal().sqrt()
    similarities = products / torch.outer(lengths, lengths)
    return similarities.nan_to_num(0, 0, 0).fill_diagonal_(1)


def _products(layers: Sequence[Tensor]) -> Tensor:
    n = len(layers[0])
    grams = torch.stack([_centred(_linear_gram(outputs)).flatten() for outputs in layers])
    return grams @ grams.T / (n * (n - 3))


def _linear_gram(outputs: Tensor) -> Tensor:
    outputs = outputs.double()
    outputs = outputs - outputs.mean(0)
    return outputs @ outputs.T


def _gaussian_gram(outputs: Tensor) -> Tensor:
    """`exp(-d^2 / (2 s^2))` of all pairs, with s the median of the distances d; 1 if that is 0."""
    distances = torch.pdist(outputs)
    width = distances.median()
    gram = outputs.new_ones(len(outputs), len(outputs))
    if width > 0:
        rows, columns = torch.triu_indices(len(outputs), len(outputs), 1, device=outputs.device)
        gram[rows, columns] = gram[columns, rows] = torch.exp(-(distances**2) / (2 * width**2))
    return gram


def _centred(gram: Tensor) -> Tensor:
    """Gram matrix of different samples, U-centred so that inner products of two such matrices are unbiased.

    The diagonal is 0, and each row and column sums to 0 (Szekely and Rizzo 2014, https://arxiv.org/abs/1310.2926,
    definition 2).
    """
    n = len(gram)
    gram = gram.fill_diagonal_(0)
    rows = gram.sum(0) / (n - 2)
    return (gram - rows - rows.unsqueeze(1) + rows.sum() / (n - 1)).fill_diagonal_(0)


def _covariance(chunks: Chunks) -> tuple[Tensor, list[int]]:
    """Covariances of the channels of all layers, times the number of samples, and the layers' widths."""
    n, origin, sums, products = 0, torch.zeros(0), torch.zeros(0), torch.zeros(0)
    widths: list[int] = []
    for layers in chunks:
        outputs = torch.cat([layer.double() for layer in layers], 1)
        if not n:
            widths = [layer.shape[1] for layer in layers]
            _check_channels(outputs.shape[1])
            origin = outputs.mean(0)  # near the mean, so that subtracting the squares of large means loses no digits
            sums, products = torch.zeros_like(origin), outputs.new_zeros(len(origin), len(origin))
        outputs = outputs - origin
        n, sums, products = n + len(outputs), sums + outputs.sum(0), products.addmm_(outputs.T, outputs)
    return products - torch.outer(sums, sums) / max(1, n), widths


def _check_channels(n: int) -> None:
    if n > MOST_CHANNELS:
        raise InputError(
            f"the metric 'cca' compares at most {MOST_CHANNELS:,} channels, but the layers have {n:,} in total: choose "
            "'cka' or 'rbf'."
        )


def _whitening(covariance: Tensor) -> Tensor:
    """Map W such that the outputs times W are orthonormal, `C x` their rank."""
    variances, axes = torch.linalg.eigh(covariance)
    kept = variances > _NEGLIGIBLE * variances[-1].clamp_min(torch.finfo(torch.float64).tiny)
    scaled: Tensor = axes[:, kept] / variances[kept].sqrt()
    return scaled
