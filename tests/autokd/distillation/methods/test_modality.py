import math

import pytest
import torch
from torch import Tensor, nn

from autokd.distillation import BatchContext, Outputs
from autokd.distillation.methods.modality import Modality, modality_loss, relations
from autokd.errors import InputError

M, BATCH = 3, 4


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def student() -> Tensor:
    return drawn(M, BATCH, 5)


@pytest.fixture
def teacher() -> Tensor:
    return drawn(M, BATCH, 7, seed=1)


def cosine_slowly(a: list[float], b: list[float]) -> float:
    product = sum(x * y for x, y in zip(a, b, strict=True))
    return product / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def loss_slowly(student: Tensor, teacher: Tensor) -> float:
    total = 0.0
    for sample in range(BATCH):
        s, t = student[:, sample].tolist(), teacher[:, sample].tolist()
        for i in range(M):
            for j in range(M):
                total += (cosine_slowly(t[i], t[j]) - cosine_slowly(s[i], s[j])) ** 2
    return total / M**2 / BATCH


def test_the_loss_equals_a_loop_over_pairs_of_modalities(student: Tensor, teacher: Tensor) -> None:
    assert float(modality_loss(student, teacher)) == pytest.approx(loss_slowly(student, teacher), abs=1e-9)


def test_the_gradient_passes_gradcheck(student: Tensor, teacher: Tensor) -> None:
    assert torch.autograd.gradcheck(lambda s: modality_loss(s, teacher), student.requires_grad_())


def test_relations_are_symmetric_with_ones_on_the_diagonal(student: Tensor) -> None:
    found = relations(student)
    assert found.shape == (BATCH, M, M)
    torch.testing.assert_close(found, found.mT)
    torch.testing.assert_close(found.diagonal(dim1=1, dim2=2), torch.ones(BATCH, M, dtype=torch.float64))


def test_the_lengths_of_the_vectors_do_not_matter(student: Tensor, teacher: Tensor) -> None:
    longer = student * drawn(M, BATCH, 1, seed=2).abs()
    torch.testing.assert_close(modality_loss(longer, 3 * teacher), modality_loss(student, teacher))


def test_a_rotation_of_the_space_does_not_matter(student: Tensor, teacher: Tensor) -> None:
    rotation = torch.linalg.qr(drawn(5, 5, seed=2)).Q
    torch.testing.assert_close(modality_loss(student @ rotation, teacher), modality_loss(student, teacher))


def test_the_loss_of_equal_relations_is_zero(teacher: Tensor) -> None:
    wider = torch.cat([teacher, torch.zeros(M, BATCH, 2)], 2).requires_grad_()
    loss = modality_loss(wider, teacher)
    (gradient,) = torch.autograd.grad(loss, wider)
    assert loss.item() < 1e-30
    assert gradient.abs().max() < 1e-15


def test_the_loss_of_opposite_relations_is_maximal() -> None:
    prefetch = torch.ones(2, 1, 1)
    apart = torch.tensor([[[1.0]], [[-1.0]]])
    assert float(modality_loss(prefetch, apart)) == 2 * 2**2 / 2**2


@pytest.mark.parametrize("scale", [0.0, 1e-4, 1e4])
def test_extreme_vectors_give_a_finite_loss_and_gradient(student: Tensor, teacher: Tensor, scale: float) -> None:
    extreme = (scale * student.sign()).bfloat16().requires_grad_()
    loss = modality_loss(extreme, (scale * teacher).bfloat16())
    (gradient,) = torch.autograd.grad(loss, extreme)
    assert loss.isfinite()
    assert gradient.isfinite().all()


def test_further_views_of_images_are_flipped_and_rolled() -> None:
    images = drawn(2, 3, 8, 16)
    same, mirrored, moved = Modality().views(images).chunk(3)
    assert torch.equal(same, images)
    assert torch.equal(mirrored[..., 0], images[..., -1])
    assert torch.equal(mirrored[..., 5], images[..., 10])
    assert torch.equal(moved[..., 1:, 2:], images[..., :-1, :-2])
    assert torch.equal(moved[..., 0, 0], images[..., -1, -2])


def test_views_of_images_keep_their_memory_format() -> None:
    images = drawn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    assert Modality().views(images).is_contiguous(memory_format=torch.channels_last)


def test_further_views_of_signals_are_flipped_and_rolled() -> None:
    signals = drawn(2, 3, 16)
    same, reversed_, moved = Modality().views(signals).chunk(3)
    assert torch.equal(same, signals)
    assert torch.equal(reversed_[..., 3], signals[..., 12])
    assert torch.equal(moved[..., 2:], signals[..., :-2])
    assert torch.equal(moved[..., :2], signals[..., -2:])


def test_further_views_of_vectors_lack_every_fourth_feature() -> None:
    vectors = torch.arange(1.0, 7.0).repeat(2, 1)
    same, first, second = Modality().views(vectors).chunk(3)
    assert torch.equal(same, vectors)
    assert first[0].tolist() == [0, 2, 3, 4, 0, 6]
    assert second[1].tolist() == [1, 0, 3, 4, 5, 0]


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 1, 1, 1), (2, 3, 5), (2, 1, 1), (2, 9), (2, 1)])
def test_there_are_three_deterministic_views(shape: tuple[int, ...]) -> None:
    samples = drawn(*shape)
    views = Modality().views(samples)
    assert views.shape == (3 * shape[0], *shape[1:])
    assert torch.equal(views, Modality().views(samples))


def test_the_method_compares_the_relations_of_each_samples_views(student: Tensor, teacher: Tensor) -> None:
    seen = [Outputs(drawn(M * BATCH, 3), vectors.flatten(0, 1)) for vectors in (student, teacher)]
    method = Modality(weight=2.0)
    method.prepare(seen[0], seen[1], torch.arange(BATCH))
    method.double()
    context = BatchContext(torch.arange(BATCH) % 3, torch.arange(BATCH))
    projected = student @ method.projection.weight.T
    assert projected.shape == teacher.shape
    expected = 2 * loss_slowly(projected, teacher)
    assert method.teacher_loss(seen[0], seen[1], context).item() == pytest.approx(expected, abs=1e-9)
    hard = nn.functional.cross_entropy(seen[0].logits[:BATCH], context.labels)
    torch.testing.assert_close(method.loss(seen[0], seen[1], context).detach(), hard + expected)


@pytest.mark.parametrize("weight", [-1.0, math.inf, math.nan])
def test_a_weight_must_not_be_negative(weight: float) -> None:
    with pytest.raises(InputError, match="`0 <= weight < inf` must hold, but got weight="):
        Modality(weight=weight)


def test_a_network_without_embedding_is_rejected() -> None:
    logits = drawn(M * BATCH, 3)
    with pytest.raises(InputError, match="the student has none"):
        Modality().prepare(Outputs(logits), Outputs(logits, logits), torch.arange(BATCH))
