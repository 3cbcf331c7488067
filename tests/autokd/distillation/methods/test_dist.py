import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autokd.distillation import BatchContext, Outputs
from autokd.distillation.methods.dist import DIST, correlation, dist_loss
from autokd.errors import InputError

TEMPERATURES = [0.5, 1.0, 4.0, 10.0]


def softmax_slowly(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def correlation_slowly(x: list[float], y: list[float], epsilon: float = 1e-10) -> float:
    n, mean_x, mean_y = len(x), sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / n
    variances = [sum((a - mean) ** 2 for a in values) / n for values, mean in ((x, mean_x), (y, mean_y))]
    return covariance / math.sqrt((variances[0] + epsilon) * (variances[1] + epsilon))


def mean_distance_slowly(student: list[list[float]], teacher: list[list[float]]) -> float:
    return sum(1 - correlation_slowly(s, t) for s, t in zip(student, teacher, strict=True)) / len(student)


def dist_slowly(student: Tensor, teacher: Tensor, temperature: float, beta: float, gamma: float) -> float:
    rows = [[softmax_slowly(row, temperature) for row in logits.tolist()] for logits in (student, teacher)]
    columns = [list(map(list, zip(*network, strict=True))) for network in rows]
    return temperature**2 * (beta * mean_distance_slowly(*rows) + gamma * mean_distance_slowly(*columns))


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize(("beta", "gamma"), [(1.0, 0.0), (0.0, 1.0), (2.0, 3.0)])
def test_dist_equals_a_loop_over_rows_and_columns(
    student: Tensor, teacher: Tensor, temperature: float, beta: float, gamma: float
) -> None:
    found = float(dist_loss(student, teacher, temperature, beta, gamma))
    assert found == pytest.approx(dist_slowly(student, teacher, temperature, beta, gamma), abs=1e-9)


def test_the_correlation_is_pearsons(student: Tensor, teacher: Tensor) -> None:
    expected = [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(student, teacher, strict=True)]
    found = correlation(student, teacher, dim=1, epsilon=0.0).squeeze(1)
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dim", [0, 1])
def test_a_positive_affine_map_of_a_rows_probabilities_changes_nothing(
    student: Tensor, teacher: Tensor, dim: int
) -> None:
    x, y = student.softmax(1), teacher.softmax(1)
    generator = torch.Generator().manual_seed(2)
    scale, shift = torch.rand(2, *x.mean(dim, keepdim=True).shape, generator=generator, dtype=torch.float64)
    found = correlation((scale + 0.1) * x + shift, y, dim, epsilon=0.0)
    torch.testing.assert_close(found, correlation(x, y, dim, epsilon=0.0), rtol=0, atol=1e-12)
    torch.testing.assert_close(correlation(-x, y, dim, epsilon=0.0), -found, rtol=0, atol=1e-12)


def test_a_constant_correlates_with_nothing_and_has_a_bounded_gradient(teacher: Tensor) -> None:
    constant = torch.full_like(teacher, 0.2).requires_grad_()
    found = correlation(constant, teacher.softmax(1), dim=1)
    (gradient,) = torch.autograd.grad(found.sum(), constant)
    assert found.abs().max().item() < 1e-9
    assert float(gradient.abs().max()) < 1e5  # at most 1 over the root of the smallest variance


def test_the_loss_of_a_student_that_equals_the_teacher_is_zero(student: Tensor) -> None:
    student.requires_grad_()
    loss = dist_loss(student, student.detach(), 4.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert abs(loss.item()) < 1e-4
    assert float(gradient.abs().max()) < 1e-4


def test_the_loss_of_an_opposite_student_is_maximal() -> None:
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], dtype=torch.float64)
    assert float(dist_loss(logits, -logits, 1.0, 1.0, 0.0)) == pytest.approx(2)
    assert float(dist_loss(logits, -logits, 1.0, 0.0, 1.0)) == pytest.approx(2)


def test_the_correlation_of_classes_is_a_mean_over_the_batch(student: Tensor, teacher: Tensor) -> None:
    rows = [dist_loss(student[k : k + 1], teacher[k : k + 1], 4.0, gamma=0.0) for k in range(7)]
    torch.testing.assert_close(dist_loss(student, teacher, 4.0, gamma=0.0), torch.stack(rows).mean())


