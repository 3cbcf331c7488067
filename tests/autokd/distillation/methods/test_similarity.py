import math

import pytest
import torch
from torch import Tensor

from autokd.distillation import BatchContext, Outputs
from autokd.distillation.methods.similarity import SP, similarities, similarity_loss
from autokd.errors import InputError

CONTEXT = BatchContext(torch.tensor([0, 2, 1, 0]), torch.arange(4))
SHAPES = [(6,), (6, 5), (6, 3, 2)]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def similarities_slowly(maps: Tensor) -> list[list[float]]:
    samples = [sample.flatten().tolist() for sample in maps]
    gram = [[sum(x * y for x, y in zip(a, b, strict=True)) for b in samples] for a in samples]
    return [[value / math.hypot(*row) for value in row] for row in gram]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_loss_equals_a_loop_over_pairs_of_samples(shape: tuple[int, ...]) -> None:
    student, teacher = drawn(4, *shape), drawn(4, 9, 7, seed=1)
    own, other = similarities_slowly(student), similarities_slowly(teacher)
    total = sum((own[i][j] - other[i][j]) ** 2 for i in range(4) for j in range(4))
    assert float(similarity_loss(student, teacher)) == pytest.approx(total / 4**2, abs=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_passes_gradcheck(shape: tuple[int, ...]) -> None:
    teacher = drawn(4, 7, seed=1)
    assert torch.autograd.gradcheck(lambda s: similarity_loss(s, teacher), drawn(4, *shape).requires_grad_())


def test_scale_and_rotation_of_the_features_have_no_effect() -> None:
    student, teacher = drawn(4, 6), drawn(4, 7, seed=1)
    turn = torch.linalg.qr(drawn(6, 6, seed=2)).Q
    torch.testing.assert_close(similarity_loss(3 * student @ turn, 0.1 * teacher), similarity_loss(student, teacher))


def test_the_loss_of_equal_similarities_in_another_width_is_zero() -> None:
    teacher = drawn(4, 6)
    student = torch.cat([5 * teacher, torch.zeros(4, 3, dtype=torch.float64)], dim=1).requires_grad_()
    loss = similarity_loss(student, teacher)
    assert loss.item() < 1e-30
    assert float(torch.autograd.grad(loss, student)[0].abs().max()) < 1e-15


def test_orthogonal_samples_are_similar_to_themselves_only() -> None:
    assert torch.equal(similarities(7 * torch.eye(4)), torch.eye(4))
    assert float(similarity_loss(torch.eye(4), torch.ones(4, 2))) == pytest.approx((0.5**2 + 3 * 0.5**2) / 4)


def test_the_loss_of_a_batch_of_one_is_zero_with_a_gradient() -> None:
    student = drawn(1, 6).requires_grad_()
    loss = similarity_loss(student, drawn(1, 7))
    assert loss.item() == 0
    assert torch.autograd.grad(loss, student)[0].tolist() == [[0.0] * 6]


def test_features_of_zero_get_no_gradient() -> None:
    student = torch.zeros(4, 6, requires_grad=True)
    loss = similarity_loss(student, drawn(4, 7).float())
    assert loss.isfinite()
    assert float(torch.autograd.grad(loss, student)[0].abs().max()) == 0


@pytest.mark.parametrize(("stages", "first"), [("last", 1), ("middle", 1), ("all", 0)])
def test_the_method_sums_over_the_chosen_pairs(stages: str, first: int) -> None:
    student = Outputs(drawn(4, 3), features=(drawn(4, 5, 6), drawn(4, 6, 3)))
    teacher = Outputs(drawn(4, 3), features=(drawn(4, 2, 12), drawn(4, 5, 6, seed=1), drawn(4, 6, 3, seed=1)))
    pairs = list(zip(student.features, teacher.features[1:], strict=True))[first:]
    expected = 10 * sum(similarity_loss(own, other) for own, other in pairs)
    torch.testing.assert_close(SP(10.0, stages).teacher_loss(student, teacher, CONTEXT), expected)


def test_a_teacher_without_features_is_rejected() -> None:
    with pytest.raises(InputError, match="0 from the teacher"):
        SP().prepare(Outputs(drawn(4, 3), features=(drawn(4, 5),)), Outputs(drawn(4, 3)), CONTEXT.labels)


@pytest.mark.parametrize("weight", [-1.0, math.inf, math.nan])
def test_a_weight_must_not_be_negative(weight: float) -> None:
    with pytest.raises(InputError, match="`0 <= weight < inf` must hold"):
        SP(weight)


def test_unknown_stages_are_rejected() -> None:
    with pytest.raises(InputError, match="`stages` must be one of"):
        SP(stages="first")
