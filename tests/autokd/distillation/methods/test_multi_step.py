import math

import pytest
import torch
from torch import Tensor, nn

from autokd.distillation import BatchContext, Outputs
from autokd.distillation.methods.multi_step import MultiStep, embedding_loss
from autokd.errors import InputError

CONTEXT = BatchContext(torch.tensor([0, 2, 1, 0]), torch.arange(4))
LOGITS = torch.zeros(4, 3)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_loss_equals_a_loop_over_the_values_of_scaled_embeddings() -> None:
    student, teacher = drawn(4, 6), drawn(4, 6, seed=1)
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        total += sum((a / math.hypot(*s) - b / math.hypot(*t)) ** 2 for a, b in zip(s, t, strict=True))
    assert float(embedding_loss(student, teacher)) == pytest.approx(total / (4 * 6), abs=1e-9)


def test_the_loss_is_twice_the_cosine_distance_over_the_width() -> None:
    student, teacher = drawn(4, 6), drawn(4, 6, seed=1)
    cosines = torch.nn.functional.cosine_similarity(student, teacher)
    torch.testing.assert_close(embedding_loss(student, teacher), (2 - 2 * cosines).mean() / 6)


def test_the_gradient_passes_gradcheck() -> None:
    teacher = drawn(4, 6, seed=1)
    assert torch.autograd.gradcheck(lambda s: embedding_loss(s, teacher), drawn(4, 6).requires_grad_())


def test_lengths_have_no_effect() -> None:
    student = drawn(4, 6)
    assert float(embedding_loss(3 * student, 0.1 * student)) < 1e-30
    assert float(embedding_loss(student, -student)) == pytest.approx(4 / 6)


def test_an_embedding_of_zeros_gets_no_gradient() -> None:
    student = torch.zeros(4, 6, requires_grad=True)
    loss = embedding_loss(student, drawn(4, 6).float())
    assert loss.item() == pytest.approx(1 / 6)
    assert float(torch.autograd.grad(loss, student)[0].abs().max()) == 0


def test_embeddings_of_the_same_width_are_not_projected() -> None:
    student, teacher = Outputs(LOGITS, drawn(4, 6)), Outputs(LOGITS, drawn(4, 6, seed=1))
    method = MultiStep(3.0)
    method.prepare(student, teacher, CONTEXT.labels)
    assert not list(method.parameters())
    expected = 3 * embedding_loss(drawn(4, 6), drawn(4, 6, seed=1))
    torch.testing.assert_close(method.teacher_loss(student, teacher, CONTEXT), expected)


def test_another_width_is_projected_by_a_trained_linear_map() -> None:
    student, teacher = Outputs(LOGITS, drawn(4, 5).bfloat16()), Outputs(LOGITS, drawn(4, 6, seed=1).bfloat16())
    method = MultiStep(3.0)
    method.prepare(student, teacher, CONTEXT.labels)
    assert isinstance(method.projection, nn.Linear)
    assert method.projection.weight.shape == (6, 5)
    loss = method.teacher_loss(student, teacher, CONTEXT)
    loss.backward()
    mapped = student.embedding.float() @ method.projection.weight.T
    torch.testing.assert_close(loss, 3 * embedding_loss(mapped, teacher.embedding.float()))
    assert float(method.projection.weight.grad.abs().max()) > 0


def test_a_student_without_an_embedding_is_rejected() -> None:
    with pytest.raises(InputError, match="the student has none"):
        MultiStep().prepare(Outputs(LOGITS), Outputs(LOGITS, drawn(4, 6)), CONTEXT.labels)


@pytest.mark.parametrize("weight", [-1.0, math.inf, math.nan])
def test_a_weight_must_not_be_negative(weight: float) -> None:
    with pytest.raises(InputError, match="`0 <= weight < inf` must hold"):
        MultiStep(weight)