@pytest.mark.parametrize("n", [2, 5])
def test_a_batch_repeated_as_a_whole_has_the_same_loss(student: Tensor, teacher: Tensor, n: int) -> None:
    repeated = dist_loss(student.repeat(n, 1), teacher.repeat(n, 1), 4.0)
    torch.testing.assert_close(repeated, dist_loss(student, teacher, 4.0), rtol=0, atol=1e-12)


def test_the_order_of_samples_and_of_classes_does_not_matter(student: Tensor, teacher: Tensor) -> None:
    mixed = dist_loss(student.flip(0, 1), teacher.flip(0, 1), 4.0)
    torch.testing.assert_close(mixed, dist_loss(student, teacher, 4.0), rtol=0, atol=1e-12)


def test_intra_of_a_batch_of_one_has_no_gradient(student: Tensor, teacher: Tensor) -> None:
    one = student[:1].requires_grad_()
    loss = dist_loss(one, teacher[:1], 1.0, beta=0.0, gamma=1.0)
    (gradient,) = torch.autograd.grad(loss, one)
    assert loss.item() == 1
    assert float(gradient.abs().max()) == 0


def test_each_sample_can_have_its_own_temperature(student: Tensor, teacher: Tensor) -> None:
    temperatures = torch.linspace(1, 7, 7, dtype=torch.float64).unsqueeze(1)
    rows = [dist_loss(student[k : k + 1], teacher[k : k + 1], k + 1, gamma=0.0) for k in range(7)]
    found = dist_loss(student, teacher, temperatures, gamma=0.0)
    torch.testing.assert_close(found, torch.stack(rows).mean())


def test_the_correlation_of_samples_is_scaled_by_their_mean_square_temperature(
    student: Tensor, teacher: Tensor
) -> None:
    temperatures = torch.linspace(1, 7, 7, dtype=torch.float64).unsqueeze(1)
    found = dist_loss(student, teacher, temperatures, beta=0.0)
    expected = 20 * dist_loss(student / temperatures, teacher / temperatures, 1.0, beta=0.0)
    torch.testing.assert_close(found, expected)


def test_the_same_temperature_for_all_samples_is_one_temperature(student: Tensor, teacher: Tensor) -> None:
    same = dist_loss(student, teacher, torch.full((7, 1), 3.0, dtype=torch.float64))
    torch.testing.assert_close(same, dist_loss(student, teacher, 3.0), rtol=0, atol=1e-12)


def test_the_gradient_passes_gradcheck_for_students_and_temperatures(student: Tensor, teacher: Tensor) -> None:
    temperatures = torch.linspace(1, 7, 7, dtype=torch.float64).unsqueeze(1)
    inputs = student.requires_grad_(), temperatures.requires_grad_()
    assert torch.autograd.gradcheck(lambda s, t: dist_loss(s, teacher, t), inputs)


def test_no_gradient_flows_into_the_teacher(student: Tensor, teacher: Tensor) -> None:
    dist_loss(student.requires_grad_(), teacher.requires_grad_(), 4.0).backward()
    assert teacher.grad is None


def test_a_thousand_softened_classes_keep_their_correlation() -> None:
    generator = torch.Generator().manual_seed(3)
    student, teacher = 2 * torch.randn(2, 64, 1000, generator=generator, dtype=torch.float64)
    probabilities = (student / 10).softmax(1), (teacher / 10).softmax(1)
    exact = correlation(*probabilities, dim=0, epsilon=0.0)
    torch.testing.assert_close(correlation(*probabilities, dim=0), exact, rtol=0.01, atol=0)


def test_the_weight_of_the_labels_is_1(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    found = DIST(2.0, 0.5, 3.0).loss(Outputs(student), Outputs(teacher), BatchContext(labels, labels))
    torch.testing.assert_close(found, F.cross_entropy(student, labels) + dist_loss(student, teacher, 2.0, 0.5, 3.0))


@pytest.mark.parametrize("name", ["temperature", "beta", "gamma"])
def test_negative_and_infinite_settings_are_rejected(name: str) -> None:
    for value in (-1.0, math.inf):
        with pytest.raises(InputError, match=f"{name} < inf` must hold, but got {name}="):
            DIST(**{name: value})
