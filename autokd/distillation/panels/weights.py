"""Weights of a teacher and its assistants, found on validation samples, for `ensemble`.

w    weights, at least 0; they add to 1
p_k  probabilities of teacher k, softmax of its logits
q    sum_k w_k p_k
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import differential_evolution
from torch import Tensor

__all__ = ["PanelWeights", "panel_weights"]

_NLL_SHARE = 1e-3  # of the negative log-likelihood in the objective: it decides among equal accuracies
_SMALL = 1e-12  # probability below which a sample's likelihood does not fall


@dataclass(frozen=True)
class PanelWeights:
    """Weights of the teachers by each rule, and what they reach.

    Attributes:
        de: Those that differential evolution found.
        nll: Those that follow from the likelihoods.
        accuracy: Accuracy of `q` with `de`, on the half of the samples on which it was not found.
        uniform_accuracy: The same with equal weights.
    """

    de: tuple[float, ...]
    nll: tuple[float, ...]
    accuracy: float
    uniform_accuracy: float

    @property
    def by_rule(self) -> dict[str, tuple[float, ...]]:
        """The weights by the names that `Ensemble.weigh` wants."""
        return {"de": self.de, "nll": self.nll}


def panel_weights(logits: Sequence[Tensor], labels: Tensor, seed: int) -> PanelWeights:
    """Weights of about the largest `accuracy(q) - 0.001 NLL(q)` on half of the samples, and those by likelihood.

    arXiv 2206.12005 evolves the weights of assistants by their accuracy on validation samples. Objective, form `w = x /
    sum x` with x in `[0, 1]^K`, and settings are ours: strategy rand/1/bin of scipy with 15 vectors for each weight,
    mutation 0.5 to 1, recombination 0.7 and 100 generations. By likelihood a teacher weighs `exp(-NLL_k)`, its
    geometric mean probability of the right class, on the same half.

    Args:
        logits: Logits of each teacher, `n x classes`.
        labels: int64, `n`.
        seed: Seed of the half of the samples and of the evolution.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labels))
    probabilities = torch.stack([each.double().softmax(1) for each in logits]).cpu().numpy()
    right = labels.cpu().numpy()
    found, kept = (
        _Samples(probabilities[:, half], right[half]) for half in (order[: len(order) // 2], order[len(order) // 2 :])
    )
    uniform = np.full(len(logits), 1 / len(logits))
    evolved = differential_evolution(
        lambda x: -found.objective(_normalised(x)),
        [(0.0, 1.0)] * len(logits),
        strategy="rand1bin",
        maxiter=100,
        popsize=15,
        mutation=(0.5, 1.0),
        recombination=0.7,
        tol=0.0,  # accuracies on a plateau are equal long before the best plateau is found
        seed=generator,
        polish=False,
    )
    best = _normalised(evolved.x)
    likelihoods = np.exp([-found.nll(weights) for weights in np.eye(len(logits))])
    return PanelWeights(
        tuple(best.tolist()),
        tuple((likelihoods / likelihoods.sum()).tolist()),
        kept.accuracy(best),
        kept.accuracy(uniform),
    )


class _Samples:
    """Probabilities of the teachers for some samples, `teachers x n x classes`, with the labels."""

    def __init__(self, probabilities: np.ndarray, labels: np.ndarray) -> None:
        self._probabilities, self._labels = probabilities, labels

    def objective(self, weights: np.ndarray) -> float:
        return self.accuracy(weights) - _NLL_SHARE * self.nll(weights)

    def accuracy(self, weights: np.ndarray) -> float:
        return float((self._mean(weights).argmax(1) == self._labels).mean())

    def nll(self, weights: np.ndarray) -> float:
        right = self._mean(weights)[np.arange(len(self._labels)), self._labels]
        return float(-np.log(np.maximum(right, _SMALL)).mean())

    def _mean(self, weights: np.ndarray) -> np.ndarray:
        return np.tensordot(weights, self._probabilities, 1)


def _normalised(x: np.ndarray) -> np.ndarray:
    """Weights that add to 1; equal ones if all are 0."""
    return x / x.sum() if x.any() else np.full(len(x), 1 / len(x))
