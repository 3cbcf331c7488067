import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autokd.distillation import BatchContext, Outputs, kd_loss
from autokd.distillation.methods.mlld import MLLD, batch_correlation_loss, class_correlation_loss, mlld_loss
from autokd.errors import InputError


def between_rows_slowly(student: list[list[float]], teacher: list[list[float]]) -> float:
    """Sum of the squared differences of all products of two rows, divided by the number of rows."""
    total = 0.0
    for i in range(len(student)):
        for j in range(len(student)):
            of_teacher = sum(a * b for a, b in zip(teacher[i], teacher[j], strict=True))
            of_student = sum(a * b for a, b in zip(student[i], student[j], strict=True))
            total += (of_teacher - of_student) ** 2
    return total / len(student)


def softmax_slowly(logits: Tensor, temperature: float) -> list[list[float]]:
    powers = [[math.exp(value / temperature) for value in row] for row in logits.tolist()]
    return [[power / sum(row) for power in row] for row in powers]


def transposed(rows: list[list[float]]) -> list[list[float]]:
    return [list(column) for column in zip(*rows, strict=True)]


def mlld_slowly(student: Tensor, teacher: Tensor, temperatures: list[float], correlation: float) -> float:
    total, scale = 0.0, 64 / len(student)
    for temperature in temperatures:
        p_student, p_teacher = softmax_slowly(student, temperature), softmax_slowly(teacher, temperature)
        for s, t in zip(p_student, p_teacher, strict=True):
            total += temperature**2 * sum(b * math.log(b / a) for a, b in zip(s, t, strict=True)) / len(student)
        classes = between_rows_slowly(transposed(p_student), transposed(p_teacher))
        total += correlation * (scale**2 * classes + scale * between_rows_slowly(p_student, p_teacher))
    return total


def test_the_correlations_equal_loops_over_pairs(student: Tensor, teacher: Tensor) -> None:
    rows = softmax_slowly(student, 3.0), softmax_slowly(teacher, 3.0)
    columns = transposed(rows[0]), transposed(rows[1])
    assert float(batch_correlation_loss(student, teacher, 3.0)) == pytest.approx(between_rows_slowly(*rows), abs=1e-9)
    assert float(class_correlation_loss(student, teacher, 3.0)) == pytest.approx(
        between_rows_slowly(*columns), abs=1e-9
    )


@pytest.mark.parametrize("correlation", [0.0, 1.0, 0.3])
def test_mlld_equals_a_loop_over_temperatures_and_pairs(student: Tensor, teacher: Tensor, correlation: float) -> None:
    expected = mlld_slowly(student, teacher, [2, 3, 4, 5, 6], correlation)
    assert float(mlld_loss(student, teacher, correlation=correlation)) == pytest.approx(expected, abs=1e-9)


