import math
from itertools import combinations
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autokd.distillation import BatchContext, Outputs, kd_loss
from autokd.distillation.methods.ldrld import LDRLD, ldrld_loss, pair_weights
from autokd.errors import InputError


def divergence_slowly(
    teacher: list[float], student: list[float], classes: tuple[int, ...], temperature: float
) -> float:
    powers = [[math.exp(row[k] / temperature) for k in classes] for row in (teacher, student)]
    p, q = ([power / sum(row) for power in row] for row in powers)
    return temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def ldrld_slowly(student: Tensor, teacher: Tensor, temperature: float, depth: int, alpha: float, beta: float) -> float:
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        order = sorted(range(len(s)), key=lambda k: -s[k])
        best, others = tuple(order[:depth]), tuple(order[depth:])
        local = divergence_slowly(t, s, best, temperature)
        for i, j in combinations(range(len(best)), 2):
            weight = 2 / (1.5 + j - i) * math.exp(-0.05 * (i + 1 + j + 1))
            local += weight * divergence_slowly(t, s, (best[i], best[j]), temperature)
        total += alpha * local / (math.comb(len(best), 2) + 1)
        total += beta * divergence_slowly(t, s, others, temperature) if others else 0
    return total / len(student)


@pytest.mark.parametrize("temperature", [0.5, 4.0])
@pytest.mark.parametrize("depth", [2, 3, 4, 5, 7])
def test_the_loss_equals_a_loop_over_pairs(student: Tensor, teacher: Tensor, temperature: float, depth: int) -> None:
    for alpha, beta in ((1.0, 0.0), (0.0, 1.0), (10.5, 7.0)):
        found = ldrld_loss(student, teacher, temperature, depth, alpha, beta).item()
        assert found == pytest.approx(ldrld_slowly(student, teacher, temperature, depth, alpha, beta), rel=1e-9)


def test_with_two_classes_the_pair_and_both_together_are_kd(student: Tensor, teacher: Tensor) -> None:
    pair = student[:, :2], teacher[:, :2]
    weight = 2 / 2.5 * math.exp(-0.15)
    torch.testing.assert_close(ldrld_loss(*pair, 4.0, 7, 1.0, 1.0), (weight + 1) / 2 * kd_loss(*pair, 4.0))


def test_better_and_closer_ranks_have_larger_weights() -> None:
    best, close, far = pair_weights(torch.tensor([1.0, 3.0, 1.0]), torch.tensor([2.0, 4.0, 6.0])).tolist()
    assert best > close > far


def test_classes_outside_of_the_best_do_not_matter_to_the_local_relations(student: Tensor, teacher: Tensor) -> None:
    worst = student.argsort(1)[:, :2]
    changed = teacher.scatter(1, worst, 7.0)
    found = ldrld_loss(student, changed, 4.0, 3, 1.0, 0.0)
    torch.testing.assert_close(found, ldrld_loss(student, teacher, 4.0, 3, 1.0, 0.0), rtol=0, atol=0)


def test_the_loss_of_a_student_that_equals_the_teacher_is_zero(student: Tensor) -> None:
    loss = ldrld_loss(student.requires_grad_(), student.detach())
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == 0
    assert float(gradient.abs().max()) < 1e-12


def test_each_sample_can_have_its_own_temperature(student: Tensor, teacher: Tensor) -> None:
    temperatures = torch.linspace(1, 7, 7, dtype=torch.float64).unsqueeze(1)
    rows = [ldrld_loss(student[k : k + 1], teacher[k : k + 1], k + 1, 3) for k in range(7)]
    torch.testing.assert_close(ldrld_loss(student, teacher, temperatures, 3), torch.stack(rows).mean())


@pytest.mark.parametrize("depth", [3, 7])
def test_the_gradient_passes_gradcheck_for_students_and_temperatures(
    student: Tensor, teacher: Tensor, depth: int
) -> None:
    temperatures = torch.linspace(1, 7, 7, dtype=torch.float64).unsqueeze(1)
    inputs = student.requires_grad_(), temperatures.requires_grad_()
    assert torch.autograd.gradcheck(lambda s, t: ldrld_loss(s, teacher, t, depth), inputs)


def test_the_weight_of_the_labels_is_1(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    found = LDRLD(2.0, 3, 0.5, 0.6).loss(Outputs(student), Outputs(teacher), BatchContext(labels, labels))
    expected = F.cross_entropy(student, labels) + ldrld_loss(student, teacher, 2.0, 3, 0.5, 0.6)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["temperature", "alpha", "beta"])
def test_negative_and_infinite_settings_are_rejected(name: str) -> None:
    for value in (-1.0, math.inf):
        settings: dict[str, Any] = {name: value}
        with pytest.raises(InputError, match=f"{name} < inf` must hold, but got {name}="):
            LDRLD(**settings)


@pytest.mark.parametrize("depth", [1, math.nan])
def test_a_depth_without_a_pair_is_rejected(depth: Any) -> None:
    with pytest.raises(InputError, match="`depth` must be a whole number of at least 2, but got depth="):
        LDRLD(depth=depth)
