"""Hints at representative layers, found by clustering (Keser et al. 2021, https://arxiv.org/abs/2103.00053)."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from weakref import WeakKeyDictionary

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from torch import Tensor, nn

from autokd.distillation.base import BatchContext, Method, Outputs, Wrapper
from autokd.distillation.checks import non_negative, one_of, whole
from autokd.distillation.layer_similarity import METRICS
from autokd.distillation.layers import averaged, layer_outputs
from autokd.distillation.methods.fitnet import FitNet
from autokd.errors import InputError

__all__ = ["ClusteredHints", "cluster_layers"]

CHUNK = 32  # samples at a time, since the outputs of all layers are in memory at once


def cluster_layers(distances: Tensor, k: int) -> tuple[int, ...]:
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


class ClusteredHints(Wrapper):
    """A loss of feature maps at some layers of the teacher, each the centre of a cluster of layers.

    The loss is that of the inner method, as in `clustered-hints+at`; alone it is FitNet's at all hints,
    `CE + weight sum MSE(r(f_S), f_T)`. The distance of two layers is 1 minus the similarity of their outputs, averaged
    over positions. The student's layer for a hint is the one at the same relative depth, which is our interpretation.
    The samples for the clustering are the first of the training stream, which must not be sorted by class; a process
    looks at them once for each teacher.

    Args:
        inner: A method that compares feature maps.
        weight: Weight of FitNet's loss, at least 0; default and range are those of FitNet. Without effect if there is
            an inner method.
        metric: Similarity of layers: "cca" as in the paper, "cka" or "rbf", see `METRICS`. The default "cka" is ours:
            it needs the least memory and the fewest samples.
        hints: Number of clusters, at least 1; 3 in the paper.
        samples: Samples for the clustering, at least 32; 10,000 in the paper. "rbf" uses 1,000 of them.

    Raises:
        InputError: If a hyper-parameter is out of range, or the inner method does not compare feature maps, or those of
            a copy of the teacher.
    """

    name = "clustered-hints"
    needs = frozenset({"features"})
    inner_is_optional = True
    alone_only = frozenset({"weight"})
    inner_needs = frozenset({"features"})

    def __init__(
        self,
        inner: Method | None = None,
        weight: float = 100.0,
        metric: str = "cka",
        hints: int = 3,
        samples: int = 10_000,
    ) -> None:
        if inner is not None and not self.inner_needs <= inner.needs:
            raise InputError(
                f"distillation method {self.name!r} wraps one that compares feature maps, but {inner.name!r} does not."
            )
        if inner is not None and inner.copies_teacher:
            raise InputError(
                f"distillation method {self.name!r} chooses layers of student and teacher, not those of the teacher's "
                f"copy that {inner.name!r} compares."
            )
        weight = non_negative(weight=weight)
        super().__init__(FitNet(weight, stages="all") if inner is None else inner)
        self.chooses_layers = True
        self.metric = one_of(tuple(METRICS), metric=metric)
        self.hints, self.samples = whole(1, hints=hints), whole(CHUNK, samples=samples)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of the weight and of what decides the clusters."""
        return {
            "weight": FloatDistribution(1.0, 1000.0, log=True),
            "metric": CategoricalDistribution(tuple(METRICS)),
            "hints": IntDistribution(2, 5),
            "samples": IntDistribution(1000, 10_000, log=True),
        }

    def layers(
        self, student: nn.Module, teacher: nn.Module, samples: Iterator[Tensor]
    ) -> tuple[Sequence[str], Sequence[str]]:
        """The student's layers at the relative depths of the teacher's representative layers, and the latter.

        Raises:
            InputError: If a network has no hidden layer.
        """
        chunks = self._chunks(samples)
        first = next(chunks)
        own, hints = (list(layer_outputs(network, first, averaged)) for network in (student, teacher))
        if not (own and hints):
            raise InputError(f"distillation method {self.name!r} compares hidden layers, but a network has none.")
        centres = self.centres(len(hints), teacher, chain([first], chunks))
        return [own[_same_depth(centre, len(hints), len(own))] for centre in centres], [hints[c] for c in centres]

    def centres(self, n: int, teacher: nn.Module, chunks: Iterator[Tensor]) -> Sequence[int]:
        """Indices of the representative ones of the teacher's n layers, ascending.

        Args:
            n: Number of layers.
            teacher: The teacher.
            chunks: Chunks of samples, as inputs of the teacher.
        """
        known, first = _similarities.setdefault(teacher, {}), next(chunks)
        key = self.metric, self.samples, hashlib.sha256(first.cpu().contiguous().numpy().data).hexdigest()
        if key not in known:
            outputs = (list(layer_outputs(teacher, each, averaged).values()) for each in chain([first], chunks))
            known[key] = METRICS[self.metric](outputs)
        return cluster_layers(1 - known[key], self.hints)

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """Loss of the inner method."""
        return self.inner.teacher_loss(student, teacher, context)

    def _chunks(self, samples: Iterator[Tensor]) -> Iterator[Tensor]:
        return islice(_in_chunks(samples), self.samples // CHUNK)


def _in_chunks(batches: Iterator[Tensor]) -> Iterator[Tensor]:
    """Chunks of `CHUNK` samples, whatever the batches have; what is left over only if that is all there is."""
    left, is_first = None, True
    for batch in batches:
        left = batch if left is None else torch.cat([left, batch])
        while len(left) >= CHUNK:
            yield left[:CHUNK]
            left, is_first = left[CHUNK:], False
    if is_first and left is not None:
        yield left


_similarities: WeakKeyDictionary[nn.Module, dict[tuple[str, int, str], Tensor]] = WeakKeyDictionary()
"""Similarities of layers by teacher, by metric, number of samples and digest of the first ones.

They take seconds, and a worker trains many students of one teacher.
"""


def _equal_steps(n: int, k: int) -> tuple[int, ...]:
    return tuple(sorted({round(step * (n - 1) / max(1, k - 1)) for step in range(k)}))


def _middle(members: Sequence[int]) -> int:
    mean = sum(members) / len(members)
    return min(members, key=lambda layer: abs(layer - mean))


def _same_depth(index: int, n: int, of: int) -> int:
    """Index among `of` layers at the same relative depth as `index` among `n`."""
    return round(index / max(1, n - 1) * (of - 1))
