import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autokd.data.dataset import Dataset
from autokd.training.metrics import (
    COLDEST,
    HOTTEST,
    calibration_error,
    label_metrics,
    predict,
    scaling_temperature,
    teacher_metrics,
    validation_metrics,
)


def calibration_slowly(probabilities: Tensor, labels: Tensor, n_bins: int) -> float:
    """Expected calibration error, sample by sample; bins are (low, high]."""
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
def test_calibration_error_equals_a_loop_over_samples(logits: Tensor, labels: Tensor, n_bins: int) -> None:
    probabilities = logits.softmax(1)
    expected = calibration_slowly(probabilities, labels, n_bins)
    assert calibration_error(probabilities, labels, n_bins) == pytest.approx(expected, abs=1e-12)


def test_calibration_error_of_certain_predictions_is_their_error_rate() -> None:
    probabilities = torch.eye(4)
    assert calibration_error(probabilities, torch.arange(4)) == 0
    assert calibration_error(probabilities, torch.tensor([0, 1, 0, 0])) == 0.5


def test_calibration_error_of_uniform_predictions_is_their_distance_from_chance() -> None:
    uniform = torch.full((8, 4), 0.25)
    balanced = torch.arange(8) % 4
    assert calibration_error(uniform, balanced) == 0
    assert calibration_error(uniform, torch.zeros(8).long()) == 0.75


def test_bins_of_confidence_are_closed_on_the_right() -> None:
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.4, 0.3, 0.3]])
    labels = torch.tensor(
        [1, 0]
    )  # wrong with confidence 0.5, correct with 0.4: in the same bin, their gaps nearly cancel
    assert calibration_error(probabilities, labels, n_bins=4) == pytest.approx((0.5 - 0.6) / -2)


def test_accuracy_and_loss_are_numpys(logits: Tensor, labels: Tensor) -> None:
    metrics = label_metrics(logits, labels)
    z, y = logits.numpy(), labels.numpy()
    log_probabilities = z - np.log(np.exp(z).sum(1, keepdims=True))
    assert metrics["accuracy"] == (z.argmax(1) == y).mean()
    assert metrics["loss"] == pytest.approx(-log_probabilities[np.arange(300), y].mean(), rel=1e-6)


def test_the_loss_of_uniform_logits_is_the_log_of_the_classes() -> None:
    metrics = label_metrics(torch.zeros(9, 7), torch.zeros(9).long())
    assert metrics["loss"] == pytest.approx(math.log(7))
    assert metrics["accuracy"] == 1  # the first of equals


def test_metrics_are_plain_floats(logits: Tensor, labels: Tensor) -> None:
    metrics = validation_metrics(logits.bfloat16(), labels) | teacher_metrics(logits.bfloat16(), logits)
    assert set(metrics) == {
        *("accuracy", "balanced_accuracy", "macro_f1", "auroc", "absent_classes"),
        *("loss", "ece", "ece_scaled", "scaling_temperature", "agreement", "teacher_kl"),
    }
    assert {type(value) for value in metrics.values()} == {float}


def loss_at(logits: Tensor, labels: Tensor, temperature: float) -> float:
    """Mean negative log-likelihood of the scaled logits, sample by sample."""
    total = 0.0
    for row, label in zip((logits.double() / temperature).tolist(), labels.tolist(), strict=True):
        top = max(row)
        total += top + math.log(sum(math.exp(z - top) for z in row)) - row[label]
    return total / len(labels)


