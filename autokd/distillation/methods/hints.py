"""Hints at the layers that stand for all others (Keser et al. 2021, https://arxiv.org/abs/2103.00053)."""

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
CHUNK = 32  # samples at a time, since all layers' outputs of these are in memory at once

_LEAST = 4  # samples of which the estimate of the similarity is defined


def linear_cka(chunks: Iterable[Sequence[Tensor]]) -> Tensor:
    """Similarity of each layer to each, float64, `L x L`: 1 for itself, about 0 for unrelated ones, at most 1.

    Linear centred kernel alignment (Kornblith et al. 2019, https://arxiv.org/abs/1905.00414), by the estimate from
    chunks of samples that has no bias towards wide layers (Nguyen, Raghu and Kornblith 2021,
    https://arxiv.org/abs/2010.15327; chance may take it below 0). Neither a shift nor a rotation nor a scale of a
    layer's outputs changes it. A layer that says the same of all samples is like none.

    Args:
        chunks: Outputs of the L layers for some samples, `chunk x` their width; of less than four they are passed over.

    Raises:
        InputError: If no chunk has four samples.
    """
    of_chunks = [_products(layers) for layers in chunks if len(layers[0]) >= _LEAST]
    if not of_chunks:
        raise InputError(f"similarities of layers take batches of at least {_LEAST} samples.")
    products = torch.stack(of_chunks).sum(0)
    lengths = products.diagonal().sqrt()
    similarities = products / torch.outer(lengths, lengths)
    return similarities.nan_to_num(0, 0, 0).fill_diagonal_(1)


def cluster_layers(distances: Tensor, k: int = N_HINTS) -> tuple[int, ...]:
    """Indices of the layers that stand for the others, ascending, at most `k`.

    Keser et al. 2021: k-means over layers, from centres at equal steps from the first layer to the last. Each layer
    goes to the nearest centre (of two alike, the earlier), and the new centre of a cluster is the member whose index is
    nearest to the members' mean (again the earlier), until a set of centres comes again.

    Args:
        distances: Between layers, `L x L`, with zeros on the diagonal.
        k: Number of clusters; there are fewer where layers do not differ, or are not so many.
    """
    centres, seen = _equal_steps(len(distances), k), set[tuple[int, ...]]()
    while centres not in seen:
        seen.add(centres)
        nearest = distances[:, list(centres)].argmin(1).tolist()
        clusters = [[layer for layer, own in enumerate(nearest) if own == c] for c in range(len(centres))]
        centres = tuple(sorted(_middle(members) for members in clusters if members))
    return centres


class ClusteredHints(FitNet):
    """`CE + weight sum MSE(r(f_S), f_T)` at three layers of the teacher, each of which stands for a cluster of layers.

    Layers are alike as 1 - linear CKA of their outputs, averaged over space, has it. The student's layer for a hint is
    the one at the same relative depth, which is our reading. The loss at each is FitNet's: the paper tries several.
    Unlike the paper, which looks at 10,000 training samples, this looks at the first 2048 that it is shown, once for
    each teacher; they must not be sorted by class.

    Args:
        weight: Of the hints, not negative; default and range are those of FitNet.
    """

    name = "clustered-hints"
    chooses_layers = True

    def __init__(self, weight: float = 100.0) -> None:
        super().__init__(weight, stages="all")

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Weight."""
        return {"weight": FloatDistribution(1.0, 1000.0, log=True)}

    def layers(
        self, student: nn.Module, teacher: nn.Module, samples: Iterator[Tensor]
    ) -> tuple[Sequence[str], Sequence[str]]:
        """The teacher's layers that stand for the others, and the student's at the same relative depths.

        Raises:
            InputError: If a network has no layer that could give or take a hint.
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
"""The hint layers of teachers: looking for them takes seconds, and a worker trains many students of one teacher."""


def _chunks(samples: Iterator[Tensor]) -> Iterator[Tensor]:
    chunks = (chunk for batch in samples for chunk in torch.split(batch, CHUNK))
    return islice(chunks, N_SAMPLES // CHUNK)


def _products(layers: Sequence[Tensor]) -> Tensor:
    n = len(layers[0])
    grams = torch.stack([_centred_gram(outputs).flatten() for outputs in layers])
    return grams @ grams.T / (n * (n - 3))


def _centred_gram(outputs: Tensor) -> Tensor:
    """Inner products of different samples, centred so that sums of products of two such matrices have no bias.

    `chunk x chunk`, float64; rows, columns and the diagonal are 0 in sum (Szekely and Rizzo 2014,
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
    """The place among `of` that is as far from first and last as `index` among `n`."""
    return round(index / max(1, n - 1) * (of - 1))
