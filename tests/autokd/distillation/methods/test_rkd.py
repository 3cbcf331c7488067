import math
from itertools import product

import pytest
import torch
from torch import Tensor

from autokd.distillation import BatchContext, Outputs
from autokd.distillation.methods.rkd import RKD, angle_loss, angles, distance_loss, relative_distances
from autokd.errors import InputError

CONTEXT = BatchContext(torch.tensor([0, 2, 1, 0, 1]), torch.arange(5))
LOSSES = [distance_loss, angle_loss]


@pytest.fixture
def student() -> Tensor:
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def teacher() -> Tensor:
    return 4 * torch.randn(5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def huber_slowly(a: float, b: float) -> float:
    difference = abs(a - b)
    return difference**2 / 2 if difference < 1 else difference - 0.5


def relative_distances_slowly(points: list[list[float]]) -> list[float]:
    distances = [math.dist(a, b) for a, b in product(points, points)]
    mean = sum(distances) / (len(points) * (len(points) - 1))
    return [distance / mean for distance in distances]


def angles_slowly(points: list[list[float]]) -> list[float]:
    cosines = []
    for vertex, a, b in product(points, points, points):
        one, two = ([x - o for x, o in zip(point, vertex, strict=True)] for point in (a, b))
        lengths = math.hypot(*one) * math.hypot(*two)
        cosines.append(sum(x * y for x, y in zip(one, two, strict=True)) / lengths if lengths else 0.0)
    return cosines


def rotation(width: int) -> Tensor:
    matrix = torch.randn(width, width, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return torch.linalg.qr(matrix).Q


def test_the_loss_on_distances_equals_a_loop_over_pairs(student: Tensor, teacher: Tensor) -> None:
    own, other = (relative_distances_slowly(points.tolist()) for points in (student, teacher))
    expected = sum(map(huber_slowly, own, other)) / 5**2
    assert float(distance_loss(student, teacher)) == pytest.approx(expected, abs=1e-9)


def test_the_loss_on_angles_equals_a_loop_over_triples(student: Tensor, teacher: Tensor) -> None:
    own, other = (angles_slowly(points.tolist()) for points in (student, teacher))
    expected = sum(map(huber_slowly, own, other)) / 5**3
    assert float(angle_loss(student, teacher)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_passes_gradcheck(loss, student: Tensor, teacher: Tensor) -> None:
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher), student.requires_grad_())


@pytest.mark.parametrize("loss", LOSSES)
def test_translation_rotation_and_scale_have_no_effect(loss, student: Tensor, teacher: Tensor) -> None:
    moved = loss(0.1 * student @ rotation(3) + 5, 30 * teacher @ rotation(6) - 2)
    torch.testing.assert_close(moved, loss(student, teacher))


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_of_equal_relations_in_another_width_is_zero(loss, teacher: Tensor) -> None:
    student = torch.cat([3 * teacher, torch.zeros(5, 2, dtype=torch.float64)], dim=1).requires_grad_()
    value = loss(student, teacher)
    assert value.item() < 1e-15
    assert float(torch.autograd.grad(value, student)[0].abs().max()) < 1e-12


def test_the_mean_relative_distance_of_two_samples_is_one(student: Tensor) -> None:
    assert float(relative_distances(student).sum()) == pytest.approx(5 * 4)


def test_a_right_angle_and_a_straight_one_have_their_cosines() -> None:
    corner = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 5.0], [-1.0, 0.0]])
    assert angles(corner)[0, 1].tolist() == pytest.approx([0, 1, 0, -1])


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("n", [1, 2])
def test_the_loss_of_a_batch_too_small_for_relations_is_zero_with_a_gradient(loss, n: int, student: Tensor) -> None:
    few = student[:n].clone().requires_grad_()
    value = loss(few, 2 * student[:n])
    assert value.item() == 0
    assert torch.autograd.grad(value, few)[0].tolist() == [[0.0] * 3] * n


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_samples_have_no_gradient(loss, teacher: Tensor) -> None:
    student = torch.ones(5, 3, dtype=torch.float64, requires_grad=True)
    value = loss(student, teacher)
    assert value.isfinite()
    assert float(torch.autograd.grad(value, student)[0].abs().max()) == 0


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("apart", [0.0, 1e-7])
def test_nearly_equal_samples_of_the_student_have_a_bounded_gradient(
    loss, apart: float, student: Tensor, teacher: Tensor
) -> None:
    twins = student.float()
    twins[1] = twins[0] + apart
    twins.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(twins, teacher.float()), twins)
    assert 0 < float(gradient.abs().max()) < 1


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_samples_of_the_teacher_have_a_finite_loss(loss, student: Tensor, teacher: Tensor) -> None:
    teacher[1] = teacher[0]
    assert loss(student, teacher).isfinite()


def test_the_method_is_the_weighted_sum_of_both_losses(student: Tensor, teacher: Tensor) -> None:
    logits = torch.zeros(5, 3)
    found = RKD(2.0, 3.0).teacher_loss(Outputs(logits, student), Outputs(logits, teacher), CONTEXT)
    torch.testing.assert_close(found, 2 * distance_loss(student, teacher) + 3 * angle_loss(student, teacher))


def test_a_teacher_without_an_embedding_is_rejected(student: Tensor) -> None:
    logits = torch.zeros(5, 3)
    with pytest.raises(InputError, match="the teacher has none"):
        RKD().prepare(Outputs(logits, student), Outputs(logits), CONTEXT.labels)


@pytest.mark.parametrize("name", ["distance_weight", "angle_weight"])
@pytest.mark.parametrize("weight", [-1.0, math.inf, math.nan])
def test_a_weight_must_not_be_negative(name: str, weight: float) -> None:
    with pytest.raises(InputError, match=f"`0 <= {name} < inf` must hold"):
        RKD(**{name: weight})