def scaled_sample(n: int, confidence_factor: float, seed: int) -> tuple[Tensor, Tensor]:
    """Logits times a factor, and labels drawn from the probabilities of the unscaled logits."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, 4, generator=generator, dtype=torch.float64) * 2
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    return logits * confidence_factor, labels


@pytest.mark.parametrize("confidence_factor", [0.05, 1.0, 3.0, 200.0])
def test_no_temperature_has_a_smaller_loss_than_the_fitted_one(confidence_factor: float) -> None:
    logits, labels = scaled_sample(400, confidence_factor, seed=2)
    found = scaling_temperature(logits, labels)
    grid = np.geomspace(COLDEST, HOTTEST, 4001)
    losses = [float(F.cross_entropy(logits / t, labels)) for t in grid]
    assert found == pytest.approx(grid[int(np.argmin(losses))], rel=0.003)  # the grid's step
    assert loss_at(logits, labels, found) <= min(losses) + 1e-12


def test_the_temperature_of_two_classes_has_the_odds_of_being_right() -> None:
    logits = torch.tensor([[2.0, 0.0]] * 10)
    labels = torch.tensor([0] * 9 + [1])
    # sigmoid(2 / t) is the share of correct predictions
    assert scaling_temperature(logits, labels) == pytest.approx(2 / math.log(9), rel=1e-9)


def test_the_temperature_undoes_a_factor_of_the_logits(logits: Tensor) -> None:
    labels = torch.multinomial(logits.softmax(1), 1, generator=torch.Generator().manual_seed(3))[:, 0]
    plain = scaling_temperature(logits, labels)
    assert scaling_temperature(logits * 7 + 5, labels) == pytest.approx(7 * plain, rel=1e-9)


def test_if_all_predictions_are_correct_the_temperature_is_the_lowest() -> None:
    labels = torch.arange(6) % 3
    right = F.one_hot(labels, 3).double()
    assert scaling_temperature(right * 1e-3, labels) == COLDEST
    assert scaling_temperature(right * 1e4, labels) == COLDEST


def test_if_predictions_are_worse_than_chance_the_temperature_is_the_highest() -> None:
    labels = torch.arange(6) % 3
    wrong = -F.one_hot(labels, 3).double()
    assert scaling_temperature(wrong, labels) == HOTTEST
    assert scaling_temperature(wrong * 1e4, labels) == HOTTEST


@pytest.mark.parametrize("level", [0.0, -1e4, 1e4])
def test_if_all_logits_are_equal_the_temperature_is_one(level: float) -> None:
    assert scaling_temperature(torch.full((5, 3), level), torch.tensor([0, 1, 2, 0, 0])) == 1


def test_a_constant_prediction_is_scaled_to_the_share_of_its_class() -> None:
    logits = torch.tensor([[3.0, 0.0, 0.0]]).expand(10, 3)
    labels = torch.tensor([0] * 8 + [1, 2])
    temperature = scaling_temperature(logits, labels)
    assert (logits[0] / temperature).softmax(0).tolist() == pytest.approx([0.8, 0.1, 0.1])
    assert scaling_temperature(logits, torch.tensor([0] * 2 + [1, 2] * 4)) == HOTTEST


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_temperature_of_one_sample_and_of_huge_logits_is_finite(dtype: torch.dtype) -> None:
    huge = torch.tensor([[1e4, -1e4, 0.0]], dtype=dtype)
    for label in range(3):
        assert COLDEST <= scaling_temperature(huge, torch.tensor([label])) <= HOTTEST
    many = huge.repeat(3, 1)
    assert math.isfinite(scaling_temperature(many, torch.arange(3)))


def test_scaling_calibrates_overconfident_predictions() -> None:
    logits, labels = scaled_sample(4000, confidence_factor=4.0, seed=4)
    metrics = validation_metrics(logits, labels)
    assert metrics["scaling_temperature"] == pytest.approx(4, rel=0.1)
    assert metrics["ece"] > 0.2
    assert metrics["ece_scaled"] < 0.03
    fresh = label_metrics(
        *scaled_sample(4000, confidence_factor=4.0, seed=5), temperature=metrics["scaling_temperature"]
    )
    assert fresh["ece_scaled"] < 0.03


def test_scaled_calibration_is_that_of_the_divided_logits_and_does_not_affect_other_metrics(
    logits: Tensor, labels: Tensor
) -> None:
    metrics = label_metrics(logits, labels, temperature=2.5)
    expected = calibration_slowly((logits / 2.5).softmax(1), labels, 15)
    assert metrics.pop("ece_scaled") == pytest.approx(expected, abs=1e-6)
    assert metrics == label_metrics(logits, labels)


def test_validation_metrics_are_label_metrics_at_the_fitted_temperature(logits: Tensor, labels: Tensor) -> None:
    temperature = scaling_temperature(logits, labels)
    expected = label_metrics(logits, labels, temperature) | {"scaling_temperature": temperature}
    assert validation_metrics(logits, labels) == expected


def test_agreement_and_divergence_equal_a_loop_over_samples(logits: Tensor) -> None:
    teacher = torch.randn(300, 5, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    divergence, equal = 0.0, 0
    for q, p in zip(logits.softmax(1).tolist(), teacher.softmax(1).tolist(), strict=True):
        divergence += sum(b * math.log(b / a) for a, b in zip(q, p, strict=True))
        equal += q.index(max(q)) == p.index(max(p))
    metrics = teacher_metrics(logits, teacher)
    assert metrics["agreement"] == pytest.approx(equal / 300)
    assert metrics["teacher_kl"] == pytest.approx(divergence / 300, abs=1e-9)


def test_divergence_is_of_the_teacher_from_the_student() -> None:
    sure, unsure = torch.tensor([[math.log(9.0), 0.0]]), torch.zeros(1, 2)
    assert teacher_metrics(unsure, sure)["teacher_kl"] == pytest.approx(0.9 * math.log(1.8) + 0.1 * math.log(0.2))
    assert teacher_metrics(sure, unsure)["teacher_kl"] == pytest.approx(-math.log(0.36) / 2)


def test_a_student_equal_to_its_teacher_agrees_without_divergence(logits: Tensor) -> None:
    assert teacher_metrics(logits, logits) == {"agreement": 1.0, "teacher_kl": 0.0}
    shifted = teacher_metrics(logits + 3, logits)
    assert (shifted["agreement"], shifted["teacher_kl"]) == (1.0, pytest.approx(0, abs=1e-12))


def test_divergence_is_finite_for_huge_logits_and_for_classes_of_probability_zero() -> None:
    student = torch.tensor([[1e4, -1e4, 0.0]])
    assert teacher_metrics(student, -student)["teacher_kl"] == pytest.approx(2e4)
    impossible = torch.tensor([[0.0, 0.0, -math.inf]])
    assert teacher_metrics(torch.zeros(1, 3), impossible)["teacher_kl"] == pytest.approx(math.log(1.5))


def test_predict_has_the_logits_in_evaluation_mode_of_all_samples_in_order(dataset: Dataset) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(36, 3)).train()
    found = predict(network, dataset.validation, dataset.normalisation, batch=4)
    whole = predict(network, dataset.validation, dataset.normalisation)
    assert found.shape == (21, 3)
    assert not network.training
    torch.testing.assert_close(found, whole)
