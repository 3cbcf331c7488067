"""Contrastive representation distillation (Tian et al. 2020, https://arxiv.org/abs/1910.10699).

n                 training samples
K                 negatives for each sample of the batch: samples of other classes, or any others
v          128    projected embedding of a sample by one network, a unit vector
M_S, M_T   n x 128  memories of the student's and the teacher's last v of each sample
t                 temperature
Z                 normalisation
o_j               exp(<M[j], v> / t) / Z, with M the other network's memory: score of sample j being that of v
"""

import math

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from torch import Tensor, nn
from torch.nn import functional as F

from autokd.distillation.base import BatchContext, Method, Outputs
from autokd.distillation.checks import non_negative, one_of, positive, whole
from autokd.distillation.maps import embeddings, unit
from autokd.errors import InputError

__all__ = ["CRD", "contrastive_loss", "log_partition", "remembered", "similarities"]

WIDTH = 128  # of the vectors that are compared
MOMENTUM = 0.5  # weight of a memory's old content
MODES = ("class", "any")

_DRAWN_BELOW = 2**62  # far larger than any number of samples, so that remainders are uniform


def similarities(anchors: Tensor, memory: Tensor, chosen: Tensor, temperature: float) -> Tensor:
    """`<M[j], v> / t` of each anchor v and its chosen samples j, `batch x (1 + K)`.

    All n products are computed and K + 1 of them are kept. On a CPU this is many times faster than gathering
    `batch x K` rows, unless n is about 50 times K.

    Args:
        anchors: v, `batch x width`.
        memory: M, `n x width`.
        chosen: Indices j, int64, `batch x (1 + K)`, in `[0, n)`.
        temperature: t, positive.
    """
    return (anchors @ memory.T).gather(1, chosen) / temperature


def log_partition(scores: Tensor, n: int) -> Tensor:
    """`log Z`, a scalar such that the mean of all o is `1 / n`; no gradient flows through it.

    The paper does not specify Z. The authors' code (crd/memory.py of github.com/HobbitLong/RepDistiller) estimates it
    in this way on the first batch and keeps it.

    Args:
        scores: `similarities` of a batch.
        n: Number of training samples.
    """
    return torch.logsumexp(scores.detach().flatten(), 0) + math.log(n / scores.numel())


def contrastive_loss(log_o: Tensor, n: int) -> Tensor:
    """`-log(o_0 / (o_0 + K/n)) - sum_k log((K/n) / (o_k + K/n))`, in nats, averaged over the batch.

    Tian et al. 2020, section 3.1: the objective of the critic `h = o / (o + K/n)`, which distinguishes the sample
    itself, at index 0, from K noise samples. It is computed as a logistic regression on `log o - log(K/n)`, so the
    1e-7 in the denominators of the authors' code is not needed.

    Args:
        log_o: Logarithms of o, `batch x (1 + K)`, K at least 1.
        n: Number of training samples.
    """
    odds = log_o - math.log((log_o.shape[1] - 1) / n)
    return (F.softplus(-odds[:, 0]) + F.softplus(odds[:, 1:]).sum(1)).mean()


def remembered(memory: Tensor, indices: Tensor, vectors: Tensor) -> Tensor:
    """Updated copy of a memory, with rows `l2norm((M[i] + v) / 2)` at `indices`.

    The given memory is not modified, since the backward pass needs it.

    Args:
        memory: M, `n x width`.
        indices: Indices of the samples, int64, `batch`, all different.
        vectors: v, `batch x width`; no gradient flows through them.
    """
    mixed = MOMENTUM * memory[indices] + (1 - MOMENTUM) * vectors.detach()
    return memory.index_copy(0, indices, unit(mixed))


