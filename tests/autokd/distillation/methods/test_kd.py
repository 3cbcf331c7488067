import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autokd.distillation import KD, BatchContext, Outputs, kd_loss
from autokd.errors import InputError

TEMPERATURES = [0.5, 1.0, 4.0, 10.0]


def softmax_slowly(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def kd_slowly(student: Tensor, teacher: Tensor, temperature: float) -> float:
    """`t^2 sum p_T log(p_T / p_S)`, the mean over rows."""
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        p_student, p_teacher = softmax_slowly(s, temperature), softmax_slowly(t, temperature)
        total += sum(b * math.log(b / a) for a, b in zip(p_student, p_teacher, strict=True))
    return temperature**2 * total / len(student)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_kd_equals_a_loop_over_classes(student: Tensor, teacher: Tensor, temperature: float) -> None:
    assert float(kd_loss(student, teacher, temperature)) == pytest.approx(
        kd_slowly(student, teacher, temperature), abs=1e-9
    )


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_gradient_is_the_difference_of_probabilities(student: Tensor, teacher: Tensor, temperature: float) -> None:
    student.requires_grad_()
    (gradient,) = torch.autograd.grad(kd_loss(student, teacher, temperature), student)
    difference = (student / temperature).softmax(1) - (teacher / temperature).softmax(1)
    torch.testing.assert_close(gradient, temperature * difference / len(student), rtol=0, atol=1e-12)


def test_the_gradient_passes_gradcheck(student: Tensor, teacher: Tensor) -> None:
    assert torch.autograd.gradcheck(lambda s: kd_loss(s, teacher, 4.0), student.requires_grad_())


def test_a_constant_added_to_a_row_has_no_effect(student: Tensor, teacher: Tensor) -> None:
    constants = torch.arange(7.0, dtype=torch.float64).unsqueeze(1)
    moved = kd_loss(student + constants, teacher - 2 * constants, 3.0)
    torch.testing.assert_close(moved, kd_loss(student, teacher, 3.0), rtol=0, atol=1e-12)


def test_a_high_temperature_matches_centred_logits(student: Tensor, teacher: Tensor) -> None:
    centred = [logits - logits.mean(1, keepdim=True) for logits in (student, teacher)]
    expected = ((centred[0] - centred[1]) ** 2).sum(1).mean() / (2 * 5)
    torch.testing.assert_close(kd_loss(student, teacher, 1e4), expected, rtol=1e-3, atol=0)


def test_the_loss_of_a_student_that_equals_the_teacher_is_zero(student: Tensor) -> None:
    student.requires_grad_()
    loss = kd_loss(student, student.detach(), 4.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == 0
    assert float(gradient.abs().max()) < 1e-15


def test_the_loss_is_never_negative(student: Tensor, teacher: Tensor) -> None:
    rows = [float(kd_loss(student[k : k + 1], teacher[k : k + 1], 2.0)) for k in range(7)]
    assert min(rows) > 0
    assert float(kd_loss(student, teacher, 2.0)) == pytest.approx(sum(rows) / 7)


def test_the_loss_of_certain_and_wrong_logits_is_finite_and_exact() -> None:
    student, teacher = torch.tensor([[1e4, -1e4]]), torch.tensor([[-1e4, 1e4]])
    assert float(kd_loss(student, teacher, 1.0)) == pytest.approx(2e4)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_bfloat16_logits_give_a_finite_loss(student: Tensor, teacher: Tensor, scale: float) -> None:
    low = (scale * student).bfloat16().requires_grad_()
    loss = kd_loss(low, (scale * teacher).bfloat16(), 4.0)
    (gradient,) = torch.autograd.grad(loss, low)
    assert loss.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_weight_is_the_share_of_the_teacher(
    student: Tensor, teacher: Tensor, labels: Tensor, weight: float
) -> None:
    found = KD(2.0, weight).loss(Outputs(student), Outputs(teacher), BatchContext(labels, labels))
    hard = -student.log_softmax(1)[torch.arange(7), labels].mean()
    torch.testing.assert_close(found, (1 - weight) * hard + weight * kd_loss(student, teacher, 2.0))


def test_with_a_weight_of_0_it_is_training_with_labels(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    plain = KD(weight=0.0).loss(Outputs(student), Outputs(teacher), BatchContext(labels, labels))
    torch.testing.assert_close(plain, F.cross_entropy(student, labels))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_a_temperature_must_be_positive_and_finite(temperature: float) -> None:
    with pytest.raises(InputError, match="`0 < temperature < inf` must hold, but got temperature="):
        KD(temperature=temperature)


@pytest.mark.parametrize("weight", [-0.1, 1.1, math.nan])
def test_a_weight_must_be_a_share(weight: float) -> None:
    with pytest.raises(InputError, match="`0 <= weight <= 1` must hold, but got weight="):
        KD(weight=weight)