def test_a_batch_of_64_has_the_papers_correlations() -> None:
    student, teacher = torch.randn(2, 64, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = 0.0
    for t in (2, 3, 4, 5, 6):
        P_S, P_T = (student / t).softmax(1), (teacher / t).softmax(1)
        expected += torch.linalg.matrix_norm(P_T.T @ P_T - P_S.T @ P_S) ** 2 / 5
        expected += torch.linalg.matrix_norm(P_T @ P_T.T - P_S @ P_S.T) ** 2 / 64
    found = mlld_loss(student, teacher, correlation=1.0) - mlld_loss(student, teacher, correlation=0.0)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_without_correlations_it_is_kd_at_five_temperatures(student: Tensor, teacher: Tensor) -> None:
    expected = sum(kd_loss(student, teacher, temperature) for temperature in (1.0, 1.5, 2.0, 2.5, 3.0))
    torch.testing.assert_close(mlld_loss(student, teacher, temperature=2.0, correlation=0.0), expected)


def test_class_correlations_do_not_depend_on_the_order_of_samples(student: Tensor, teacher: Tensor) -> None:
    mixed = class_correlation_loss(student.flip(0), teacher, 2.0)
    torch.testing.assert_close(mixed, class_correlation_loss(student, teacher, 2.0), rtol=0, atol=1e-12)


def test_batch_correlations_do_not_depend_on_the_order_of_classes(student: Tensor, teacher: Tensor) -> None:
    mixed = batch_correlation_loss(student.flip(1), teacher, 2.0)
    torch.testing.assert_close(mixed, batch_correlation_loss(student, teacher, 2.0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [2, 5])
def test_a_batch_repeated_as_a_whole_has_the_same_loss(student: Tensor, teacher: Tensor, n: int) -> None:
    repeated = mlld_loss(student.repeat(n, 1), teacher.repeat(n, 1))
    torch.testing.assert_close(repeated, mlld_loss(student, teacher), rtol=0, atol=1e-9)


@pytest.mark.parametrize("n", [2, 5])
def test_the_papers_correlations_grow_with_the_batch(student: Tensor, teacher: Tensor, n: int) -> None:
    often = student.repeat(n, 1), teacher.repeat(n, 1)
    for loss, growth in ((class_correlation_loss, n**2), (batch_correlation_loss, n)):
        torch.testing.assert_close(loss(*often, 2.0), growth * loss(student, teacher, 2.0))


def test_the_loss_of_a_student_that_equals_the_teacher_is_zero(student: Tensor) -> None:
    student.requires_grad_()
    loss = mlld_loss(student, student.detach())
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == 0
    assert float(gradient.abs().max()) < 1e-15


def test_the_same_temperature_for_all_samples_is_one_temperature(student: Tensor, teacher: Tensor) -> None:
    same = mlld_loss(student, teacher, torch.full((7, 1), 3.0, dtype=torch.float64))
    torch.testing.assert_close(same, mlld_loss(student, teacher, 3.0), rtol=0, atol=1e-9)


def test_the_gradient_passes_gradcheck_for_students_and_temperatures(student: Tensor, teacher: Tensor) -> None:
    temperatures = torch.linspace(1, 7, 7, dtype=torch.float64).unsqueeze(1)
    inputs = student.requires_grad_(), temperatures.requires_grad_()
    assert torch.autograd.gradcheck(lambda s, t: mlld_loss(s, teacher, t), inputs)


@pytest.mark.parametrize("loss", [mlld_loss, class_correlation_loss, batch_correlation_loss])
def test_no_gradient_flows_into_the_teacher(student: Tensor, teacher: Tensor, loss) -> None:
    loss(student.requires_grad_(), teacher.requires_grad_(), 4.0).backward()
    assert teacher.grad is None


def test_certain_and_wrong_logits_give_a_finite_gradient() -> None:
    student, teacher = torch.tensor([[1e4, -1e4]]).requires_grad_(), torch.tensor([[-1e4, 1e4]])
    loss = mlld_loss(student, teacher, correlation=0.0)
    (gradient,) = torch.autograd.grad(mlld_loss(student, teacher), student)
    assert loss.item() == pytest.approx(2e4 * (2 + 3 + 4 + 5 + 6))
    assert gradient.isfinite().all()


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_weight_is_the_share_of_the_teacher(
    student: Tensor, teacher: Tensor, labels: Tensor, weight: float
) -> None:
    found = MLLD(2.0, weight, 0.5).loss(Outputs(student), Outputs(teacher), BatchContext(labels, labels))
    expected = (1 - weight) * F.cross_entropy(student, labels) + weight * mlld_loss(student, teacher, 2.0, 0.5)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["temperature", "correlation"])
def test_negative_and_infinite_settings_are_rejected(name: str) -> None:
    for value in (-1.0, math.inf):
        with pytest.raises(InputError, match=f"{name} < inf` must hold, but got {name}="):
            MLLD(**{name: value})


@pytest.mark.parametrize("weight", [-0.1, 1.1])
def test_a_weight_must_be_a_share(weight: float) -> None:
    with pytest.raises(InputError, match="`0 <= weight <= 1` must hold, but got weight="):
        MLLD(weight=weight)
