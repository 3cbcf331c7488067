import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autokd.distillation import BatchContext, Outputs, kd_loss
from autokd.distillation.methods.ttm import TTM, WTTM, power_sum, ttm_loss, wttm_loss
from autokd.errors import InputError

TEMPERATURES = [0.5, 1.0, 4.0, 10.0]
LOSSES = [ttm_loss, wttm_loss]


def softmax_slowly(row: list[float]) -> list[float]:
    powers = [math.exp(value) for value in row]
    return [power / sum(powers) for power in powers]


def ttm_slowly(student: Tensor, teacher: Tensor, temperature: float, is_weighted: bool) -> float:
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        powers = [p ** (1 / temperature) for p in softmax_slowly(t)]
        transformed = [power / sum(powers) for power in powers]
        divergence = sum(p * math.log(p / q) for p, q in zip(transformed, softmax_slowly(s), strict=True))
        total += divergence * (sum(powers) if is_weighted else 1)
    return total / len(student)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_both_losses_equal_a_loop_over_powers_of_probabilities(
    student: Tensor, teacher: Tensor, temperature: float
) -> None:
    for loss in LOSSES:
        expected = ttm_slowly(student, teacher, temperature, loss is wttm_loss)
        assert loss(student, teacher, temperature).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("temperature", [0.5, 4.0])
def test_ttm_is_kd_minus_the_students_renyi_entropy(student: Tensor, teacher: Tensor, temperature: float) -> None:
    order, target = 1 / temperature, (teacher / temperature).softmax(1)
    renyi = (student.softmax(1) ** order).sum(1).log() / (1 - order)
    entropy = -(target * target.log()).sum(1)
    expected = kd_loss(student, teacher, temperature) / temperature + (temperature - 1) * (entropy - renyi).mean()
    torch.testing.assert_close(ttm_loss(student, teacher, temperature), expected)


def test_at_temperature_1_both_losses_are_kd(student: Tensor, teacher: Tensor) -> None:
    for loss in LOSSES:
        torch.testing.assert_close(loss(student, teacher, 1.0), kd_loss(student, teacher, 1.0))


def test_the_gradient_is_the_difference_of_the_probabilities(student: Tensor, teacher: Tensor) -> None:
    (gradient,) = torch.autograd.grad(ttm_loss(student.requires_grad_(), teacher, 4.0), student)
    torch.testing.assert_close(gradient, (student.softmax(1) - (teacher / 4).softmax(1)).detach() / 7)


def test_the_power_sum_is_1_for_certain_and_largest_for_uniform_probabilities() -> None:
    logits = torch.tensor([[1e4, 0, 0, 0, 0], [2.0] * 5], dtype=torch.float64)
    torch.testing.assert_close(power_sum(logits, 4.0), torch.tensor([1, 5**0.75], dtype=torch.float64))


@pytest.mark.parametrize("loss", LOSSES)
def test_each_sample_can_have_its_own_temperature(loss, student: Tensor, teacher: Tensor) -> None:
    temperatures = torch.linspace(1, 7, 7, dtype=torch.float64).unsqueeze(1)
    rows = [loss(student[k : k + 1], teacher[k : k + 1], k + 1) for k in range(7)]
    torch.testing.assert_close(loss(student, teacher, temperatures), torch.stack(rows).mean())


@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_passes_gradcheck_for_students_and_temperatures(loss, student: Tensor, teacher: Tensor) -> None:
    temperatures = torch.linspace(1, 7, 7, dtype=torch.float64).unsqueeze(1)
    inputs = student.requires_grad_(), temperatures.requires_grad_()
    assert torch.autograd.gradcheck(lambda s, t: loss(s, teacher, t), inputs)


@pytest.mark.parametrize(("method", "loss"), [(TTM, ttm_loss), (WTTM, wttm_loss)])
def test_the_weight_of_the_labels_is_1(method, loss, student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    found = method(2.0, 3.0).loss(Outputs(student), Outputs(teacher), BatchContext(labels, labels))
    torch.testing.assert_close(found, F.cross_entropy(student, labels) + 3 * loss(student, teacher, 2.0))


@pytest.mark.parametrize("name", ["temperature", "weight"])
def test_negative_and_infinite_settings_are_rejected(name: str) -> None:
    for value in (-1.0, math.inf):
        with pytest.raises(InputError, match=f"{name} < inf` must hold, but got {name}="):
            WTTM(**{name: value})
