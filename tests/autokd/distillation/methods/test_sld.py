import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autokd.distillation import BatchContext, Outputs
from autokd.distillation.methods.sld import SLD, self_swap_loss, sld_loss, swapped
from autokd.errors import InputError


def swapped_slowly(row: list[float], label: int) -> list[float]:
    row, best = list(row), row.index(max(row))
    row[label], row[best] = row[best], row[label]
    return row


def divergence_slowly(teacher: list[float], student: list[float], temperature: float) -> float:
    rows = [[math.exp(value / temperature) for value in row] for row in (teacher, student)]
    p, q = ([power / sum(row) for power in row] for row in rows)
    return temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def sld_slowly(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, with_self: bool) -> float:
    total = 0.0
    for s, t, label in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        for level in (temperature / 4 * k for k in range(1, 7)):
            total += divergence_slowly(swapped_slowly(t, label), s, level)
            total += divergence_slowly(swapped_slowly(s, label), s, level) if with_self else 0
    return total / len(student)


@pytest.mark.parametrize("temperature", [1.0, 4.0, 10.0])
@pytest.mark.parametrize("with_self", [False, True])
def test_sld_equals_a_loop_over_temperatures(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, with_self: bool
) -> None:
    found = sld_loss(student, teacher, labels, temperature, with_self).item()
    assert found == pytest.approx(sld_slowly(student, teacher, labels, temperature, with_self), abs=1e-9)


def test_swapped_logits_are_all_right_and_the_same_values(teacher: Tensor, labels: Tensor) -> None:
    found = swapped(teacher, labels)
    assert found.argmax(1).equal(labels)
    assert found.sort(1).values.equal(teacher.sort(1).values)


def test_right_logits_are_not_changed(teacher: Tensor) -> None:
    assert swapped(teacher, teacher.argmax(1)).equal(teacher)


def test_a_student_that_is_right_has_nothing_to_learn_from_itself(student: Tensor) -> None:
    loss = self_swap_loss(student.requires_grad_(), student.argmax(1), 2.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == 0
    assert float(gradient.abs().max()) == 0


@pytest.mark.parametrize("with_self", [False, True])
def test_the_gradient_passes_gradcheck_for_students_and_temperatures(
    student: Tensor, teacher: Tensor, labels: Tensor, with_self: bool
) -> None:
    temperatures = torch.linspace(1, 7, 7, dtype=torch.float64).unsqueeze(1)
    inputs = student.requires_grad_(), temperatures.requires_grad_()
    assert torch.autograd.gradcheck(lambda s, t: sld_loss(s, teacher, labels, t, with_self), inputs)


def test_each_sample_can_have_its_own_temperature(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    temperatures = torch.linspace(1, 7, 7, dtype=torch.float64).unsqueeze(1)
    rows = [sld_loss(student[k : k + 1], teacher[k : k + 1], labels[k : k + 1], k + 1) for k in range(7)]
    torch.testing.assert_close(sld_loss(student, teacher, labels, temperatures), torch.stack(rows).mean())


@pytest.mark.parametrize(("progress", "with_self"), [(0.0, False), (0.59, False), (0.6, True), (0.99, True)])
def test_the_students_own_logits_teach_in_the_last_part_of_training(
    student: Tensor, teacher: Tensor, labels: Tensor, progress: float, with_self: bool
) -> None:
    context = BatchContext(labels, labels, progress=progress)
    found = SLD(2.0, weight=0.7, since=0.6).loss(Outputs(student), Outputs(teacher), context)
    expected = 0.3 * F.cross_entropy(student, labels) + 0.7 * sld_loss(student, teacher, labels, 2.0, with_self)
    torch.testing.assert_close(found, expected)


def test_settings_out_of_range_are_rejected() -> None:
    for name, value in (("temperature", 0.0), ("weight", 1.5), ("since", -0.1)):
        with pytest.raises(InputError, match=f"must hold, but got {name}={value}"):
            SLD(**{name: value})
