from dataclasses import replace

import pytest
import torch
from torch import Tensor

from autokd.data.mixup import Mixture
from autokd.distillation import CES, KD, BatchContext, Outputs
from autokd.errors import InputError

SCORERS = ("smallest", "student", "disagreement")


def experts(method: CES, student: Tensor, panel: Outputs, context: BatchContext) -> list[int]:
    """The expert of each sample, from the smallest on."""
    (found,) = method.teachers(Outputs(student), panel, context)
    logits = [*(other.logits for other in reversed(panel.others)), panel.logits]
    return [
        next(k for k, expert in enumerate(logits) if torch.equal(expert[i], found.logits[i]))
        for i in range(len(student))
    ]


def by_hand(difficulty: list[float], progress: float, pace: float, n_experts: int = 3) -> list[int]:
    """The same by a loop over samples."""
    order = sorted(range(len(difficulty)), key=lambda i: (difficulty[i], i))
    eligible = 1 + int((n_experts - 1) * min(1.0, progress / pace))
    return [min(n_experts * order.index(i) // len(order), eligible - 1) for i in range(len(order))]


def cross_entropies(logits: Tensor, labels: Tensor) -> list[float]:
    return [-row.log_softmax(0)[label].item() for row, label in zip(logits, labels, strict=True)]


@pytest.mark.parametrize("progress", [0.0, 0.2, 0.3, 0.4, 0.9])
@pytest.mark.parametrize("scorer", SCORERS)
def test_each_sample_has_the_expert_that_a_loop_gives_it(
    scorer: str, progress: float, student: Tensor, panel: Outputs, context: BatchContext
) -> None:
    logits = [*(other.logits for other in panel.others), panel.logits]
    wrong = torch.stack([each.argmax(1) != context.labels for each in logits]).sum(0).tolist()
    difficulty = {
        "smallest": cross_entropies(panel.others[-1].logits, context.labels),
        "student": cross_entropies(student, context.labels),
        "disagreement": wrong,
    }[scorer]
    found = experts(CES(KD(), 0.4, scorer), student, panel, replace(context, progress=progress))
    assert found == by_hand(difficulty, progress, 0.4)


def test_the_loss_is_that_of_each_sample_with_its_expert(
    student: Tensor, panel: Outputs, context: BatchContext
) -> None:
    late, logits = replace(context, progress=0.9), [panel.others[1].logits, panel.others[0].logits, panel.logits]
    chosen = experts(CES(KD()), student, panel, late)
    rows = [
        KD().teacher_loss(Outputs(student[i : i + 1]), Outputs(logits[k][i : i + 1]), late)
        for i, k in enumerate(chosen)
    ]
    assert len(set(chosen)) == 3
    torch.testing.assert_close(CES(KD()).teacher_loss(Outputs(student), panel, late), torch.stack(rows).mean())


def test_harder_samples_have_no_smaller_experts(student: Tensor, panel: Outputs, context: BatchContext) -> None:
    difficulty = cross_entropies(panel.others[-1].logits, context.labels)
    found = experts(CES(KD()), student, panel, replace(context, progress=0.9))
    by_difficulty = [found[i] for i in sorted(range(7), key=lambda i: difficulty[i])]
    assert by_difficulty == sorted(by_difficulty)


def test_at_first_the_smallest_expert_teaches_all(student: Tensor, panel: Outputs, context: BatchContext) -> None:
    assert set(experts(CES(KD()), student, panel, replace(context, progress=0.0))) == {0}


def test_one_expert_alone_is_kd(student: Tensor, teacher: Tensor, context: BatchContext) -> None:
    found = CES(KD()).loss(Outputs(student), Outputs(teacher), context)
    assert found.item() == pytest.approx(KD().loss(Outputs(student), Outputs(teacher), context).item(), abs=1e-12)


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_batch_of_one_learns_from_the_smallest(scorer: str, student: Tensor, panel: Outputs) -> None:
    context = BatchContext(torch.tensor([2]), torch.tensor([0]), progress=0.9)
    assert experts(CES(KD(), 0.5, scorer), student[:1], panel.first(1), context) == [0]


def test_of_mixed_samples_the_label_of_larger_weight_counts(
    student: Tensor, panel: Outputs, context: BatchContext
) -> None:
    mixed = replace(context, progress=0.9, mixture=Mixture(context.labels.flip(0), torch.full((7,), 0.7)))
    method = CES(KD())
    assert experts(method, student, panel, mixed) == experts(method, student, panel, replace(mixed, mixture=None))


def test_the_score_gives_the_student_no_gradient(student: Tensor, panel: Outputs, context: BatchContext) -> None:
    (found,) = CES(KD(), 0.5, "student").teachers(Outputs(student.requires_grad_()), panel, context)
    assert not found.logits.requires_grad


@pytest.mark.parametrize("settings", [{"pace": 0.0}, {"pace": 1.1}, {"scorer": "teacher"}])
def test_settings_out_of_range_are_refused(settings: dict[str, float | str]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        CES(KD(), **settings)  # type: ignore[arg-type]
