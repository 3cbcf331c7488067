import pytest
import torch
import torch.nn.functional as F

from autokd.distillation import KD, METHODS, BatchContext, Outputs, kd_loss
from autokd.distillation.base import Mixture
from autokd.distillation.distiller import Distiller

LABELS, OTHERS, WEIGHT = torch.tensor([0, 1, 2, 1]), torch.tensor([1, 1, 0, 2]), torch.tensor([0.5, 0.9, 1.0, 0.7])
MIXED = BatchContext(LABELS, torch.arange(4), mixture=Mixture(OTHERS, WEIGHT))


@pytest.fixture
def logits() -> tuple[torch.Tensor, torch.Tensor]:
    student, teacher = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    return student, teacher


def test_cross_entropy_of_mixed_samples_is_that_of_soft_targets(logits) -> None:
    targets = WEIGHT[:, None] * F.one_hot(LABELS, 3) + (1 - WEIGHT[:, None]) * F.one_hot(OTHERS, 3)
    torch.testing.assert_close(MIXED.cross_entropy(logits[0]), F.cross_entropy(logits[0], targets))


def test_cross_entropy_of_samples_that_are_not_mixed_is_that_of_their_labels(logits) -> None:
    assert torch.equal(
        BatchContext(LABELS, torch.arange(4)).cross_entropy(logits[0]), F.cross_entropy(logits[0], LABELS)
    )


def test_kd_of_mixed_samples_is_mixed_cross_entropy_and_divergence_from_the_teacher(logits) -> None:
    loss = KD(3.0, 0.4).loss(Outputs(logits[0]), Outputs(logits[1]), MIXED)
    torch.testing.assert_close(loss, 0.6 * MIXED.cross_entropy(logits[0]) + 0.4 * kd_loss(logits[0], logits[1], 3.0))


@pytest.mark.parametrize("name", ["dkd", "nkd"])
def test_methods_with_a_target_class_use_the_label_of_larger_weight(logits, name: str) -> None:
    student, teacher = map(Outputs, logits)
    method = METHODS[name]()
    plain = BatchContext(LABELS, torch.arange(4), epoch=9.0)
    mixed = BatchContext(LABELS, torch.arange(4), epoch=9.0, mixture=MIXED.mixture)
    assert torch.equal(method.teacher_loss(student, teacher, mixed), method.teacher_loss(student, teacher, plain))
    assert not torch.equal(method.loss(student, teacher, mixed), method.loss(student, teacher, plain))


def test_a_distiller_accepts_mixed_samples() -> None:
    with torch.random.fork_rng():
        student, teacher = torch.nn.Linear(5, 3), torch.nn.Linear(5, 3)
    images = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    loss = Distiller(KD(3.0, 0.4), student, teacher, images)(images, LABELS, mixture=MIXED.mixture)
    torch.testing.assert_close(loss, KD(3.0, 0.4).loss(Outputs(student(images)), Outputs(teacher(images)), MIXED))
