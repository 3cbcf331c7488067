import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import SGD

from autokd.distillation import KD, BatchContext, Outputs, kd_loss
from autokd.distillation.wrappers.ctkd import CTKD, curriculum, reverse_gradient
from autokd.distillation.wrappers.standardise import Standardised, standardised
from autokd.errors import InputError
from autokd.testing.methods import MethodConformance

# Numbers of epochs, from 1, and the strength of the gradient reversal in them.
STRENGTHS = {1: (1 - math.cos(math.pi / 10)) / 2, 5: 0.5, 10: 1.0, 11: 1.0, 200: 1.0}
FORMS = ["global", "instance"]
START = 1 + 20 / (1 + math.exp(-1))


class TestAroundAnother(MethodConformance):
    method = CTKD

    def make(self, **settings):
        return CTKD(Standardised(KD()), **settings)


def context_at(epoch: float = 0.0) -> BatchContext:
    return BatchContext(torch.arange(7) % 5, torch.arange(7), epoch=epoch)


def prepared(student: Tensor, teacher: Tensor, form: str = "global", inner: KD | Standardised | None = None) -> CTKD:
    """A method whose temperatures differ between samples if its form allows it."""
    method = CTKD(inner or KD(weight=1.0), form)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        method.prepare(Outputs(student), Outputs(teacher), context_at().labels)
        if form == "instance":
            torch.nn.init.normal_(method.theta.last.weight)  # type: ignore[arg-type]
    return method


def temperature_slope_slowly(s: list[float], t: list[float], temperature: float) -> float:
    """`d/dt t^2 KL(p_T^t || p_S^t)` of one row, by `2 t KL + E_T[S] - E_S[S] - Cov_T(T, T - S) / t`."""
    p_student, p_teacher = (softmax_slowly(row, temperature) for row in (s, t))
    divergence = sum(b * math.log(b / a) for a, b in zip(p_student, p_teacher, strict=True))
    mean_t, mean_s = (sum(p * z for p, z in zip(p_teacher, row, strict=True)) for row in (t, s))
    covariance = sum(p * (b - mean_t) * ((b - a) - (mean_t - mean_s)) for p, a, b in zip(p_teacher, s, t, strict=True))
    students_mean = sum(p * z for p, z in zip(p_student, s, strict=True))
    return 2 * temperature * divergence + mean_s - students_mean - covariance / temperature


