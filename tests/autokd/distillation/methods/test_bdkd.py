import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autokd.distillation import BatchContext, Outputs, kd_loss
from autokd.distillation.methods.bdkd import BDKD, bdkd_loss, bdkd_teacher_loss
from autokd.errors import InputError

TEMPERATURES = [0.5, 1.0, 4.0, 10.0]
SURE, UNSURE = torch.tensor([[5.0, 0.0, 0.0]]), torch.tensor([[2.0, 1.0, 0.0]])


def softmax_slowly(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def divergence_slowly(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def entropy_slowly(p: list[float]) -> float:
    return -sum(value * math.log(value) for value in p)


def bdkd_slowly(student: Tensor, teacher: Tensor, temperature: float, delta: float) -> float:
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        p_student, p_teacher = softmax_slowly(s, temperature), softmax_slowly(t, temperature)
        gap = entropy_slowly(p_teacher) - entropy_slowly(p_student)
        on_forward, on_reverse = (delta, 1) if gap > 0 else (1, delta)
        total += on_forward * divergence_slowly(p_teacher, p_student)
        total += on_reverse * divergence_slowly(p_student, p_teacher)
    return temperature**2 * total / len(student)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("delta", [1.0, 1.7, 5.0])
def test_bdkd_equals_a_loop_over_samples(student: Tensor, teacher: Tensor, temperature: float, delta: float) -> None:
    found = float(bdkd_loss(student, teacher, temperature, delta))
    assert found == pytest.approx(bdkd_slowly(student, teacher, temperature, delta), abs=1e-9)


def test_the_samples_of_the_fixtures_have_gaps_of_both_signs(student: Tensor, teacher: Tensor) -> None:
    entropies = [[entropy_slowly(row) for row in logits.softmax(1).tolist()] for logits in (student, teacher)]
    assert {t > s for s, t in zip(*entropies, strict=True)} == {True, False}


def test_the_forward_divergence_of_an_overconfident_student_is_emphasised() -> None:
    expected = 3 * kd_loss(SURE, UNSURE, 1.0) + kd_loss(UNSURE, SURE, 1.0)
    torch.testing.assert_close(bdkd_loss(SURE, UNSURE, 1.0, delta=3.0), expected)


def test_the_reverse_divergence_of_an_unsure_student_is_emphasised() -> None:
    expected = kd_loss(UNSURE, SURE, 1.0) + 3 * kd_loss(SURE, UNSURE, 1.0)
    torch.testing.assert_close(bdkd_loss(UNSURE, SURE, 1.0, delta=3.0), expected)


def test_with_a_delta_of_1_it_is_the_symmetric_sum(student: Tensor, teacher: Tensor) -> None:
    found = bdkd_loss(student, teacher, 4.0, delta=1.0)
    torch.testing.assert_close(found, kd_loss(student, teacher, 4.0) + kd_loss(teacher, student, 4.0))
    torch.testing.assert_close(found, bdkd_loss(teacher, student, 4.0, delta=1.0))


def test_with_equal_entropies_the_reverse_divergence_is_emphasised() -> None:
    student, teacher = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    assert float(kd_loss(student, teacher, 1.0)) == pytest.approx(float(kd_loss(teacher, student, 1.0)))
    student.requires_grad_()
    (gradient,) = torch.autograd.grad(bdkd_loss(student, teacher, 1.0, delta=3.0), student)
    p, q = student.detach().softmax(1), teacher.softmax(1)
    of_reverse = p * ((p / q).log() - (p * (p / q).log()).sum())
    torch.testing.assert_close(gradient, p - q + 3 * of_reverse)


def test_the_loss_of_a_student_that_equals_the_teacher_is_zero(student: Tensor) -> None:
    student.requires_grad_()
    loss = bdkd_loss(student, student.detach(), 4.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == 0
    assert float(gradient.abs().max()) < 1e-15


def test_the_loss_is_never_negative(student: Tensor, teacher: Tensor) -> None:
    rows = [float(bdkd_loss(student[k : k + 1], teacher[k : k + 1], 2.0)) for k in range(7)]
    assert min(rows) > 0
    assert float(bdkd_loss(student, teacher, 2.0)) == pytest.approx(sum(rows) / 7)


def test_a_constant_added_to_a_row_has_no_effect(student: Tensor, teacher: Tensor) -> None:
    constants = torch.arange(7.0, dtype=torch.float64).unsqueeze(1)
    moved = bdkd_loss(student + constants, teacher - 2 * constants, 3.0)
    torch.testing.assert_close(moved, bdkd_loss(student, teacher, 3.0), rtol=0, atol=1e-12)


def test_each_sample_can_have_its_own_temperature(student: Tensor, teacher: Tensor) -> None:
    temperatures = torch.linspace(1, 7, 7, dtype=torch.float64).unsqueeze(1)
    rows = [bdkd_loss(student[k : k + 1], teacher[k : k + 1], k + 1) for k in range(7)]
    torch.testing.assert_close(bdkd_loss(student, teacher, temperatures), torch.stack(rows).mean())


def test_the_gradient_passes_gradcheck_for_students_and_temperatures(student: Tensor, teacher: Tensor) -> None:
    temperatures = torch.linspace(1, 7, 7, dtype=torch.float64).unsqueeze(1)
    inputs = student.requires_grad_(), temperatures.requires_grad_()
    assert torch.autograd.gradcheck(lambda s, t: bdkd_loss(s, teacher, t), inputs)


def test_no_gradient_flows_into_the_teacher(student: Tensor, teacher: Tensor) -> None:
    bdkd_loss(student.requires_grad_(), teacher.requires_grad_(), 4.0).backward()
    assert teacher.grad is None


def test_the_loss_of_certain_and_wrong_logits_is_finite_and_exact() -> None:
    student, teacher = torch.tensor([[1e4, -1e4]]).requires_grad_(), torch.tensor([[-1e4, 1e4]])
    loss = bdkd_loss(student, teacher, 1.0, delta=2.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == pytest.approx(2e4 + 2 * 2e4)
    assert gradient.isfinite().all()


def test_an_online_teacher_learns_from_labels_and_student(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    expected = F.cross_entropy(teacher, labels).item()
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        expected += 0.5 * 9 * divergence_slowly(softmax_slowly(s, 3.0), softmax_slowly(t, 3.0)) / 7
    found = bdkd_teacher_loss(teacher, student, labels, temperature=3.0, weight=0.5)
    assert found.item() == pytest.approx(expected, abs=1e-9)


def test_no_gradient_of_an_online_teacher_flows_into_the_student(
    student: Tensor, teacher: Tensor, labels: Tensor
) -> None:
    bdkd_teacher_loss(teacher.requires_grad_(), student.requires_grad_(), labels, 4.0).backward()
    assert student.grad is None
    assert teacher.grad is not None


def test_the_weight_of_the_labels_is_1(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    found = BDKD(2.0, 3.0, 0.5).loss(Outputs(student), Outputs(teacher), BatchContext(labels, labels))
    torch.testing.assert_close(found, F.cross_entropy(student, labels) + 0.5 * bdkd_loss(student, teacher, 2.0, 3.0))


@pytest.mark.parametrize("name", ["temperature", "weight"])
def test_negative_and_infinite_settings_are_rejected(name: str) -> None:
    for value in (-1.0, math.inf):
        with pytest.raises(InputError, match=f"{name} < inf` must hold, but got {name}="):
            BDKD(**{name: value})


@pytest.mark.parametrize("delta", [0.9, -2.0, math.inf])
def test_a_delta_must_be_at_least_1(delta: float) -> None:
    with pytest.raises(InputError, match="`1 <= delta < inf` must hold, but got delta="):
        BDKD(delta=delta)
