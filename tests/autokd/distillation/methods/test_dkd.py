import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autokd.distillation import BatchContext, Outputs, kd_loss
from autokd.distillation.methods.dkd import DKD, dkd_loss, dkd_terms, other_classes, warmup_factor
from autokd.errors import InputError

TEMPERATURES = [0.5, 1.0, 4.0, 10.0]


def softmax_slowly(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def divergence_slowly(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def terms_slowly(student: list[float], teacher: list[float], label: int, temperature: float) -> tuple[float, float]:
    p_student, p_teacher = softmax_slowly(student, temperature), softmax_slowly(teacher, temperature)
    binary = [[p[label], 1 - p[label]] for p in (p_teacher, p_student)]
    others = [[value / (1 - p[label]) for k, value in enumerate(p) if k != label] for p in (p_teacher, p_student)]
    return temperature**2 * divergence_slowly(*binary), temperature**2 * divergence_slowly(*others)


def warmed(student: Tensor, teacher: Tensor, labels: Tensor, epoch: float, warmup: float) -> Tensor:
    method = DKD(temperature=2.0, alpha=0.5, beta=3.0, warmup=warmup)
    return method.teacher_loss(Outputs(student), Outputs(teacher), BatchContext(labels, labels, epoch=epoch))


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_terms_equal_a_loop_over_classes(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float
) -> None:
    target, others = dkd_terms(student, teacher, labels, temperature)
    for k in range(7):
        expected = terms_slowly(student[k].tolist(), teacher[k].tolist(), int(labels[k]), temperature)
        assert (float(target[k]), float(others[k])) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_kd_is_the_first_term_and_the_second_by_the_teachers_doubt(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float
) -> None:
    target, others = dkd_terms(student, teacher, labels, temperature)
    doubt = 1 - (teacher / temperature).softmax(1)[torch.arange(7), labels]
    kd = torch.stack([kd_loss(student[k : k + 1], teacher[k : k + 1], temperature) for k in range(7)])
    torch.testing.assert_close(target + doubt * others, kd, rtol=0, atol=1e-12)


def test_the_loss_is_the_mean_of_the_weighed_terms(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    target, others = dkd_terms(student, teacher, labels, 4.0)
    expected = 0.5 * target.mean() + 3 * others.mean()
    torch.testing.assert_close(dkd_loss(student, teacher, labels, 4.0, alpha=0.5, beta=3.0), expected)


def test_each_sample_can_have_its_own_temperature(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    temperatures = torch.linspace(1, 7, 7, dtype=torch.float64).unsqueeze(1)
    rows = [slice(k, k + 1) for k in range(7)]
    expected = [dkd_loss(student[k], teacher[k], labels[k], k.stop) for k in rows]
    torch.testing.assert_close(dkd_loss(student, teacher, labels, temperatures), torch.stack(expected).mean())


def test_the_gradient_passes_gradcheck_for_students_and_temperatures(
    student: Tensor, teacher: Tensor, labels: Tensor
) -> None:
    temperatures = torch.linspace(1, 7, 7, dtype=torch.float64).unsqueeze(1)
    inputs = student.requires_grad_(), temperatures.requires_grad_()
    assert torch.autograd.gradcheck(lambda s, t: dkd_loss(s, teacher, labels, t), inputs)


def test_no_gradient_flows_into_the_teacher(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    dkd_loss(student.requires_grad_(), teacher.requires_grad_(), labels, 4.0).backward()
    assert teacher.grad is None


def test_a_constant_added_to_a_row_has_no_effect(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    constants = torch.arange(7.0, dtype=torch.float64).unsqueeze(1)
    moved = dkd_loss(student + constants, teacher - 2 * constants, labels, 3.0)
    torch.testing.assert_close(moved, dkd_loss(student, teacher, labels, 3.0), rtol=0, atol=1e-12)


def test_the_second_term_does_not_depend_on_the_target(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    moved = student.clone()
    moved[torch.arange(7), labels] += 5
    others = [dkd_terms(logits, teacher, labels, 4.0)[1] for logits in (student, moved)]
    torch.testing.assert_close(*others, rtol=0, atol=1e-12)


def test_with_two_classes_the_second_term_is_zero(student: Tensor, teacher: Tensor) -> None:
    pair, labels = (student[:, :2], teacher[:, :2]), torch.arange(7) % 2
    target, others = dkd_terms(*pair, labels, 4.0)
    assert others.tolist() == [0.0] * 7
    torch.testing.assert_close(target.mean(), kd_loss(*pair, 4.0))


def test_the_loss_of_a_student_that_equals_the_teacher_is_zero(student: Tensor, labels: Tensor) -> None:
    student.requires_grad_()
    loss = dkd_loss(student, student.detach(), labels, 4.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == 0
    assert float(gradient.abs().max()) < 1e-15


def test_the_loss_of_certain_and_wrong_logits_is_finite_and_exact() -> None:
    student, teacher = torch.tensor([[1e4, -1e4, -1e4]]), torch.tensor([[-1e4, 1e4, -1e4]])
    target, others = dkd_terms(student.requires_grad_(), teacher, torch.tensor([0]), 1.0)
    (gradient,) = torch.autograd.grad((target + others).sum(), student)
    assert (target.item(), others.item()) == pytest.approx((2e4 - math.log(2), math.log(2)))
    assert gradient.isfinite().all()


def test_small_probabilities_of_a_confident_teacher_are_not_rounded_away() -> None:
    logits, labels = torch.tensor([[40.0, 0.0, 0.0]]), torch.tensor([0])
    target, _ = dkd_terms(0.75 * logits, logits, labels, 1.0)
    doubts = 2 * math.exp(-30), 2 * math.exp(-40)  # float32 has 1 - p = 0 for both
    assert float(target) == pytest.approx(doubts[0] - doubts[1] + doubts[1] * math.log(doubts[1] / doubts[0]), rel=1e-3)


def test_a_certain_target_does_not_affect_the_precision_of_the_others() -> None:
    student, teacher = torch.tensor([[1e4, 0.1, 0.2]]), torch.tensor([[1e4, 0.2, 0.1]])
    _, others = dkd_terms(student, teacher, torch.tensor([0]), 1.0)
    assert float(others) == pytest.approx(0.1 * math.tanh(0.05), rel=1e-4)


def test_the_other_classes_keep_their_order() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [6.0, 7.0, 8.0]])
    assert other_classes(logits, torch.tensor([0, 1, 2])).tolist() == [[1, 2], [3, 5], [6, 7]]


@pytest.mark.parametrize(
    ("epoch", "factor"), [(0, 0.05), (0.99, 0.05), (1, 0.1), (8.5, 0.45), (18.9, 0.95), (19, 1), (20, 1), (200, 1)]
)
def test_the_warm_up_counts_epochs_from_1(epoch: float, factor: float) -> None:
    assert warmup_factor(epoch, 20) == pytest.approx(factor)


@pytest.mark.parametrize("warmup", [0, 1])
def test_a_warm_up_of_at_most_one_epoch_has_no_effect(warmup: int) -> None:
    assert [warmup_factor(epoch, warmup) for epoch in (0, 0.5, 3)] == [1, 1, 1]


def test_the_warm_up_multiplies_the_teachers_term(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    expected = 0.3 * dkd_loss(student, teacher, labels, 2.0, 0.5, 3.0)
    torch.testing.assert_close(warmed(student, teacher, labels, epoch=2.25, warmup=10), expected)


def test_the_weight_of_the_labels_is_1(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    method, outputs = DKD(warmup=0), (Outputs(student), Outputs(teacher), BatchContext(labels, labels))
    expected = F.cross_entropy(student, labels) + dkd_loss(student, teacher, labels, 4.0)
    torch.testing.assert_close(method.loss(*outputs), expected)


@pytest.mark.parametrize("name", ["temperature", "alpha", "beta", "warmup"])
def test_negative_and_infinite_settings_are_rejected(name: str) -> None:
    for value in (-1.0, math.inf):
        with pytest.raises(InputError, match=f"{name} < inf` must hold, but got {name}="):
            DKD(**{name: value})