class CRD(Method):
    """`CE + weight (h_S + h_T)`, where h is the contrastive loss of one network's vectors with the other's memory.

    Both networks' embeddings pass through a trained linear layer of width 128. Negatives are drawn for each sample of
    each batch, uniformly and with replacement, as the derivation requires; the authors' code draws without replacement
    if possible. K is at most the number of samples outside the largest class, or of all others, if that is less than
    `negatives`. The class of a mixed sample is the one of larger weight [ours].

    The paper's ensemble of several teachers is not here: assistants give logits only, so this learns from the teacher.

    A step takes `512 x batch x n` multiplications including the backward pass, and the memories hold `256 n` numbers.
    Many negatives about double the cost.

    Args:
        weight: At least 0; 0.8 in the authors' code. All ranges are ours.
        temperature: t, positive; 0.07 in the authors' code.
        negatives: K, at least 1; 16384 in the paper.
        mode: "class" for negatives of other classes; "any" for any other samples, whatever their labels, as for the
            paper's transfer between modalities (section 3.2).
    """

    name = "crd"
    needs = frozenset({"embedding"})
    remembers_samples = True

    student_memory: Tensor
    teacher_memory: Tensor
    log_z: Tensor  # of h_S and h_T; inf until it is estimated
    _sorted: Tensor  # samples sorted by class; class c has `_sizes[c]` samples, the first at `_starts[c]`
    _starts: Tensor
    _sizes: Tensor

    def __init__(
        self, weight: float = 0.8, temperature: float = 0.07, negatives: int = 16384, mode: str = "class"
    ) -> None:
        super().__init__()
        self.weight = non_negative(weight=weight)
        self.temperature = positive(temperature=temperature)
        self.negatives = whole(1, negatives=negatives)
        self.mode = one_of(MODES, mode=mode)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of weight, temperature, number and kind of negatives."""
        return {
            "weight": FloatDistribution(0.08, 8.0, log=True),
            "temperature": FloatDistribution(0.02, 0.5, log=True),
            "negatives": IntDistribution(64, 16384, log=True),
            "mode": CategoricalDistribution(MODES),
        }

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Create heads and memories, and sort the samples by class.

        Raises:
            InputError: If a network has no embedding, or there are no negatives.
        """
        device = student.logits.device
        widths = [embedding.shape[1] for embedding in embeddings(student, teacher)]
        self.student_head, self.teacher_head = (nn.Linear(width, WIDTH).to(device) for width in widths)
        bound = math.sqrt(3 / WIDTH)  # so that rows have a mean squared norm of 1
        for name in ("student_memory", "teacher_memory"):
            self.register_buffer(name, torch.empty(len(labels), WIDTH).uniform_(-bound, bound).to(device))
        self.register_buffer("log_z", torch.full((2,), math.inf, device=device))
        self._sort(labels.to(device))

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """`weight (h_S + h_T)`; afterwards both memories are updated with the vectors of the batch."""
        own, other = embeddings(student, teacher)
        student_vectors, teacher_vectors = unit(self.student_head(own)), unit(self.teacher_head(other.detach()))
        chosen = torch.cat([context.indices.unsqueeze(1), self.draw_negatives(context)], 1)
        h_student = self._contrast(0, student_vectors, self.teacher_memory, chosen)
        h_teacher = self._contrast(1, teacher_vectors, self.student_memory, chosen)
        self.student_memory = remembered(self.student_memory, context.indices, student_vectors)
        self.teacher_memory = remembered(self.teacher_memory, context.indices, teacher_vectors)
        return self.weight * (h_student + h_teacher)

    def draw_negatives(self, context: BatchContext) -> Tensor:
        """Indices of negatives for the samples of a batch, int64, `batch x K`."""
        labels, indices = context.labels, context.indices.unsqueeze(1)
        drawn = torch.randint(_DRAWN_BELOW, (len(labels), self._n_negatives), device=labels.device)
        if self.mode == "any":
            places = drawn % (len(self._sorted) - 1)
            return torch.where(places < indices, places, places + 1)
        starts, sizes = self._starts[labels].unsqueeze(1), self._sizes[labels].unsqueeze(1)
        places = drawn % (len(self._sorted) - sizes)
        return self._sorted[torch.where(places < starts, places, places + sizes)]

    def _sort(self, labels: Tensor) -> None:
        sizes = labels.bincount()
        self.register_buffer("_sorted", labels.argsort(stable=True), persistent=False)
        self.register_buffer("_starts", sizes.cumsum(0) - sizes, persistent=False)
        self.register_buffer("_sizes", sizes, persistent=False)
        n_alike = 1 if self.mode == "any" else int(sizes.max())
        self._n_negatives = min(self.negatives, len(labels) - n_alike)
        if self._n_negatives == 0:
            wanted = "several samples" if self.mode == "any" else "samples of several classes, but all are of one class"
            raise InputError(f"distillation method 'crd' needs {wanted}.")

    def _contrast(self, side: int, anchors: Tensor, memory: Tensor, chosen: Tensor) -> Tensor:
        scores = similarities(anchors, memory, chosen, self.temperature)
        fixed = self.log_z[side]
        log_z = torch.where(fixed.isinf(), log_partition(scores, len(memory)), fixed)
        fixed.copy_(log_z)
        return contrastive_loss(scores - log_z, len(memory))
