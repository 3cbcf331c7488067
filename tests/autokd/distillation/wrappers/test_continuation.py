import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autokd.distillation import KD, BatchContext, Outputs, kd_loss
from autokd.distillation.wrappers.continuation import Continuation, ContinuationSchedule, margin_loss
from autokd.distillation.wrappers.standardise import Standardised, standardised
from autokd.errors import InputError
from autokd.testing.methods import MethodConformance


class TestAlone(MethodConformance):
    method = Continuation

    def make(self, **settings):
        return Continuation(**settings)


class TestAroundAnother(MethodConformance):
    method = Continuation

    def make(self, **settings):
        return Continuation(Standardised(KD()), **settings)


@pytest.fixture
def student() -> Tensor:
    return torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def context_at(progress: float) -> BatchContext:
    return BatchContext(torch.arange(7) % 5, torch.arange(7), progress=progress)


def margin_slowly(student: Tensor, teacher: Tensor, margin: float) -> float:
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        total += max(0.0, sum((a - b) ** 2 for a, b in zip(s, t, strict=True)) - margin)
    return total / len(student)


@pytest.mark.parametrize("margin", [0.0, 5.0, 40.0, 1e4])
def test_the_margin_loss_equals_a_loop(student: Tensor, teacher: Tensor, margin: float) -> None:
    found = float(margin_loss(student, teacher, margin))
    assert found == pytest.approx(margin_slowly(student, teacher, margin), abs=1e-9)


def test_the_gradient_passes_gradcheck(student: Tensor, teacher: Tensor) -> None:
    assert torch.autograd.gradcheck(lambda s: margin_loss(s, teacher, 40.0), student.requires_grad_())


def test_within_the_margin_loss_and_gradient_are_zero(teacher: Tensor) -> None:
    student = (teacher + 0.1).requires_grad_()
    loss = margin_loss(student, teacher, 0.06)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == 0
    assert not gradient.any()


@pytest.mark.parametrize(
    ("progress", "phi"), [(0.0, 1 / 20), (0.049, 1 / 20), (0.05, 2 / 20), (0.5, 11 / 20), (0.95, 1.0), (0.999, 1.0)]
)
def test_phi_grows_to_one(progress: float, phi: float) -> None:
    assert ContinuationSchedule(20, 0.75, "linear").phi(progress) == pytest.approx(phi, abs=1e-15)


