import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autokd.distillation import BatchContext, Outputs, kd_loss
from autokd.distillation.methods.abkd import ABKD, abkd_loss
from autokd.errors import InputError

GENERAL = [(0.8, 0.3), (0.3, 0.8), (1.0, 1.0), (2.0, -0.5), (-0.5, 1.5)]
LIMITS = [(0.7, 0.0), (0.0, 0.7), (0.5, -0.5), (-0.5, 0.5), (0.0, 0.0)]


def term_slowly(p: float, q: float, alpha: float, beta: float) -> float:
    """A class's term of the divergence, by its five cases in Cichocki et al. 2011."""
    if alpha == beta == 0:
        return (math.log(p) - math.log(q)) ** 2 / 2
    if beta == 0:
        return (p**alpha * math.log(p**alpha / q**alpha) - p**alpha + q**alpha) / alpha**2
    if alpha == 0:
        return (q**beta * math.log(q**beta / p**beta) - q**beta + p**beta) / beta**2
    if alpha == -beta:
        return (math.log(q**alpha / p**alpha) + p**alpha / q**alpha - 1) / alpha**2
    both = alpha + beta
    return -(p**alpha * q**beta - alpha / both * p**both - beta / both * q**both) / (alpha * beta)


def abkd_slowly(student: Tensor, teacher: Tensor, temperature: float, alpha: float, beta: float) -> float:
    total = 0.0
    for rows in zip(teacher.tolist(), student.tolist(), strict=True):
        powers = [[math.exp(value / temperature) for value in row] for row in rows]
        p, q = ([power / sum(row) for power in row] for row in powers)
        total += sum(term_slowly(*pair, alpha, beta) for pair in zip(p, q, strict=True))
    return temperature**2 * total / len(student)


@pytest.mark.parametrize(("alpha", "beta"), GENERAL + LIMITS)
def test_the_loss_equals_a_loop_over_the_five_cases(
    student: Tensor, teacher: Tensor, alpha: float, beta: float
) -> None:
    for temperature in (1.0, 4.0):
        expected = abkd_slowly(student, teacher, temperature, alpha, beta)
        assert abkd_loss(student, teacher, temperature, alpha, beta).item() == pytest.approx(expected, rel=1e-9)


def test_1_and_0_is_the_forward_and_0_and_1_the_reverse_divergence(student: Tensor, teacher: Tensor) -> None:
    forward, reverse = kd_loss(student, teacher, 3.0), kd_loss(teacher, student, 3.0)
    torch.testing.assert_close(abkd_loss(student, teacher, 3.0, 1.0, 0.0), forward, rtol=1e-12, atol=0)
    torch.testing.assert_close(abkd_loss(student, teacher, 3.0, 0.0, 1.0), reverse, rtol=1e-12, atol=0)


def test_1_and_1_is_half_of_the_squared_distance(student: Tensor, teacher: Tensor) -> None:
    expected = (student.softmax(1) - teacher.softmax(1)).square().sum(1).mean() / 2
    torch.testing.assert_close(abkd_loss(student, teacher, 1.0, 1.0, 1.0), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("alpha", "beta"), [*LIMITS, (0.5, 0.5)])
def test_loss_and_gradient_are_continuous(student: Tensor, teacher: Tensor, alpha: float, beta: float) -> None:
    student.requires_grad_()

    def loss_and_gradient(alpha: float, beta: float) -> tuple[Tensor, Tensor]:
        loss = abkd_loss(student, teacher, 2.0, alpha, beta)
        return loss.detach(), torch.autograd.grad(loss, student)[0]

    at = loss_and_gradient(alpha, beta)
    for step in (1e-6, 1e-4):
        for direction in ((1, 0), (0, 1), (-1, 0), (0, -1), (1, 1)):
            near = loss_and_gradient(alpha + step * direction[0], beta + step * direction[1])
            torch.testing.assert_close(near, at, rtol=30 * step, atol=100 * step)


@pytest.mark.parametrize(("alpha", "beta"), [(1e-7, 1.0), (1.0, 1e-7), (0.7, 1e-5), (1e-5, 0.7)])
def test_near_a_limit_single_precision_is_enough(student: Tensor, teacher: Tensor, alpha: float, beta: float) -> None:
    found = abkd_loss(student.float(), teacher.float(), 2.0, alpha, beta).double()
    torch.testing.assert_close(found, abkd_loss(student, teacher, 2.0, alpha, beta), rtol=1e-5, atol=0)


def test_exchanging_networks_and_exponents_changes_nothing(student: Tensor, teacher: Tensor) -> None:
    exchanged = abkd_loss(teacher, student, 2.0, 0.3, 0.8)
    torch.testing.assert_close(abkd_loss(student, teacher, 2.0, 0.8, 0.3), exchanged)


@pytest.mark.parametrize(("alpha", "beta"), GENERAL + LIMITS)
def test_the_loss_is_smallest_for_a_student_that_equals_the_teacher(
    student: Tensor, teacher: Tensor, alpha: float, beta: float
) -> None:
    assert abkd_loss(student, teacher, 4.0, alpha, beta) > 0
    loss = abkd_loss(student.requires_grad_(), student.detach(), 4.0, alpha, beta)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == 0
    assert float(gradient.abs().max()) < 1e-12


@pytest.mark.parametrize(("alpha", "beta"), GENERAL + LIMITS)
def test_the_gradient_passes_gradcheck_for_students_and_temperatures(
    student: Tensor, teacher: Tensor, alpha: float, beta: float
) -> None:
    temperatures = torch.linspace(1, 7, 7, dtype=torch.float64).unsqueeze(1)
    inputs = student.requires_grad_(), temperatures.requires_grad_()
    assert torch.autograd.gradcheck(lambda s, t: abkd_loss(s, teacher, t, alpha, beta), inputs)


def test_the_weight_of_the_labels_is_1(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    found = ABKD(2.0, 0.5, 0.6, 3.0).loss(Outputs(student), Outputs(teacher), BatchContext(labels, labels))
    expected = F.cross_entropy(student, labels) + 3 * abkd_loss(student, teacher, 2.0, 0.5, 0.6)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["temperature", "alpha", "beta", "weight"])
def test_negative_and_infinite_settings_are_rejected(name: str) -> None:
    for value in (-1.0, math.inf):
        with pytest.raises(InputError, match=f"{name} < inf` must hold, but got {name}="):
            ABKD(**{name: value})
