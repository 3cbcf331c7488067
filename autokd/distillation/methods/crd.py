"""Contrastive representation distillation (Tian et al. 2020, https://arxiv.org/abs/1910.10699).

Symbols: n training samples; for each of the batch K negatives, samples of other classes. `M_S`, `M_T`, `n x 128`, are
memories of what student and teacher last said of every sample; v is what one of them says now, a unit vector. With M
the other network's memory and j a sample, `o_j = exp(<M[j], v> / t) / Z` tells how likely j is the sample of v.
"""

import math

import torch
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from torch import Tensor, nn
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, Method, Outputs
from autokd.distillation.checks import non_negative, positive
from autokd.distillation.maps import embeddings, unit
from autokd.errors import InputError

__all__ = ["CRD", "contrastive_loss", "log_partition", "remembered", "similarities"]

WIDTH = 128  # of the vectors that are compared
MOMENTUM = 0.5  # what a memory keeps of its old content

_DRAWN_BELOW = 2**62  # far more than any number of samples, so that remainders are uniform


def similarities(anchors: Tensor, memory: Tensor, chosen: Tensor, temperature: float) -> Tensor:
    """`<M[j], v> / t` of each anchor v with its chosen samples j, `batch x (1 + K)`.

    All n products are computed and K of them kept: on a CPU that is many times faster than to gather `batch x K` rows,
    unless n is some 50 times K.

    Args:
        anchors: v, `batch x width`.
        memory: M, `n x width`.
        chosen: int64, `batch x (1 + K)`, in `[0, n)`.
        temperature: t, positive.
    """
    return (anchors @ memory.T).gather(1, chosen) / temperature


def log_partition(scores: Tensor, n: int) -> Tensor:
    """`log Z`, a scalar that makes the mean of all o equal to `1 / n`; no gradient flows through it.

    The paper does not speak of Z; its authors' code (crd/memory.py of github.com/HobbitLong/RepDistiller) estimates it
    so on the first batch and keeps it.

    Args:
        scores: `similarities` of a batch.
        n: Number of training samples.
    """
    return torch.logsumexp(scores.detach().flatten(), 0) + math.log(n / scores.numel())


def contrastive_loss(log_o: Tensor, n: int) -> Tensor:
    """`-log(o_0 / (o_0 + K/n)) - sum_k log((K/n) / (o_k + K/n))`, in nats, the mean over the batch.

    Tian et al. 2020, section 3.1, the objective of the critic `h = o / (o + K/n)`: how well the sample itself, of index
    0, is told from K samples of noise. It is a logistic regression on `log o - log(K/n)`, and computed as one, without
    the authors' code's 1e-7 under the fractions.

    Args:
        log_o: `batch x (1 + K)`, K at least 1.
        n: Number of training samples.
    """
    odds = log_o - math.log((log_o.shape[1] - 1) / n)
    return (F.softplus(-odds[:, 0]) + F.softplus(odds[:, 1:]).sum(1)).mean()


def remembered(memory: Tensor, indices: Tensor, vectors: Tensor) -> Tensor:
    """A memory whose rows at `indices` are `l2norm((M[i] + v) / 2)`; the one given is left to the backward pass.

    Args:
        memory: M, `n x width`.
        indices: int64, `batch`, all different.
        vectors: v, `batch x width`; no gradient flows through them.
    """
    mixed = MOMENTUM * memory[indices] + (1 - MOMENTUM) * vectors.detach()
    return memory.index_copy(0, indices, unit(mixed))


