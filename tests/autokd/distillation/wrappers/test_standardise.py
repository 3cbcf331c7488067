import math
import statistics

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autokd.distillation import KD, BatchContext, Outputs, kd_loss
from autokd.distillation.wrappers.standardise import Standardised, standardised
from autokd.errors import InputError
from autokd.testing.methods import MethodConformance


class TestAroundAnother(MethodConformance):
    method = Standardised

    def make(self, **settings):
        return Standardised(Standardised(KD()), **settings)


@pytest.fixture
def context() -> BatchContext:
    return BatchContext(torch.arange(7) % 5, torch.arange(7))


def standardised_slowly(logits: Tensor) -> Tensor:
    rows = logits.tolist()
    moments = [(statistics.fmean(row), statistics.stdev(row)) for row in rows]
    shaped = [[(z - mean) / (std + 1e-7) for z in row] for row, (mean, std) in zip(rows, moments, strict=True)]
    return torch.tensor(shaped, dtype=torch.float64)


def test_it_equals_a_loop_over_rows(student: Tensor) -> None:
    torch.testing.assert_close(standardised(student), standardised_slowly(student), rtol=0, atol=1e-9)


def test_rows_have_mean_0_and_deviation_1(student: Tensor) -> None:
    std, mean = torch.std_mean(standardised(student), dim=1)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-12)
    torch.testing.assert_close(std, torch.ones_like(std), rtol=0, atol=1e-6)


def test_the_gradient_passes_gradcheck(student: Tensor) -> None:
    assert torch.autograd.gradcheck(standardised, student.requires_grad_())


def test_a_row_of_equal_logits_has_a_finite_gradient() -> None:
    logits = torch.tensor([[2.0, 2.0, 2.0], [0.0, 1.0, 2.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(standardised(logits)[:, 0].sum(), logits)
    assert standardised(logits)[0].tolist() == [0, 0, 0]
    assert gradient.isfinite().all()


def test_around_kd_the_weights_are_the_papers(student: Tensor, teacher: Tensor, context: BatchContext) -> None:
    found = Standardised(KD(temperature=2.0)).loss(Outputs(student), Outputs(teacher), context)
    soft = kd_loss(standardised_slowly(student), standardised_slowly(teacher), 2.0)
    torch.testing.assert_close(found, 0.1 * F.cross_entropy(student, context.labels) + 9 * soft, rtol=0, atol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_the_scale_is_a_factor_of_the_teachers_term(
    student: Tensor, teacher: Tensor, context: BatchContext, scale: float
) -> None:
    outputs = Outputs(student), Outputs(teacher), context
    expected = scale * Standardised(KD(), 1.0).teacher_loss(*outputs)
    torch.testing.assert_close(Standardised(KD(), scale).teacher_loss(*outputs), expected)


def test_shift_and_scale_of_a_row_have_no_effect(student: Tensor, teacher: Tensor, context: BatchContext) -> None:
    spread = torch.arange(1.0, 8.0, dtype=torch.float64).unsqueeze(1)
    method = Standardised(KD())
    moved = method.teacher_loss(Outputs(spread * student - 4), Outputs(teacher / spread + spread), context)
    expected = method.teacher_loss(Outputs(student), Outputs(teacher), context)
    torch.testing.assert_close(moved, expected, rtol=1e-5, atol=0)


def test_the_loss_of_a_student_of_another_scale_is_zero(teacher: Tensor, context: BatchContext) -> None:
    loss = Standardised(KD()).teacher_loss(Outputs(2 * teacher + 1), Outputs(teacher), context)
    assert float(loss) == pytest.approx(0, abs=1e-12)


def test_the_temperature_is_the_inner_methods() -> None:
    assert Standardised(KD(temperature=3.0)).temperature == 3.0


def test_a_single_class_is_rejected(context: BatchContext) -> None:
    outputs = Outputs(torch.zeros(7, 1))
    with pytest.raises(InputError, match="'standardise' needs at least 2 classes"):
        Standardised(KD()).prepare(outputs, outputs, context.labels)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_a_scale_must_be_positive_and_finite(scale: float) -> None:
    with pytest.raises(InputError, match="`0 < scale < inf` must hold, but got scale="):
        Standardised(KD(), scale)
