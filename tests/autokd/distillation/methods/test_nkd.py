import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autokd.distillation import BatchContext, Outputs
from autokd.distillation.methods.dkd import dkd_terms
from autokd.distillation.methods.nkd import NKD, nkd_loss
from autokd.errors import InputError

TEMPERATURES = [0.5, 1.0, 4.0, 10.0]


def softmax_slowly(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def nkd_slowly(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, gamma: float) -> float:
    total = 0.0
    for s, t, label in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        total -= softmax_slowly(t, 1.0)[label] * math.log(softmax_slowly(s, 1.0)[label])
        q_student, q_teacher = (softmax_slowly(z[:label] + z[label + 1 :], temperature) for z in (s, t))
        total -= gamma * temperature**2 * sum(b * math.log(a) for a, b in zip(q_student, q_teacher, strict=True))
    return total / len(student)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("gamma", [0.0, 1.5])
def test_nkd_equals_a_loop_over_classes(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, gamma: float
) -> None:
    found = float(nkd_loss(student, teacher, labels, temperature, gamma))
    assert found == pytest.approx(nkd_slowly(student, teacher, labels, temperature, gamma), abs=1e-9)


def test_the_first_term_is_cross_entropy_weighted_by_the_teachers_confidence(
    student: Tensor, teacher: Tensor, labels: Tensor
) -> None:
    confidence = teacher.softmax(1)[torch.arange(7), labels]
    expected = (confidence * F.cross_entropy(student, labels, reduction="none")).mean()
    torch.testing.assert_close(nkd_loss(student, teacher, labels, 4.0, gamma=0.0), expected)


def test_the_second_term_is_that_of_dkd_plus_the_teachers_entropy(
    student: Tensor, teacher: Tensor, labels: Tensor
) -> None:
    found = nkd_loss(student, teacher, labels, 4.0, gamma=1.0) - nkd_loss(student, teacher, labels, 4.0, gamma=0.0)
    _, divergences = dkd_terms(student, teacher, labels, 4.0)
    _, entropies = dkd_terms(torch.zeros_like(teacher), teacher, labels, 4.0)  # from the uniform: t^2 (log 4 - H)
    expected = (divergences + 16 * math.log(4) - entropies).mean()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_the_second_term_is_stationary_if_the_student_equals_the_teacher(student: Tensor, labels: Tensor) -> None:
    student.requires_grad_()
    loss = nkd_loss(student, student.detach(), labels, 4.0, 1.0) - nkd_loss(student, student.detach(), labels, 4.0, 0.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert float(gradient.abs().max()) < 1e-15


def test_the_target_has_no_temperature(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    losses = [nkd_loss(student, teacher, labels, temperature, gamma=0.0) for temperature in (1.0, 7.0)]
    torch.testing.assert_close(*losses, rtol=0, atol=0)


def test_each_sample_can_have_its_own_temperature(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    temperatures = torch.linspace(1, 7, 7, dtype=torch.float64).unsqueeze(1)
    rows = [slice(k, k + 1) for k in range(7)]
    expected = [nkd_loss(student[k], teacher[k], labels[k], k.stop) for k in rows]
    torch.testing.assert_close(nkd_loss(student, teacher, labels, temperatures), torch.stack(expected).mean())


def test_the_gradient_passes_gradcheck_for_students_and_temperatures(
    student: Tensor, teacher: Tensor, labels: Tensor
) -> None:
    temperatures = torch.linspace(1, 7, 7, dtype=torch.float64).unsqueeze(1)
    inputs = student.requires_grad_(), temperatures.requires_grad_()
    assert torch.autograd.gradcheck(lambda s, t: nkd_loss(s, teacher, labels, t), inputs)


def test_no_gradient_flows_into_the_teacher(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    nkd_loss(student.requires_grad_(), teacher.requires_grad_(), labels, 4.0).backward()
    assert teacher.grad is None


def test_a_constant_added_to_a_row_has_no_effect(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    constants = torch.arange(7.0, dtype=torch.float64).unsqueeze(1)
    moved = nkd_loss(student + constants, teacher - 2 * constants, labels, 3.0)
    torch.testing.assert_close(moved, nkd_loss(student, teacher, labels, 3.0), rtol=0, atol=1e-12)


def test_the_loss_of_certain_and_wrong_logits_is_finite_and_exact() -> None:
    student, teacher = torch.tensor([[-1e4, 1e4, -1e4]]), torch.tensor([[1e4, -1e4, 1e4 - 1]])
    loss = nkd_loss(student.requires_grad_(), teacher, torch.tensor([0]), 1.0, gamma=1.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == pytest.approx(2e4 / (1 + math.exp(-1)) + 2e4)
    assert gradient.isfinite().all()


def test_with_two_classes_only_the_target_term_remains(student: Tensor, teacher: Tensor) -> None:
    pair, labels = (student[:, :2], teacher[:, :2]), torch.arange(7) % 2
    torch.testing.assert_close(nkd_loss(*pair, labels, 4.0, 9.0), nkd_loss(*pair, labels, 4.0, 0.0), rtol=0, atol=0)


def test_the_weight_of_the_labels_is_1(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    found = NKD(2.0, 0.5).loss(Outputs(student), Outputs(teacher), BatchContext(labels, labels))
    torch.testing.assert_close(found, F.cross_entropy(student, labels) + nkd_loss(student, teacher, labels, 2.0, 0.5))


@pytest.mark.parametrize("name", ["temperature", "gamma"])
def test_negative_and_infinite_settings_are_rejected(name: str) -> None:
    for value in (-1.0, math.inf):
        with pytest.raises(InputError, match=f"{name} < inf` must hold, but got {name}="):
            NKD(**{name: value})
