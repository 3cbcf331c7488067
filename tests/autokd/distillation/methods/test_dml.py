import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autokd.distillation import BatchContext, Outputs, make_method
from autokd.distillation.methods.dml import DML
from autokd.errors import InputError


@pytest.fixture
def companions() -> list[Tensor]:
    return [
        3 * torch.randn(7, 5, generator=torch.Generator().manual_seed(number), dtype=torch.float64) for number in (2, 3)
    ]


def context(labels: Tensor, companions: list[Tensor], progress: float = 0.0) -> BatchContext:
    return BatchContext(labels, torch.arange(7), progress=progress, companions=tuple(map(Outputs, companions)))


def divergence(target: Tensor, own: Tensor) -> float:
    """KL(target || own), averaged over the batch, as a loop."""
    pairs = zip(target.softmax(1).tolist(), own.softmax(1).tolist(), strict=True)
    return sum(p * math.log(p / q) for ps, qs in pairs for p, q in zip(ps, qs, strict=True)) / len(target)


def test_the_loss_is_that_of_all_networks_as_a_loop(
    student: Tensor, teacher: Tensor, labels: Tensor, companions: list[Tensor]
) -> None:
    networks = [student, *companions]
    expected = sum(F.cross_entropy(each, labels).item() for each in networks)
    expected += 0.7 / 2 * sum(divergence(a, b) for a, b in product(networks, networks) if a is not b)
    found = DML(peers=2, weight=0.7).loss(Outputs(student), Outputs(teacher), context(labels, companions))
    assert found.item() == pytest.approx(expected, abs=1e-9)


def test_a_network_learns_from_the_others_as_they_are(
    student: Tensor, teacher: Tensor, labels: Tensor, companions: list[Tensor]
) -> None:
    (companion, _), student = companions, student.requires_grad_()
    loss = DML(weight=0.5).loss(Outputs(student), Outputs(teacher), context(labels, [companion]))
    (gradient,) = torch.autograd.grad(loss, student)
    own = F.cross_entropy(student, labels) + 0.5 * F.kl_div(
        student.log_softmax(1), companion.softmax(1), reduction="batchmean"
    )
    torch.testing.assert_close(gradient, torch.autograd.grad(own, student)[0])


def test_only_networks_that_are_not_much_worse_than_the_teacher_teach(
    student: Tensor, teacher: Tensor, labels: Tensor
) -> None:
    right, wrong = 9 * F.one_hot(labels, 5).double(), 9 * F.one_hot((labels + 1) % 5, 5).double()
    method = DML(gate=0.1)
    found = method.loss(Outputs(right), Outputs(right), context(labels, [wrong]))
    errors = F.cross_entropy(right, labels) + F.cross_entropy(wrong, labels)
    assert found.item() == pytest.approx(errors.item() + divergence(right, wrong))
    both = method.loss(Outputs(right), Outputs(wrong), context(labels, [wrong]))
    assert both.item() == pytest.approx(errors.item() + divergence(right, wrong) + divergence(wrong, right))


@pytest.mark.parametrize(("fade", "factor"), [(0.0, 1.0), (1.0, 0.75), (2.0, 1 - 0.25**2)])
def test_what_they_teach_each_other_fades(
    student: Tensor, teacher: Tensor, labels: Tensor, companions: list[Tensor], fade: float, factor: float
) -> None:
    outputs, moment = (Outputs(student), Outputs(teacher)), context(labels, companions[:1], progress=0.25)
    alone = F.cross_entropy(student, labels) + F.cross_entropy(companions[0], labels)
    full = DML().loss(*outputs, moment) - alone
    assert (DML(fade=fade).loss(*outputs, moment) - alone).item() == pytest.approx(factor * full.item())


def test_joined_with_kd_the_student_learns_from_the_teacher_too(
    student: Tensor, teacher: Tensor, labels: Tensor, companions: list[Tensor]
) -> None:
    moment, outputs = context(labels, companions[:1]), (Outputs(student), Outputs(teacher))
    joined = make_method("kd+dml").loss(*outputs, moment)
    parts = make_method("kd").loss(*outputs, moment) + DML().teacher_loss(*outputs, moment)
    torch.testing.assert_close(joined, parts)


@pytest.mark.parametrize("settings", [{"peers": 0}, {"weight": -1.0}, {"gate": 0.0}, {"fade": -1.0}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        DML(**settings)  # type: ignore[arg-type]