class CRD(Method):
    """`CE + weight (h_S + h_T)`, each the contrastive loss of one network's vectors with the other's memory.

    Both networks' embeddings go through a trained linear layer of width 128. Negatives are drawn anew for each sample
    of a batch, uniformly and with replacement, which is the noise that the derivation asks for; the authors' code
    draws without where it can. No more are drawn than every class has samples outside of it: K of small data is the
    number of samples that are not of the largest class, if that is below `negatives`. The class of a mixed sample is
    the one with most weight [ours].

    A step takes `512 x batch x n` multiplications, with the backward pass, and `256 n` numbers are remembered; many
    negatives cost about as much again.

    Args:
        weight: Not negative; 0.8 is the authors' code's. All ranges are ours.
        temperature: t, positive; 0.07 is the authors' code's.
        negatives: K, at least 1; 16384 is the paper's.
    """

    name = "crd"
    needs = frozenset({"embedding"})

    student_memory: Tensor
    teacher_memory: Tensor
    log_z: Tensor  # of h_S and h_T; inf means not yet
    _sorted: Tensor  # the samples by class, of which class c has `_sizes[c]` from `_starts[c]` on
    _starts: Tensor
    _sizes: Tensor

    def __init__(self, weight: float = 0.8, temperature: float = 0.07, negatives: int = 16384) -> None:
        super().__init__()
        self.weight = non_negative(weight=weight)
        self.temperature = positive(temperature=temperature)
        if not (negatives >= 1 and float(negatives).is_integer()):
            raise InputError(f"`negatives` must be a whole number of at least 1, but got {negatives=}.")
        self.negatives = int(negatives)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Weight, temperature and number of negatives."""
        return {
            "weight": FloatDistribution(0.08, 8.0, log=True),
            "temperature": FloatDistribution(0.02, 0.5, log=True),
            "negatives": IntDistribution(64, 16384, log=True),
        }

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Make heads and memories, and sort the samples by class.

        Raises:
            InputError: If a network gives no embedding, or all samples are of one class.
        """
        device = student.logits.device
        widths = [embedding.shape[1] for embedding in embeddings(student, teacher)]
        self.student_head, self.teacher_head = (nn.Linear(width, WIDTH).to(device) for width in widths)
        bound = math.sqrt(3 / WIDTH)  # rows of length 1 on average
        for name in ("student_memory", "teacher_memory"):
            self.register_buffer(name, torch.empty(len(labels), WIDTH).uniform_(-bound, bound).to(device))
        self.register_buffer("log_z", torch.full((2,), math.inf, device=device))
        self._sort(labels.to(device))

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """`weight (h_S + h_T)`; then both networks' vectors of the batch are remembered."""
        own, other = embeddings(student, teacher)
        student_vectors, teacher_vectors = unit(self.student_head(own)), unit(self.teacher_head(other.detach()))
        chosen = torch.cat([context.indices.unsqueeze(1), self.draw_negatives(context.labels)], 1)
        h_student = self._contrast(0, student_vectors, self.teacher_memory, chosen)
        h_teacher = self._contrast(1, teacher_vectors, self.student_memory, chosen)
        self.student_memory = remembered(self.student_memory, context.indices, student_vectors)
        self.teacher_memory = remembered(self.teacher_memory, context.indices, teacher_vectors)
        return self.weight * (h_student + h_teacher)

    def draw_negatives(self, labels: Tensor) -> Tensor:
        """Samples of other classes, int64, `batch x K`, for samples with these labels, int64, `batch`."""
        starts, sizes = self._starts[labels].unsqueeze(1), self._sizes[labels].unsqueeze(1)
        drawn = torch.randint(_DRAWN_BELOW, (len(labels), self._n_negatives), device=labels.device)
        places = drawn % (len(self._sorted) - sizes)
        return self._sorted[torch.where(places < starts, places, places + sizes)]

    def _sort(self, labels: Tensor) -> None:
        sizes = labels.bincount()
        self.register_buffer("_sorted", labels.argsort(stable=True), persistent=False)
        self.register_buffer("_starts", sizes.cumsum(0) - sizes, persistent=False)
        self.register_buffer("_sizes", sizes, persistent=False)
        self._n_negatives = min(self.negatives, len(labels) - int(sizes.max()))
        if self._n_negatives == 0:
            raise InputError("distillation method 'crd' contrasts samples of several classes, but all are of one.")

    def _contrast(self, side: int, anchors: Tensor, memory: Tensor, chosen: Tensor) -> Tensor:
        scores = similarities(anchors, memory, chosen, self.temperature)
        fixed = self.log_z[side]
        log_z = torch.where(fixed.isinf(), log_partition(scores, len(memory)), fixed)
        fixed.copy_(log_z)
        return contrastive_loss(scores - log_z, len(memory))