def softmax_slowly(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize(("epoch", "strength"), STRENGTHS.items())
def test_the_curriculum_at_named_epochs(epoch: int, strength: float) -> None:
    assert curriculum(epoch, 10) == pytest.approx(strength, abs=1e-15)


def test_the_curriculum_grows_to_the_end_of_the_warmup() -> None:
    strengths = [curriculum(epoch, 5) for epoch in range(1, 8)]
    assert strengths[:5] == sorted(set(strengths))
    assert strengths[4:] == [1.0, 1.0, 1.0]


def test_reversal_does_not_change_the_value(student: Tensor) -> None:
    student.requires_grad_()
    reversed_ = reverse_gradient(student, 0.25)
    (gradient,) = torch.autograd.grad((reversed_**2).sum(), student)
    assert torch.equal(reversed_, student)
    torch.testing.assert_close(gradient, -0.5 * student.detach())


@pytest.mark.parametrize("form", FORMS)
def test_the_first_temperature(student: Tensor, teacher: Tensor, form: str) -> None:
    method = CTKD(KD(), form)
    method.prepare(Outputs(student), Outputs(teacher), context_at().labels)
    temperature = method.learnt_temperature(student, teacher, context_at())
    assert temperature.shape == (() if form == "global" else (7, 1))
    torch.testing.assert_close(temperature, torch.full_like(temperature, START))
    assert pytest.approx(15.62, abs=0.005) == START


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_temperatures_lie_between_1_and_21(student: Tensor, teacher: Tensor, scale: float) -> None:
    method = prepared(student, teacher, "instance")
    temperature = method.learnt_temperature(scale * student, scale * teacher, context_at()).detach()
    assert len(temperature.unique()) > 1
    assert float(temperature.min()) >= 1
    assert float(temperature.max()) <= 21


@pytest.mark.parametrize(("epoch", "strength"), STRENGTHS.items())
@pytest.mark.parametrize("within", [0.0, 0.99])
def test_thetas_gradient_is_reversed(
    student: Tensor, teacher: Tensor, epoch: int, strength: float, within: float
) -> None:
    method = prepared(student, teacher)
    loss = method.teacher_loss(Outputs(student), Outputs(teacher), context_at(epoch - 1 + within))
    (gradient,) = torch.autograd.grad(loss, list(method.parameters()))
    pairs = zip(student.tolist(), teacher.tolist(), strict=True)
    slope = sum(temperature_slope_slowly(s, t, START) for s, t in pairs) / 7
    sigmoid = 1 / (1 + math.exp(-1))
    assert float(gradient) == pytest.approx(-strength * slope * 20 * sigmoid * (1 - sigmoid), abs=1e-9)


def test_the_instances_network_gets_the_reversed_gradient(student: Tensor, teacher: Tensor) -> None:
    method = prepared(student, teacher, "instance")
    parameters = list(method.parameters())
    loss = method.teacher_loss(Outputs(student), Outputs(teacher), context_at(4.0))
    plain = kd_loss(student, teacher, 1 + 20 * method.theta(student, teacher).sigmoid())
    assert len(parameters) == 4
    pairs = zip(torch.autograd.grad(loss, parameters), torch.autograd.grad(plain, parameters), strict=True)
    for reversed_, gradient in pairs:
        assert gradient.abs().max() > 0
        torch.testing.assert_close(reversed_, -0.5 * gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("epoch", [0.0, 9.0])
def test_the_students_gradient_is_that_of_a_fixed_temperature(
    student: Tensor, teacher: Tensor, form: str, epoch: float
) -> None:
    method = prepared(student, teacher, form)
    temperature = method.learnt_temperature(student, teacher, context_at()).detach()
    student.requires_grad_()
    loss = method.teacher_loss(Outputs(student), Outputs(teacher), context_at(epoch))
    (gradient,) = torch.autograd.grad(loss, student)
    difference = (student / temperature).softmax(1) - (teacher / temperature).softmax(1)
    torch.testing.assert_close(gradient, temperature * difference / 7, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_a_step_of_the_optimiser_increases_the_loss(student: Tensor, teacher: Tensor, form: str) -> None:
    method = prepared(student, teacher, form)
    before = method.teacher_loss(Outputs(student), Outputs(teacher), context_at(10.0))
    before.backward()
    SGD(method.parameters(), 1e-3).step()
    assert method.teacher_loss(Outputs(student), Outputs(teacher), context_at(10.0)) > before


def test_the_inner_temperature_has_no_effect(student: Tensor, teacher: Tensor) -> None:
    first, second = (prepared(student, teacher, inner=KD(temperature)) for temperature in (1.5, 9.0))
    outputs = Outputs(student), Outputs(teacher), context_at()
    assert first.loss(*outputs) == second.loss(*outputs)


def test_around_standardisation_the_temperature_applies_to_standardised_logits(
    student: Tensor, teacher: Tensor
) -> None:
    method = prepared(student, teacher, inner=Standardised(KD(), 10.0))
    found = method.teacher_loss(Outputs(student), Outputs(teacher), context_at())
    expected = 9 * kd_loss(standardised(student), standardised(teacher), START)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_theta_has_the_dtype_of_the_logits(student: Tensor, teacher: Tensor) -> None:
    low = prepared(student.float(), teacher.float(), "instance")
    assert {parameter.dtype for parameter in low.parameters()} == {torch.float32}
    assert {parameter.dtype for parameter in prepared(student, teacher).parameters()} == {torch.float64}


def test_a_form_must_be_known() -> None:
    with pytest.raises(InputError, match="`form` must be one of global, instance, but got form='class'"):
        CTKD(KD(), "class")


@pytest.mark.parametrize("warmup", [0, -1, math.inf])
def test_a_warmup_must_be_positive_and_finite(warmup: Any) -> None:
    with pytest.raises(InputError, match="`0 < warmup < inf` must hold, but got warmup="):
        CTKD(KD(), warmup=warmup)
