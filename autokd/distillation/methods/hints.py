"""Hints at representative layers, found by clustering (Keser et al. 2021, https://arxiv.org/abs/2103.00053)."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from weakref import WeakKeyDictionary

import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor, nn

from autokd.distillation.feature_extractor import averaged, layer_outputs
from autokd.distillation.methods.fitnet import FitNet
from autokd.errors import InputError

__all__ = ["ClusteredHints", "cluster_layers", "linear_cka"]

N_HINTS = 3
N_SAMPLES = 2048
CHUNK = 32  # samples at a time, since the outputs of all layers are in memory at once

_LEAST = 4  # samples for which the estimate of the similarity is defined


def linear_cka(chunks: Iterable[Sequence[Tensor]]) -> Tensor:
    """Linear CKA of all pairs of layers, float64, `L x L`, at most 1; about 0 for unrelated layers, 1 on the diagonal.

    Linear centred kernel alignment (Kornblith et al. 2019, https://arxiv.org/abs/1905.00414), estimated from chunks of
    samples without a bias towards wide layers (Nguyen, Raghu and Kornblith 2021, https://arxiv.org/abs/2010.15327). The
    estimate may be negative. It does not change if a layer's outputs are shifted, rotated or scaled. A layer with the
    same output for all samples has a similarity of 0 to all others.

    Args:
        chunks: Chunks of samples: for each, the outputs of the L layers, `chunk x` their width. Chunks of less than
            four samples are ignored.

    Raises:
        InputError: If no chunk has four samples.
    """
    of_chunks = [_products(layers) for layers in chunks if len(layers[0]) >= _LEAST]
    if not of_chunks:
        raise InputError(f"similarities of layers need batches of at least {_LEAST} samples, but all are smaller.")
    products = torch.stack(of_chunks).sum(0)
    lengths = products.diagonal().sqrt()
    similarities = products / torch.outer(lengths, lengths)
    return similarities.nan_to_num(0, 0, 0).fill_diagonal_(1)


def cluster_layers(distances: Tensor, k: int = N_HINTS) -> tuple[int, ...]:
    """Indices of the representative layers, the centres of clusters, ascending, at most `k`.

    Keser et al. 2021: k-means over layers, with initial centres evenly spaced from the first layer to the last. Each
    layer is assigned to the nearest centre, the earlier one if there are two. The new centre of a cluster is the member
    whose index is nearest to the members' mean index, again the earlier one if there are two. The iteration stops when
    a set of centres occurs again.

    Args:
        distances: Distances between layers, `L x L`, with zeros on the diagonal.
        k: Number of clusters; there are fewer if there are fewer layers, or some do not differ.
    """
    centres, seen = _equal_steps(len(distances), k), set[tuple[int, ...]]()
    while centres not in seen:
        seen.add(centres)
        nearest = distances[:, list(centres)].argmin(1).tolist()
        clusters = [[layer for layer, own in enumerate(nearest) if own == c] for c in range(len(centres))]
        centres = tuple(sorted(_middle(members) for members in clusters if members))
    return centres


class ClusteredHints(FitNet):
    """`CE + weight sum MSE(r(f_S), f_T)` at three layers of the teacher, each the centre of a cluster of layers.

    The distance of two layers is 1 - linear CKA of their outputs, averaged over positions. The student's layer for a
    hint is the one at the same relative depth, which is our interpretation. The loss is FitNet's; the paper tries
    several. The paper uses 10,000 training samples for the clustering; here it is the first 2048 samples, once for each
    teacher, which must not be sorted by class [ours].

    Args:
        weight: Weight of the hints, at least 0; default and range are those of FitNet.
    """

    name = "clustered-hints"
    chooses_layers = True

    def __init__(self, weight: float = 100.0) -> None:
        super().__init__(weight, stages="all")

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distribution of the weight."""
        return {"weight": FloatDistribution(1.0, 1000.0, log=True)}

    def layers(
        self, student: nn.Module, teacher: nn.Module, samples: Iterator[Tensor]
    ) -> tuple[Sequence[str], Sequence[str]]:
        """The student's layers at the relative depths of the teacher's representative layers, and the latter.

        Raises:
            InputError: If a network has no hidden layer.
        """
        chunks = _chunks(samples)
        first = next(chunks)
        own, hints = (list(layer_outputs(network, first, averaged)) for network in (student, teacher))
        if not (own and hints):
            raise InputError(f"distillation method {self.name!r} compares hidden layers, but a network has none.")
        if teacher not in _chosen:
            outputs = (list(layer_outputs(teacher, chunk, averaged).values()) for chunk in chain([first], chunks))
            _chosen[teacher] = cluster_layers(1 - linear_cka(outputs))
        centres = _chosen[teacher]
        return [own[_same_depth(centre, len(hints), len(own))] for centre in centres], [hints[c] for c in centres]


_chosen: WeakKeyDictionary[nn.Module, tuple[int, ...]] = WeakKeyDictionary()
"""Hint layers by teacher: choosing them takes seconds, and a worker trains many students of one teacher."""


def _chunks(samples: Iterator[Tensor]) -> Iterator[Tensor]:
    chunks = (chunk for batch in samples for chunk in torch.split(batch, CHUNK))
    return islice(chunks, N_SAMPLES // CHUNK)


def _products(layers: Sequence[Tensor]) -> Tensor:
    n = len(layers[0])
    grams = torch.stack([_centred_gram(outputs).flatten() for outputs in layers])
    return grams @ grams.T / (n * (n - 3))


def _centred_gram(outputs: Tensor) -> Tensor:
    """Gram matrix of different samples, U-centred so that inner products of two such matrices are unbiased.

    float64, `chunk x chunk`; the diagonal is 0, and each row and column sums to 0 (Szekely and Rizzo 2014,
    https://arxiv.org/abs/1310.2926, definition 2).
    """
    n = len(outputs)
    outputs = outputs.double()
    outputs = outputs - outputs.mean(0)
    gram = (outputs @ outputs.T).fill_diagonal_(0)
    rows = gram.sum(0) / (n - 2)
    return (gram - rows - rows.unsqueeze(1) + rows.sum() / (n - 1)).fill_diagonal_(0)


def _equal_steps(n: int, k: int) -> tuple[int, ...]:
    return tuple(sorted({round(step * (n - 1) / max(1, k - 1)) for step in range(k)}))


def _middle(members: Sequence[int]) -> int:
    mean = sum(members) / len(members)
    return min(members, key=lambda layer: abs(layer - mean))


def _same_depth(index: int, n: int, of: int) -> int:
    """Index among `of` layers at the same relative depth as `index` among `n`."""
    return round(index / max(1, n - 1) * (of - 1))
