import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autokd.distillation.panels.weights import PanelWeights, panel_weights

LABELS = torch.arange(400) % 4


def noisy(noise: float, seed: int) -> Tensor:
    """Logits that are right but for noise."""
    return F.one_hot(LABELS, 4) + noise * torch.randn(400, 4, generator=torch.Generator().manual_seed(seed))


def found_on(seed: int) -> Tensor:
    """The samples on which weights are found."""
    return torch.from_numpy(np.random.default_rng(seed).permutation(400)[:200])


def objectives(weights: Tensor, logits: list[Tensor], where: Tensor) -> Tensor:
    """Objective of each row of weights on these samples."""
    q = torch.einsum("wk,knc->wnc", weights, torch.stack([z[where].double().softmax(1) for z in logits]))
    accuracy = (q.argmax(2) == LABELS[where]).double().mean(1)
    right = q[:, torch.arange(len(where)), LABELS[where]]
    return accuracy + 1e-3 * right.log().mean(1)


@pytest.mark.parametrize("n", [2, 3])
def test_no_point_of_a_fine_grid_is_better(n: int) -> None:
    logits = [noisy(noise, seed) for seed, noise in enumerate((0.9, 1.1, 1.3)[:n])]
    steps = torch.cartesian_prod(*[torch.arange(101)] * n)
    grid = steps[steps.sum(1) == 100].double() / 100
    found = torch.tensor([panel_weights(logits, LABELS, 3).de], dtype=torch.float64)
    assert objectives(found, logits, found_on(3)) > objectives(grid, logits, found_on(3)).max() - 1e-3


def test_a_perfect_network_has_nearly_all_the_weight() -> None:
    perfect = 30.0 * F.one_hot(LABELS, 4)
    weights = panel_weights([noisy(2.0, 0), perfect, noisy(2.0, 1)], LABELS, 2**63 - 1)
    assert weights.de[1] > 0.95
    assert weights.accuracy == 1.0
    assert weights.nll[1] == max(weights.nll)


@pytest.fixture(scope="module")
def unlike() -> tuple[list[Tensor], PanelWeights]:
    """Logits of a good and a bad network, and the weights of seed 5."""
    logits = [noisy(0.5, 0), noisy(2.0, 1)]
    return logits, panel_weights(logits, LABELS, 5)


def test_weights_add_to_one_and_follow_from_the_seed(unlike: tuple[list[Tensor], PanelWeights]) -> None:
    logits, found = unlike
    assert panel_weights(logits, LABELS, 5) == found
    assert (sum(found.de), sum(found.nll)) == pytest.approx((1.0, 1.0))


def test_by_likelihood_a_network_weighs_its_mean_probability_of_the_right_class(
    unlike: tuple[list[Tensor], PanelWeights],
) -> None:
    logits, found = unlike
    likelihoods = [np.exp(-F.cross_entropy(z[found_on(5)].double(), LABELS[found_on(5)]).item()) for z in logits]
    assert found.nll == pytest.approx([each / sum(likelihoods) for each in likelihoods])


def test_accuracies_are_of_the_other_half(unlike: tuple[list[Tensor], PanelWeights]) -> None:
    logits, found = unlike
    kept = torch.from_numpy(np.random.default_rng(5).permutation(400)[200:])
    mean = (logits[0][kept].double().softmax(1) + logits[1][kept].double().softmax(1)) / 2
    expected = (mean.argmax(1) == LABELS[kept]).double().mean().item()
    assert found.uniform_accuracy == pytest.approx(expected)