@pytest.mark.parametrize("max_temperature", [10, 20])
def test_the_temperature_falls_as_in_the_papers_algorithm(max_temperature: int) -> None:
    n, temperature = 200, max_temperature
    schedule = ContinuationSchedule(max_temperature, 0.75, "linear")
    for epoch in range(1, n):
        if epoch % (n // max_temperature) == 0:
            temperature -= 1
        assert schedule.phi(epoch / n) == pytest.approx(1 - (temperature - 1) / max_temperature, abs=1e-12)


@pytest.mark.parametrize(
    ("transition", "weights"), [("linear", [0.0, 0.2, 0.5, 1.0, 1.0]), ("step", [0.0, 0.0, 0.0, 1.0, 1.0])]
)
def test_psi_grows_to_one(transition: str, weights: list[float]) -> None:
    method = Continuation(transition=transition)
    found = [method.label_weight(context_at(progress)) for progress in (0.0, 0.15, 0.375, 0.75, 0.9)]
    assert found == pytest.approx(weights)


@pytest.mark.parametrize(("epoch", "weight"), [(1, 0.0), (2, 1 / 40), (11, 1 / 4), (20, 19 / 40), (21, 1.0), (30, 1.0)])
def test_with_a_jump_psi_grows_to_a_half_and_is_one_after_20_of_30_epochs(epoch: int, weight: float) -> None:
    method = Continuation(transition="jump")
    assert method.label_weight(context_at((epoch - 1) / 30)) == pytest.approx(weight, abs=1e-15)


def test_with_a_jump_the_temperature_falls_over_the_whole_training() -> None:
    jump, linear = (ContinuationSchedule(10, 2 / 3, transition) for transition in ("jump", "linear"))
    assert [jump.phi(progress / 10) for progress in range(10)] == [linear.phi(progress / 10) for progress in range(10)]


@pytest.mark.parametrize(("transition", "until"), [("linear", 0.75), ("step", 0.75), ("jump", 2 / 3)])
def test_the_labels_take_over_where_the_paper_lets_them(transition: str, until: float) -> None:
    assert Continuation(transition=transition).schedule.until == until
    assert Continuation(transition=transition, until=0.5).schedule.until == 0.5


def test_phi_reaches_one_before_a_step() -> None:
    schedule = ContinuationSchedule(20, 0.5, "step")
    found = [schedule.phi(progress) for progress in (0.0, 0.24, 0.25, 0.475, 0.499, 0.9)]
    assert found == pytest.approx([1 / 20, 10 / 20, 11 / 20, 1.0, 1.0, 1.0])


def test_without_a_temperature_above_1_phi_is_always_one() -> None:
    assert [ContinuationSchedule(1, 0.75, "linear").phi(progress) for progress in (0.0, 0.5, 0.9)] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(("progress", "phi", "psi"), [(0.0, 0.05, 0.0), (0.3, 0.35, 0.4), (0.5, 0.55, 2 / 3)])
def test_alone_it_is_the_papers_loss(student: Tensor, teacher: Tensor, progress: float, phi: float, psi: float) -> None:
    context = context_at(progress)
    found = Continuation(margin=5.0).loss(Outputs(student), Outputs(teacher), context)
    hard = -student.log_softmax(1)[torch.arange(7), context.labels].mean()
    expected = psi * float(hard) + (1 - psi) * margin_slowly(student, phi * teacher, 5.0 * phi)
    assert float(found) == pytest.approx(expected, abs=1e-9)


def test_around_another_method_its_schedule_remains(student: Tensor, teacher: Tensor) -> None:
    context = context_at(0.3)
    found = Continuation(KD(3.0, 0.9)).loss(Outputs(student), Outputs(teacher), context)
    expected = 0.4 * F.cross_entropy(student, context.labels) + 0.6 * 0.9 * kd_loss(student, 0.35 * teacher, 3.0)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_around_another_method_there_is_no_margin(student: Tensor, teacher: Tensor) -> None:
    outputs = Outputs(student), Outputs(teacher), context_at(0.3)
    assert Continuation(KD(), margin=0.0).loss(*outputs) == Continuation(KD(), margin=10.0).loss(*outputs)


def test_inside_standardisation_it_compares_standardised_logits(student: Tensor, teacher: Tensor) -> None:
    found = Standardised(Continuation(margin=0.5), 2.0).teacher_loss(
        Outputs(student), Outputs(teacher), context_at(0.3)
    )
    expected = 2 * 0.6 * margin_slowly(standardised(student), 0.35 * standardised(teacher), 0.5 * 0.35)
    assert float(found) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("temperature", [2.0, torch.arange(1.0, 8.0, dtype=torch.float64).unsqueeze(1)])
def test_alone_it_compares_logits_at_a_temperature(
    student: Tensor, teacher: Tensor, temperature: float | Tensor
) -> None:
    found = Continuation(margin=5.0).logit_loss(student, teacher, context_at(0.3), temperature)
    expected = 0.6 * margin_slowly(student / temperature, 0.35 * teacher / temperature, 5.0 * 0.35)
    assert float(found) == pytest.approx(expected, abs=1e-9)


def test_annealing_kd_is_a_special_case(student: Tensor, teacher: Tensor) -> None:
    method = Continuation(margin=0.0, transition="step")
    first = method.loss(Outputs(student), Outputs(teacher), context_at(0.74))
    second = method.loss(Outputs(student), Outputs(teacher), context_at(0.75))
    assert float(first) == pytest.approx(margin_slowly(student, teacher, 0.0), abs=1e-9)
    torch.testing.assert_close(second, F.cross_entropy(student, context_at(0.75).labels))


def test_certain_and_wrong_logits_have_a_finite_loss() -> None:
    student, teacher = torch.tensor([[1e4, -1e4]]), torch.tensor([[-1e4, 1e4]])
    assert float(margin_loss(student, teacher, 1.0)) == pytest.approx(8e8)


def test_a_transition_must_be_known() -> None:
    with pytest.raises(InputError, match="`transition` must be one of linear, step, jump, but got transition='cosine'"):
        Continuation(transition="cosine")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_temperature", 0),
        ("max_temperature", math.inf),
        ("until", 0.0),
        ("until", 1.1),
        ("margin", -1.0),
        ("margin", math.inf),
    ],
)
def test_invalid_settings_are_rejected(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"must hold, but got {name}={value}"):
        Continuation(**{name: value})
