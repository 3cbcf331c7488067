import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autokd.data.dataset import Dataset
from autokd.training.metrics import calibration_error, label_metrics, predict


def calibration_slowly(probabilities: Tensor, labels: Tensor, n_bins: int) -> float:
    """Sample by sample; bins are (low, high]."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(n_bins)]
    for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
        confidence = max(row)
        place = next(k for k in range(n_bins) if confidence <= (k + 1) / n_bins)
        bins[place].append((confidence, row.index(confidence) == label))
    total = 0.0
    for members in bins:
        if members:
            confidence = sum(c for c, _ in members) / len(members)
            accuracy = sum(right for _, right in members) / len(members)
            total += len(members) / len(labels) * abs(confidence - accuracy)
    return total


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(300, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3


@pytest.fixture
def labels() -> Tensor:
    return torch.randint(0, 5, (300,), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("n_bins", [1, 10, 15])
def test_calibration_error_equals_a_loop_over_samples(logits: Tensor, labels: Tensor, n_bins: int):
    probabilities = logits.softmax(1)
    expected = calibration_slowly(probabilities, labels, n_bins)
    assert calibration_error(probabilities, labels, n_bins) == pytest.approx(expected, abs=1e-12)


def test_calibration_error_of_certain_answers_is_their_error_rate():
    probabilities = torch.eye(4)
    assert calibration_error(probabilities, torch.arange(4)) == 0
    assert calibration_error(probabilities, torch.tensor([0, 1, 0, 0])) == 0.5


def test_calibration_error_of_uniform_answers_is_their_distance_from_chance():
    uniform = torch.full((8, 4), 0.25)
    balanced = torch.arange(8) % 4
    assert calibration_error(uniform, balanced) == 0
    assert calibration_error(uniform, torch.zeros(8).long()) == 0.75


def test_bins_of_confidence_are_closed_on_the_right():
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.4, 0.3, 0.3]])
    labels = torch.tensor([1, 0])  # sure of half and wrong, sure of 0.4 and right: in one bin they make up for it
    assert calibration_error(probabilities, labels, n_bins=4) == pytest.approx((0.5 - 0.6) / -2)


def test_accuracy_and_loss_are_numpys(logits: Tensor, labels: Tensor):
    metrics = label_metrics(logits, labels)
    z, y = logits.numpy(), labels.numpy()
    log_probabilities = z - np.log(np.exp(z).sum(1, keepdims=True))
    assert metrics["accuracy"] == (z.argmax(1) == y).mean()
    assert metrics["loss"] == pytest.approx(-log_probabilities[np.arange(300), y].mean(), rel=1e-6)


def test_uniform_logits_lose_the_log_of_the_classes():
    metrics = label_metrics(torch.zeros(9, 7), torch.zeros(9).long())
    assert metrics["loss"] == pytest.approx(math.log(7))
    assert metrics["accuracy"] == 1  # the first of equals


def test_metrics_are_plain_floats(logits: Tensor, labels: Tensor):
    assert {type(value) for value in label_metrics(logits.bfloat16(), labels).values()} == {float}


def test_predict_is_the_evaluation_mode_of_all_samples_in_order(dataset: Dataset):
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(36, 3)).train()
    found = predict(network, dataset.validation, dataset.normalisation, batch=4)
    whole = predict(network, dataset.validation, dataset.normalisation)
    assert found.shape == (21, 3)
    assert not network.training
    torch.testing.assert_close(found, whole)
