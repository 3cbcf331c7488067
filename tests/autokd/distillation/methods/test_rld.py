import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autokd.distillation import BatchContext, Outputs, dkd_loss
from autokd.distillation.methods.rld import RLD, confidence_loss, masked_loss
from autokd.errors import InputError

TEMPERATURES = [0.5, 1.0, 4.0, 10.0]
LOSSES = [confidence_loss, masked_loss]


def softmax_slowly(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def divergence_slowly(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def confidence_slowly(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> float:
    total = 0.0
    for s, t, label in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        p, q = max(softmax_slowly(t, temperature)), softmax_slowly(s, temperature)[label]
        total += temperature**2 * divergence_slowly([p, 1 - p], [q, 1 - q])
    return total / len(student)


def masked_slowly(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> float:
    total = 0.0
    for s, t, label in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        if kept := [k for k in range(len(t)) if t[k] < t[label]]:
            q_student, q_teacher = (softmax_slowly([z[k] for k in kept], temperature) for z in (s, t))
            total += temperature**2 * divergence_slowly(q_teacher, q_student)
    return total / len(student)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_both_losses_equal_a_loop_over_classes(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float
) -> None:
    for loss, slowly in ((confidence_loss, confidence_slowly), (masked_loss, masked_slowly)):
        found = loss(student, teacher, labels, temperature).item()
        assert found == pytest.approx(slowly(student, teacher, labels, temperature), abs=1e-9)


def test_with_a_teacher_that_is_right_rld_is_dkd(student: Tensor, teacher: Tensor) -> None:
    right = teacher.argmax(1)
    expected = dkd_loss(student, teacher, right, 4.0, alpha=1.0, beta=8.0)
    found = confidence_loss(student, teacher, right, 4.0) + 8 * masked_loss(student, teacher, right, 4.0)
    torch.testing.assert_close(found, expected)


def test_classes_that_the_teacher_falsely_prefers_to_the_label_do_not_matter() -> None:
    teacher = torch.tensor([[5.0, 2.0, 1.0, 0.0]])
    student = torch.tensor([[0.0, 0.0, 2.0, 3.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(masked_loss(student, teacher, torch.tensor([1]), 1.0), student)
    assert gradient[0, :2].tolist() == [0, 0]
    assert gradient[0, 2:].abs().min() > 0.1


def test_a_label_that_the_teacher_ranks_last_has_no_masked_loss_and_no_gradient(student: Tensor) -> None:
    teacher = torch.arange(5.0, dtype=torch.float64).expand(7, 5)
    loss = masked_loss(student.requires_grad_(), teacher, torch.zeros(7, dtype=torch.int64), 4.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == 0
    assert float(gradient.abs().max()) == 0


def test_the_confidence_of_certain_and_wrong_networks_is_finite_and_exact() -> None:
    student, teacher = torch.tensor([[-1e4, 1e4, -1e4]]), torch.tensor([[-1e4, 1e4, -1e4]])
    loss = confidence_loss(student.requires_grad_(), teacher, torch.tensor([0]), 1.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == pytest.approx(2e4)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
def test_each_sample_can_have_its_own_temperature(loss, student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    temperatures = torch.linspace(1, 7, 7, dtype=torch.float64).unsqueeze(1)
    rows = [loss(student[k : k + 1], teacher[k : k + 1], labels[k : k + 1], k + 1) for k in range(7)]
    torch.testing.assert_close(loss(student, teacher, labels, temperatures), torch.stack(rows).mean())


@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_passes_gradcheck_for_students_and_temperatures(
    loss, student: Tensor, teacher: Tensor, labels: Tensor
) -> None:
    temperatures = torch.linspace(1, 7, 7, dtype=torch.float64).unsqueeze(1)
    inputs = student.requires_grad_(), temperatures.requires_grad_()
    assert torch.autograd.gradcheck(lambda s, t: loss(s, teacher, labels, t), inputs)


def test_the_teachers_term_warms_up_beside_the_labels(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    method, context = RLD(3.0, 2.0, 0.5, 4.0, warmup=10), BatchContext(labels, labels, epoch=4.5)
    confidence, masked = confidence_loss(student, teacher, labels, 2.0), masked_loss(student, teacher, labels, 3.0)
    expected = F.cross_entropy(student, labels) + 0.5 * (0.5 * confidence + 4 * masked)
    torch.testing.assert_close(method.loss(Outputs(student), Outputs(teacher), context), expected)


@pytest.mark.parametrize("name", ["temperature", "confidence_temperature", "alpha", "beta", "warmup"])
def test_negative_and_infinite_settings_are_rejected(name: str) -> None:
    for value in (-1.0, math.inf):
        with pytest.raises(InputError, match=f"{name} < inf` must hold, but got {name}="):
            RLD(**{name: value})
